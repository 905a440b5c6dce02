//go:build !faults

package cmd_test

// full is false where the fault tests run in their short form: make test.
const full = false

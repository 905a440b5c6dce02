//go:build faults

package cmd_test

// full has the fault tests run in full: make test-faults.
const full = true

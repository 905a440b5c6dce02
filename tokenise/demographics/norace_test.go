//go:build !race

package demographics_test

const raced = false

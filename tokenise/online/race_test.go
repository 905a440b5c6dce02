//go:build race

package online_test

// raced says that the race detector is on, which allocates.
const raced = true

//go:build race

package demographics_test

// raced says that the race detector is on, under which a test that tries
// everything takes twenty times as long and finds nothing more.
const raced = true

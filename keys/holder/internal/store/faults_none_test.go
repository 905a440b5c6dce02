//go:build !faults && !heavy

package store

// disturbedChild is what only the tests of faults have a child do.
func disturbedChild(Options, string) int { return 2 }

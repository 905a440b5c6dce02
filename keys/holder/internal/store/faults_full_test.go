//go:build faults

package store

// times is how often something is tried: often, in full.
func times(_, full int) int { return full }

//go:build heavy && !faults

package store

// times is how often something is tried: few times, in the short form.
func times(short, _ int) int { return short }

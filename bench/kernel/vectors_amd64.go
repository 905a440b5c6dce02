package kernel

import (
	"slices"
	"time"

	"tarn/linkage/kernel"
)

// vectorOperations does 16 independent operations a round; it needs AVX2.
func vectorOperations(rounds int)

// logicSeen returns how many operations on vectors of 256 bits this machine
// begins in a cycle of so many Hz, the median of some runs. It is below what the
// processor could do where another thread shares its core, also one of another
// virtual machine. 0 is not known.
func logicSeen(hertz float64) float64 {
	if kernel.Best() == kernel.Portable {
		return 0
	}
	const rounds = 20_000
	var seen []float64
	for range 21 {
		start := time.Now()
		vectorOperations(rounds)
		seen = append(seen, rounds*16/time.Since(start).Seconds()/hertz)
	}
	slices.Sort(seen)
	return seen[len(seen)/2]
}

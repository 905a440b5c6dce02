package kernel

import (
	"runtime"
	"strings"
	"time"

	"tarn/linkage/kernel"
)

// processor is what the limits are computed from; docs/kernel.md derives them.
type processor struct {
	path kernel.Path
	// logic is how many logical operations on whole registers it begins in a
	// cycle, and width how many operations of any kind.
	logic, width float64
}

// newProcessor knows the makers' processors of the last years: those of AMD
// have four pipes for vectors of 256 bits, those of Intel three, and two for
// 512 bits.
func newProcessor(path kernel.Path, model string) processor {
	switch {
	case path == kernel.AVX512:
		return processor{path, 2, 5}
	case path == kernel.AVX2 && !strings.HasPrefix(model, "AMD"):
		return processor{path, 3, 4}
	}
	return processor{path, 4, 6}
}

// countingLimit is the port limit of counting pair by pair with VPOPCNTQ, early
// termination included, at a clock in Hz: what scans are held to, on every
// path.
func countingLimit(_ kernel.Work, hertz float64) float64 { return 1905e6 / 2.5e9 * hertz }

// scanLimit returns the pairs per second at which nothing but the adders of a
// scan's planes would be done, at a clock in Hz.
func (p processor) scanLimit(work kernel.Work, hertz float64) float64 {
	const chunk = 16                 // planes
	operations := 15*5.0 + 3*2.0 + 1 // full adders, half adders, and what is dead
	if p.path == kernel.AVX512 {
		operations = 37
	}
	return float64(work.Pairs) / (float64(work.Planes) / chunk * operations / p.logic) * hertz
}

// fieldsLimit returns the pairs per second of records of so many 512-bit
// fields.
func (p processor) fieldsLimit(fields int, hertz float64) float64 {
	var cyclesOfField float64
	switch p.path {
	case kernel.AVX512:
		cyclesOfField = 66 / p.logic / 16
	case kernel.AVX2:
		// ten fields: eight in vectors, two with POPCNT at the same time
		cyclesOfField = max(142/p.logic, 236/p.width) / 10
	default:
		cyclesOfField = 8 * 4 / p.width // load, xor, count, add
	}
	return hertz / (cyclesOfField * float64(fields))
}

// clock measures the processor's clock: a chain of additions, each of which
// waits for the one before, takes a cycle each. The fastest of some runs is
// taken, because others take time but give none.
func clock() (hertz float64) {
	const rounds, steps = 20_000, 32
	defer runtime.KeepAlive(chain(1, 3, 5))
	for range 20 {
		start := time.Now()
		runtime.KeepAlive(chain(rounds, 3, 5))
		hertz = max(hertz, rounds*steps/time.Since(start).Seconds())
	}
	return hertz
}

// chain adds and negates in turn, so that nothing can be added up beforehand.
//
//go:noinline
func chain(rounds int, a, b uint64) (x uint64) {
	for range rounds {
		x = (((x + a) ^ b + a) ^ b + a) ^ b + a
		x = (((x ^ b + a) ^ b + a) ^ b + a) ^ b + a
		x = (((x ^ b + a) ^ b + a) ^ b + a) ^ b + a
		x = (((x ^ b + a) ^ b + a) ^ b + a) ^ b + a ^ b
	}
	return x
}

// Package kernel counts bits: the inner loop of linkage. It compares Bloom
// filters field by field (Fields) and finds the pairs of record filters whose
// Dice coefficient reaches a threshold (Scanner), and knows nothing of blocks,
// levels or weights.
//
// There are three paths, AVX-512, AVX2 and plain Go. They differ in speed only:
// every count and every decision is exact and the same on all of them. How they
// work and what they cost is in docs/kernel.md.
//
// A filter is a row of 64-bit words, bit i of it being bit i%64 of word i/64.
// Nothing depends on that order, so a filter's bytes may be read as words in
// whichever way is convenient, as long as both sides of a comparison do the
// same.
package kernel

//go:generate go run -modfile=../../tools/go.mod -tags avo ./generate .

// Path is a way to count.
type Path uint8

// The paths, each faster than the one before.
const (
	// Portable is plain Go.
	Portable Path = iota
	// AVX2 needs a processor of amd64 with AVX2 and POPCNT.
	AVX2
	// AVX512 needs one with the foundation of AVX-512 and VPOPCNTDQ.
	AVX512
)

// String returns the name of a path as reports and benchmarks give it.
func (p Path) String() string {
	switch p {
	case AVX2:
		return "avx2"
	case AVX512:
		return "avx512"
	}
	return "portable"
}

// Best returns the fastest path that processor and operating system support.
func Best() Path {
	available := Available()
	return available[len(available)-1]
}

// Available returns the paths that processor and operating system support, in
// the order of their constants. Portable is always there. To use a path that is
// not is to be killed by the operating system.
func Available() []Path { return supported(processor()) }

// features are what a choice of path depends on. A flag of the processor counts
// only with an operating system that keeps the registers.
type features struct {
	popcnt, avx2     bool
	avx512f, avx512v bool // v: VPOPCNTDQ
}

func supported(f features) []Path {
	paths := []Path{Portable}
	if f.popcnt && f.avx2 {
		paths = append(paths, AVX2)
		if f.avx512f && f.avx512v {
			paths = append(paths, AVX512)
		}
	}
	return paths
}

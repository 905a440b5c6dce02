package kernel

import "golang.org/x/sys/cpu"

// processor reads the flags; cpu clears those of AVX and AVX-512 where the
// operating system does not keep their registers.
func processor() features {
	return features{popcnt: cpu.X86.HasPOPCNT, avx2: cpu.X86.HasAVX2, avx512f: cpu.X86.HasAVX512F, avx512v: cpu.X86.HasAVX512VPOPCNTDQ}
}

// The kernels of fields count groups of so many units of 512 bits, of records
// of so many fields at most.
const (
	unitsAVX2   = 10
	unitsAVX512 = 16
	maxFields   = 16
)

// wholeEqual is EqualBits for fields of 512 bits, where a path has a kernel for
// them and there are enough.
func wholeEqual(p Path, counts []uint32, record, rows []uint64) bool {
	fields := len(record) / fieldWords
	switch units := len(counts); {
	case fields > maxFields || units < unitsAVX2 || p == Portable:
		return false
	case p == AVX512 && units >= unitsAVX512:
		equal512AVX512(&counts[0], &record[0], &rows[0], fields, units)
	default:
		equal512AVX2(&counts[0], &record[0], &rows[0], fields, units)
	}
	return true
}

// wholeCommon is wholeEqual for CommonBits.
func wholeCommon(p Path, counts []uint32, record, rows []uint64) bool {
	fields := len(record) / fieldWords
	switch units := len(counts); {
	case fields > maxFields || units < unitsAVX2 || p == Portable:
		return false
	case p == AVX512 && units >= unitsAVX512:
		common512AVX512(&counts[0], &record[0], &rows[0], fields, units)
	default:
		common512AVX2(&counts[0], &record[0], &rows[0], fields, units)
	}
	return true
}

// scanTile passes n rows over a tile with the kernel of a path.
func (p Path) scanTile(w *scan, tile []uint64, n, depth int) (count, chunks int) {
	if p == Portable {
		return scanPortable(w, tile, n, depth)
	}
	kernel := scan3AVX2
	switch {
	case p == AVX512 && depth == shallow:
		kernel = scan3AVX512
	case p == AVX512:
		kernel = scan7AVX512
	case depth != shallow:
		kernel = scan7AVX2
	}
	return kernel(&tile[0], &w.lists.places[0], w.lists.chunks, min(w.first, w.lists.chunks), n, &w.allowed[0], &w.survivors.rows[0], &w.survivors.lanes[0])
}

//go:build !amd64

package kernel

func processor() features { return features{} }

func wholeEqual(Path, []uint32, []uint64, []uint64) bool  { return false }
func wholeCommon(Path, []uint32, []uint64, []uint64) bool { return false }

func (Path) scanTile(w *scan, tile []uint64, n, depth int) (count, chunks int) {
	return scanPortable(w, tile, n, depth)
}

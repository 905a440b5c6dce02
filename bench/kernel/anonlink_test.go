package kernel

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"tarn/linkage/kernel"
)

// python returns an interpreter that has anonlink, or skips.
func python(t *testing.T) string {
	path := os.Getenv("TARN_PYTHON")
	if path == "" {
		t.Skip("TARN_PYTHON is not set: no anonlink to compare with")
	}
	if err := exec.Command(path, "-I", "-c", "import anonlink, numpy").Run(); err != nil {
		t.Skipf("the interpreter of TARN_PYTHON has no anonlink (make venv): %v", err)
	}
	return path
}

// randomSet draws filters of 1024 bits of which some are empty, full, copies or
// parts of another, and writes them where the peer finds them.
func randomSet(t *testing.T, random *rand.Rand, name string, rows int, like []uint64) *filterSet {
	set := &filterSet{path: filepath.Join(t.TempDir(), name)}
	for i := range rows {
		row := make([]uint64, filterWords)
		for j := range row {
			switch i % 7 {
			case 0:
				row[j] = random.Uint64() & random.Uint64()
			case 1:
				row[j] = random.Uint64() & random.Uint64() & random.Uint64()
			case 3:
				row[j] = ^uint64(0)
			case 2, 4, 5:
				if row[j] = random.Uint64(); like != nil {
					row[j] = like[i*filterWords%len(like)+j]
				}
			}
		}
		if i%7 > 3 {
			for range random.IntN(200) {
				row[random.IntN(filterWords)] &^= 1 << random.IntN(64)
			}
		}
		set.rows = append(set.rows, row...)
	}
	var file []byte
	for _, word := range set.rows {
		file = binary.LittleEndian.AppendUint64(file, word)
	}
	if err := os.WriteFile(set.path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return set
}

// TestPairsAreAnonlinks holds every path to anonlink itself, at thresholds that
// pairs hit exactly, and at some where it loses such pairs.
func TestPairsAreAnonlinks(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	left := randomSet(t, random, "left", 150, nil)
	right := randomSet(t, random, "right", 700, left.rows)
	peer := &anonlink{python: python(t), folder: t.TempDir()}
	found := 0
	for _, threshold := range []float64{0, .3, .5, .6, 2. / 3, .75, .8, .85, .9, 1} {
		_, want, err := peer.scan(t.Context(), left, right, threshold)
		if err != nil {
			t.Fatal(err)
		}
		found += len(want)
		for _, path := range kernel.Available() {
			var got []pair
			path.NewScanner(filterWords, right.rows, threshold).Scan(left.rows, func(row int, matches []kernel.Match) {
				for _, m := range matches {
					got = append(got, pair{uint32(row), m.Row, m.Dice})
				}
			})
			if !slices.Equal(got, want) {
				t.Errorf("threshold %v, path %v: %d pairs, anonlink has %d, or others", threshold, path, len(got), len(want))
			}
		}
	}
	if found < 1000 {
		t.Errorf("%d pairs in all are too few to tell anything", found)
	}
}

func TestLimits(t *testing.T) {
	// 8 planes of 256 rows at 4 operations a cycle: 10.25 cycles for 256 pairs.
	work := kernel.Work{Pairs: 256 * 1000, Planes: 8 * 1000, Lanes: 256}
	if got, want := newProcessor(kernel.AVX2, "AMD X").scanLimit(work, 2.05e9), 256*2.05e9/10.25; got != want {
		t.Errorf("scan: %v, want %v", got, want)
	}
	if amd, intel := newProcessor(kernel.AVX2, "AMD X"), newProcessor(kernel.AVX2, "Intel X"); amd.fieldsLimit(5, 1e9) <= intel.fieldsLimit(5, 1e9) {
		t.Error("four pipes are no faster than three")
	}
	if hertz := clock(); hertz < 3e8 || hertz > 1e10 {
		t.Errorf("a clock of %v Hz", hertz)
	}
}

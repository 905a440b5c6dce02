package kernel

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"tarn/keys/fault"
)

//go:embed anonlink.py
var anonlinkProgram string

// pair is what is found of a pair.
type pair struct {
	left, right uint32
	dice        float64
}

func sortPairs(pairs []pair) {
	slices.SortFunc(pairs, func(a, b pair) int { return cmp.Or(cmp.Compare(a.left, b.left), cmp.Compare(a.right, b.right)) })
}

// anonlink is the peer.
type anonlink struct {
	python, folder string
	version        string
}

// scan returns the seconds that anonlink takes for all pairs, and those that
// reach the threshold.
func (a *anonlink) scan(ctx context.Context, left, right *filterSet, threshold float64) (seconds float64, pairs []pair, err error) {
	doing := "running anonlink as the peer"
	path := filepath.Join(a.folder, "anonlink.pairs")
	out, err := exec.CommandContext(ctx, a.python, "-I", "-c", anonlinkProgram, left.path, right.path, strconv.Itoa(8*filterWords), strconv.FormatFloat(threshold, 'g', -1, 64), path).Output()
	if err != nil {
		return 0, nil, fault.Wrap(fault.Unavailable, doing, err, "give --python an interpreter that has anonlink; make bench installs one")
	}
	var said struct {
		Version string  `json:"version"`
		Seconds float64 `json:"seconds"`
	}
	if err := json.Unmarshal(out, &said); err != nil || said.Seconds <= 0 {
		return 0, nil, fault.New(fault.Internal, doing, "it did not print its time", "")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, nil, fault.Wrap(fault.Internal, doing, err, "")
	}
	for ; len(b) >= 16; b = b[16:] {
		pairs = append(pairs, pair{binary.NativeEndian.Uint32(b), binary.NativeEndian.Uint32(b[4:]), math.Float64frombits(binary.NativeEndian.Uint64(b[8:]))})
	}
	sortPairs(pairs)
	a.version = said.Version
	return said.Seconds, pairs, nil
}

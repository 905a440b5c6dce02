package trial

import (
	"context"
	"errors"
	"io"
	"strconv"

	"tarn/keys/fault"
	"tarn/linkage/equity/csvfile"
)

// pair is two records, the smaller in the upper half.
type pair uint64

func pairOf(a, b record) pair {
	if a > b {
		a, b = b, a
	}
	return pair(a)<<32 | pair(b)
}

func (p pair) records() (a, b record) { return record(p >> 32), record(p & 0xffffffff) }

// truth is the set of true pairs that a job could look for: of two sides where
// there are several, else of the one.
type truth map[pair]struct{}

// readTruth reads clusters, or pairs of which those with a
// clerical_match_score of at least .5 are true.
func readTruth(ctx context.Context, c *Clear) (truth, error) {
	path := c.dataset.Truth
	r, err := csvfile.Open(path, "truth file", "give truth on minted ids")
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // opened for reading
	t := truth{}
	members := map[string][]record{}
	dataset, id, cluster := r.Column("source_dataset"), r.Column("unique_id"), r.Column("cluster")
	dl, il, dr, ir := r.Column("source_dataset_l"), r.Column("unique_id_l"), r.Column("source_dataset_r"), r.Column("unique_id_r")
	score := r.Column("clerical_match_score")
	byCluster := dataset >= 0 && id >= 0 && cluster >= 0
	if !byCluster && (dl < 0 || il < 0 || dr < 0 || ir < 0) {
		return nil, fault.New(fault.Usage, "reading the truth file "+path, "it has neither the columns of pairs nor those of clusters", "give truth on minted ids")
	}
	for {
		cells, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if byCluster {
			if n, ok := c.numbers[key{cells[dataset], cells[id]}]; ok {
				members[cells[cluster]] = append(members[cells[cluster]], n)
			}
			continue
		}
		a, okA := c.numbers[key{cells[dl], cells[il]}]
		b, okB := c.numbers[key{cells[dr], cells[ir]}]
		if score >= 0 {
			if s, err := strconv.ParseFloat(cells[score], 64); err != nil || s < .5 {
				continue
			}
		}
		if okA && okB {
			t.add(c, a, b)
		}
	}
	for _, group := range members {
		for i, a := range group {
			for _, b := range group[:i] {
				t.add(c, a, b)
			}
		}
	}
	return t, ctx.Err()
}

func (t truth) add(c *Clear, a, b record) {
	if a != b && (c.dataset.Dedupe() || c.side(a) != c.side(b)) {
		t[pairOf(a, b)] = struct{}{}
	}
}

func (t truth) has(p pair) bool { _, ok := t[p]; return ok }

// Ceiling is what the encodings leave to be found by any method.
type Ceiling struct {
	Unreachable int64   `json:"unreachable"` // true pairs of different dates under date keying, with no common number
	Pairs       int64   `json:"true_pairs"`
	Recall      float64 `json:"recall"`
	F1          float64 `json:"f1"` // with all of the rest found and nothing else
}

func (c *Clear) reachable(a, b record) bool {
	if !c.dataset.DateKeyed || c.number(a) != "" && c.number(a) == c.number(b) {
		return true
	}
	return c.date(a) != "" && c.date(a) == c.date(b)
}

// ceiling counts from truth and clear text, not from what a linker says.
func (t truth) ceiling(c *Clear) Ceiling {
	unreachable := int64(0)
	for p := range t {
		if a, b := p.records(); !c.reachable(a, b) {
			unreachable++
		}
	}
	return ceilingOf(unreachable, int64(len(t)))
}

func ceilingOf(unreachable, pairs int64) Ceiling {
	x := Ceiling{Unreachable: unreachable, Pairs: pairs}
	if pairs > 0 {
		x.Recall = 1 - float64(unreachable)/float64(pairs)
		x.F1 = 2 * x.Recall / (1 + x.Recall)
	}
	return x
}

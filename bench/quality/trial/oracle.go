package trial

import (
	"cmp"
	"slices"
)

// oracle returns the best F1 that any model over the same agreement levels
// could have reached on the pairs that were kept: each pattern of levels has
// the share of matches that truth gives it, also by how good the best rival of
// either record is, and the threshold is chosen with truth. It says whether a
// miss is the model's or that of what the encodings hold. On few pairs it is
// too high: a pattern that comes once is known for sure.
func oracle(t truth, links []link, oneToOne bool) float64 {
	order := make([]ranked, len(links))
	share(t, links, order, func(i int) string { return links[i].pattern })
	if oneToOne {
		rivals := bestRivals(order)
		share(t, links, order, func(i int) string { return links[i].pattern + string(rune('0'+int(10*rivals[i]))) })
	}
	return bestF1(t, order, oneToOne).F1
}

// share ranks links by the share of matches among those with the same key.
func share(t truth, links []link, order []ranked, key func(i int) string) {
	type count struct{ right, all float64 }
	counts, of := map[string]*count{}, make([]*count, len(links))
	for i := range links {
		k := key(i)
		if counts[k] == nil {
			counts[k] = &count{}
		}
		of[i] = counts[k]
		of[i].all++
		if t.has(links[i].pair) {
			of[i].right++
		}
	}
	for i := range links {
		order[i] = ranked{links[i].pair, of[i].right / of[i].all}
	}
}

// bestRivals gives, for each pair, the highest score of another pair of either
// of its records; 0 where there is none.
func bestRivals(order []ranked) []float64 {
	type top struct {
		first, second float64
		pair          pair
	}
	best := map[record]*top{}
	for _, x := range order {
		a, b := x.records()
		for _, r := range []record{a, b} {
			t := best[r]
			switch {
			case t == nil:
				best[r] = &top{first: x.score, pair: x.pair}
			case x.score > t.first:
				t.first, t.second, t.pair = x.score, t.first, x.pair
			case x.score > t.second:
				t.second = x.score
			}
		}
	}
	rivals := make([]float64, len(order))
	for i, x := range order {
		a, b := x.records()
		for _, r := range []record{a, b} {
			t := best[r]
			rival := t.first
			if t.pair == x.pair {
				rival = t.second
			}
			rivals[i] = max(rivals[i], rival)
		}
	}
	return rivals
}

// ranked is a pair and what it is ranked by.
type ranked struct {
	pair
	score float64
}

// Score is precision, recall and F1 of a set of links.
type Score struct {
	Threshold float64 `json:"threshold"`
	TP        int64   `json:"tp"`
	FP        int64   `json:"fp"`
	FN        int64   `json:"fn"`
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	F1        float64 `json:"f1"`
}

func scoreOf(threshold float64, tp, fp, pairs int64) Score {
	s := Score{Threshold: threshold, TP: tp, FP: fp, FN: pairs - tp}
	if tp+fp > 0 {
		s.Precision = float64(tp) / float64(tp+fp)
	}
	if pairs > 0 {
		s.Recall = float64(tp) / float64(pairs)
	}
	if tp+fp+pairs > 0 {
		s.F1 = 2 * float64(tp) / float64(tp+fp+pairs)
	}
	return s
}

func rank(order []ranked) {
	slices.SortFunc(order, func(a, b ranked) int { return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.pair, b.pair)) })
}

// mutualBest keeps the pairs that are the first of both their records. It
// orders the pairs.
func mutualBest(order []ranked) []ranked {
	rank(order)
	first := map[record]pair{}
	for _, x := range order {
		a, b := x.records()
		for _, r := range []record{a, b} {
			if _, ok := first[r]; !ok {
				first[r] = x.pair
			}
		}
	}
	return slices.DeleteFunc(order, func(x ranked) bool {
		a, b := x.records()
		return first[a] != x.pair || first[b] != x.pair
	})
}

// bestF1 chooses the threshold with truth.
func bestF1(t truth, order []ranked, oneToOne bool) (best Score) {
	if oneToOne {
		order = mutualBest(order)
	} else {
		rank(order)
	}
	tp, fp := int64(0), int64(0)
	for i, x := range order {
		if t.has(x.pair) {
			tp++
		} else {
			fp++
		}
		if i+1 < len(order) && order[i+1].score == x.score {
			continue // one threshold cannot part them
		}
		if s := scoreOf(x.score, tp, fp, int64(len(t))); s.F1 > best.F1 {
			best = s
		}
	}
	return best
}

// scoreAt is the score of the pairs of at least this score.
func scoreAt(t truth, order []ranked, threshold float64) Score {
	tp, fp := int64(0), int64(0)
	for _, x := range order {
		if x.score < threshold {
			continue
		}
		if t.has(x.pair) {
			tp++
		} else {
			fp++
		}
	}
	return scoreOf(threshold, tp, fp, int64(len(t)))
}

package trial

import (
	"cmp"
	"math"
	"slices"
	"sort"

	"tarn/linkage/result"
)

// Bin is one row of a reliability table: pairs whose link_probability is in
// [From, To), the last bin with its end.
type Bin struct {
	From  float64 `json:"from"`
	To    float64 `json:"to"`
	Pairs int64   `json:"pairs"`
	Mean  float64 `json:"mean_link_probability"`
	True  float64 `json:"true_share"`
	Lo    float64 `json:"true_lo"` // 95%, Wilson
	Hi    float64 `json:"true_hi"`
}

// edges of the bins; they are finer where links are decided.
var edges = []float64{0, .01, .05, .1, .2, .3, .4, .5, .6, .7, .8, .9, .95, .98, .99, .995, .999, 1}

// reliability compares link probabilities with truth, bin by bin. Empty bins
// are left out. With demographicOnly, pairs of equal tokens are.
func reliability(t truth, links []link, demographicOnly bool) []Bin {
	bins := make([]Bin, len(edges)-1)
	right := make([]int64, len(bins))
	for i := range links {
		l := &links[i]
		if l.probability < 0 || demographicOnly && l.basis != result.BasisDemographic {
			continue
		}
		at := min(sort.Search(len(edges), func(k int) bool { return edges[k] > l.probability })-1, len(bins)-1)
		bins[at].Pairs++
		bins[at].Mean += l.probability
		if t.has(l.pair) {
			right[at]++
		}
	}
	filled := []Bin{}
	for i, b := range bins {
		if b.Pairs == 0 {
			continue
		}
		b.From, b.To = edges[i], edges[i+1]
		b.Mean /= float64(b.Pairs)
		b.True = float64(right[i]) / float64(b.Pairs)
		b.Lo, b.Hi = wilson(float64(right[i]), float64(b.Pairs))
		filled = append(filled, b)
	}
	return filled
}

// Pattern is a pattern of agreement levels whose link probabilities are not
// what truth says.
type Pattern struct {
	Levels string  `json:"levels"` // field and level, -1 missing
	Pairs  int64   `json:"pairs"`
	Mean   float64 `json:"mean_link_probability"`
	True   float64 `json:"true_share"`
}

// patternsListed bounds the list of patterns.
const patternsListed = 12

// worstPatterns lists the patterns by how much they add to the calibration
// error: pairs times |mean probability - true share|.
func worstPatterns(t truth, links []link, fields []string) []Pattern {
	sums := map[string]*Pattern{}
	for i := range links {
		l := &links[i]
		if l.probability < 0 {
			continue
		}
		p := sums[l.pattern]
		if p == nil {
			p = &Pattern{Levels: levelsOf(fields, l.pattern)}
			sums[l.pattern] = p
		}
		p.Pairs++
		p.Mean += l.probability
		if t.has(l.pair) {
			p.True++
		}
	}
	list := make([]Pattern, 0, len(sums))
	for _, p := range sums {
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b Pattern) int {
		return cmp.Or(cmp.Compare(math.Abs(b.Mean-b.True), math.Abs(a.Mean-a.True)), cmp.Compare(a.Levels, b.Levels))
	})
	list = list[:min(len(list), patternsListed)]
	for i := range list {
		list[i].Mean /= float64(list[i].Pairs)
		list[i].True /= float64(list[i].Pairs)
	}
	return list
}

// wilson is the 95% score interval of a share (Wilson, JASA 1927).
func wilson(k, n float64) (lo, hi float64) {
	const z = 1.959964
	p, d := k/n, 1+z*z/n
	centre, half := (p+z*z/(2*n))/d, z/d*math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return max(0, centre-half), min(1, centre+half)
}

// calibrationError is the mean of |mean probability - true share| over the
// pairs of all bins (expected calibration error).
func calibrationError(bins []Bin) float64 {
	sum, n := 0.0, 0.0
	for _, b := range bins {
		sum += float64(b.Pairs) * math.Abs(b.Mean-b.True)
		n += float64(b.Pairs)
	}
	if n == 0 {
		return 0
	}
	return sum / n
}

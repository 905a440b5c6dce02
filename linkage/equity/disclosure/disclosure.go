// Package disclosure keeps small numbers of people out of what is published:
// counts under ten are hidden, a hidden count cannot be had by subtraction
// from a total, and the rest are rounded to five.
//
// The rules are those NHS England applies to published hospital statistics
// (suppression of small numbers and rounding to the nearest 5), with ten as
// the smallest number shown.
package disclosure

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"tarn/linkage/result"
)

// Minimum is the smallest count other than zero that is shown.
const Minimum = 10

// Unit is what shown counts are rounded to.
const Unit = 5

// Small reports a count that must not be shown: 1 to 9.
func Small(n int64) bool { return n > 0 && n < Minimum }

// Round rounds a count to the nearest multiple of five.
func Round(n int64) int64 { return (n + Unit/2) / Unit * Unit }

// Count returns n rounded, or nil where it is too small to be shown.
func Count(n int64) *int64 {
	if Small(n) {
		return nil
	}
	r := Round(n)
	return &r
}

// Hide says which of several counts that add up to a known total are hidden:
// the small ones, and where they would follow from the others by subtraction
// (one hidden alone, or fewer than ten hidden in all) the next smallest too.
// Zeros are shown. Where two counts are equal, the first is hidden first.
func Hide(counts []int64) []bool {
	hidden := make([]bool, len(counts))
	number, sum := 0, int64(0)
	for i, n := range counts {
		if Small(n) {
			hidden[i] = true
			number++
			sum += n
		}
	}
	for number > 0 && (number < 2 || sum < Minimum) {
		next := -1
		for i, n := range counts {
			if !hidden[i] && n > 0 && (next < 0 || n < counts[next]) {
				next = i
			}
		}
		if next < 0 {
			break
		}
		hidden[next] = true
		number++
		sum += counts[next]
	}
	return hidden
}

// Parts returns counts that add up to a known total as they may be shown:
// rounded, and nil where hidden.
func Parts(counts []int64) []*int64 {
	hidden := Hide(counts)
	shown := make([]*int64, len(counts))
	for i, n := range counts {
		if !hidden[i] {
			r := Round(n)
			shown[i] = &r
		}
	}
	return shown
}

// Wilson returns the share successes/trials with its 95% score interval
// (Wilson, J Am Stat Assoc 1927; 22: 209-212), all in [0, 1]. trials is at
// least 1 and successes from 0 to trials.
func Wilson(successes, trials int64) result.Estimate {
	n, p := float64(trials), float64(successes)/float64(trials)
	z := distuv.UnitNormal.Quantile(.975)
	middle := (p + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	e := result.Estimate{Value: p, Lo: max(0, middle-half), Hi: min(1, middle+half)}
	// In exact arithmetic the interval reaches the end of the range at no and at all successes.
	if successes == 0 {
		e.Lo = 0
	}
	if successes == trials {
		e.Hi = 1
	}
	return e
}

// GroupRate is one group's link rate over all parties.
type GroupRate struct {
	Group string
	Rows  int64 // rounded
	Rate  result.Estimate
}

// Pool returns the link rate of each group of a dimension over the parties in
// which it is shown, in order of first appearance. It uses published cells
// only, so that it tells nothing that they do not.
func Pool(d *result.EquityDimension) []GroupRate {
	var order []string
	rows, linked := map[string]int64{}, map[string]int64{}
	for _, g := range d.Groups {
		if g.Rows == nil || g.LinkRate == nil || *g.Rows == 0 {
			continue
		}
		if _, ok := rows[g.Group]; !ok {
			order = append(order, g.Group)
		}
		rows[g.Group] += *g.Rows
		linked[g.Group] += int64(math.Round(g.LinkRate.Value * float64(*g.Rows)))
	}
	pooled := make([]GroupRate, len(order))
	for i, group := range order {
		pooled[i] = GroupRate{Group: group, Rows: rows[group], Rate: Wilson(linked[group], rows[group])}
	}
	return pooled
}

// Ends returns the groups with the lowest and the highest rate, the first
// where several are equal; ok is false for fewer than two groups.
func Ends(pooled []GroupRate) (low, high GroupRate, ok bool) {
	if len(pooled) < 2 {
		return low, high, false
	}
	low, high = pooled[0], pooled[0]
	for _, g := range pooled[1:] {
		if g.Rate.Value < low.Rate.Value {
			low = g
		}
		if g.Rate.Value > high.Rate.Value {
			high = g
		}
	}
	return low, high, true
}

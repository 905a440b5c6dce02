package evaluate

import (
	"cmp"
	"slices"
)

// grid holds the thresholds at which every evaluation is scored.
var grid = [...]float64{.01, .02, .05, .1, .2, .3, .4, .5, .6, .7, .8, .9, .95, .98, .99, .995, .999}

// modeNone and modeMutual are values of run.json's parameters.one_to_one; a job
// whose run.json is missing is taken to have used the default, mutual.
const (
	modeNone   = "none"
	modeMutual = "mutual"
)

// atThresholds scores what the job would have linked at other thresholds, and
// the best of all thresholds.
//
// At threshold t a candidate counts if its link_probability is at least t and
// it is a link of the job, or is below the job's threshold and stands in
// no link's way: between two data sets a record has one partner, by mutual best
// or greedily as the job chose, unless the job was not one-to-one. What the job
// did not link above its threshold it would not link at another either. So the
// set only grows as t falls, and at the job's own threshold it is the job's
// links. Thresholds below the job's --keep are left out, since candidates below
// it were not kept.
//
// Where no candidate has a probability (method clk) there is no score.
func atThresholds(j *job, truth map[pair]struct{}) ([]ThresholdScore, *Best) {
	assigned := assign(j)
	if len(j.candidates) > 0 && assigned == nil {
		return nil, nil
	}
	slices.SortStableFunc(assigned, func(a, b candidate) int { return cmp.Compare(b.probability, a.probability) })
	tp := make([]int64, len(assigned)+1) // tp[i]: true pairs among the first i
	for i, c := range assigned {
		tp[i+1] = tp[i]
		if _, ok := truth[c.pair]; ok {
			tp[i+1]++
		}
	}
	total := int64(len(truth))
	scoreOf := func(n int) Score { return newScore(tp[n], int64(n)-tp[n], total-tp[n]) }

	thresholds := thresholdsOf(j)
	keep := j.keep()
	var best *Best
	offer := func(t float64, s Score) {
		if s.F1 != nil && (best == nil || *s.F1 > best.F1) {
			best = &Best{t, *s.F1}
		}
	}
	for i, c := range assigned {
		last := i+1 == len(assigned) || assigned[i+1].probability < c.probability
		if last && c.probability >= keep {
			offer(c.probability, scoreOf(i+1))
		}
	}
	if best != nil {
		thresholds = append(thresholds, best.MatchProbability)
	}
	slices.Sort(thresholds)
	thresholds = slices.Compact(thresholds)
	var scores []ThresholdScore
	for _, t := range thresholds {
		n := 0
		if i := slices.IndexFunc(assigned, func(c candidate) bool { return c.probability < t }); i >= 0 {
			n = i
		} else {
			n = len(assigned)
		}
		scores = append(scores, ThresholdScore{t, scoreOf(n)})
	}
	return scores, best
}

func (j *job) keep() float64 {
	if j.run == nil {
		return 0
	}
	return j.run.Parameters.Keep
}

func thresholdsOf(j *job) []float64 {
	thresholds := slices.Clone(grid[:])
	if j.summary != nil {
		thresholds = append(thresholds, j.summary.Threshold)
		for _, t := range j.summary.Thresholds {
			thresholds = append(thresholds, t.MatchProbability)
		}
	}
	keep := j.keep()
	return slices.DeleteFunc(thresholds, func(t float64) bool { return t < keep || t > 1 })
}

// assign returns the candidates that would be links at a low enough
// threshold, and nil where no candidate has a probability.
func assign(j *job) []candidate {
	mode := modeMutual
	if j.run != nil && j.run.Parameters.OneToOne != "" {
		mode = j.run.Parameters.OneToOne
	}
	type slot struct {
		record  record
		dataset int32 // of the partner
	}
	taken := map[slot]struct{}{}
	assigned := []candidate{}
	any := false
	for _, c := range j.candidates { // best first, links before others
		any = any || c.probability > 0
		a, b := c.pair.records()
		exclusive := mode != modeNone && j.dataset[a] != j.dataset[b]
		left, right := slot{a, j.dataset[b]}, slot{b, j.dataset[a]}
		_, leftTaken := taken[left]
		_, rightTaken := taken[right]
		below := j.summary == nil || c.probability < j.summary.Threshold
		take := c.linked || below && !(exclusive && (leftTaken || rightTaken))
		if take {
			assigned = append(assigned, c)
		}
		// By mutual best, a better candidate that lost still keeps a worse one out.
		if exclusive && (take || mode == modeMutual) {
			taken[left], taken[right] = struct{}{}, struct{}{}
		}
	}
	if !any {
		return nil
	}
	return assigned
}

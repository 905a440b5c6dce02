package linkage

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"tarn/linkage/block"
	"tarn/linkage/cohort"
	"tarn/linkage/compare"
	"tarn/linkage/report/tally"
	"tarn/linkage/resolve"
	"tarn/linkage/result"
)

func (j *job) parameters() result.Parameters {
	threshold := "auto"
	if j.Threshold != nil {
		threshold = fmt.Sprint(*j.Threshold)
	}
	return result.Parameters{Threshold: threshold, MinPrecision: j.MinPrecision, Keep: j.Keep, Method: "fs",
		OneToOne: string(j.OneToOne), Blocking: j.way, WithTokens: j.WithTokens}
}

// summary says what was found, but for clusters.
func (j *job) summary() *result.Summary {
	m := j.cohorts[0].Manifest
	s := &result.Summary{
		Schema: result.SummarySchema, Software: j.Software, Created: j.created, RunID: j.runID,
		Project: m.Project, Profile: m.Profile, ProfileDigest: m.ProfileDigest, Method: "fs", Threshold: j.threshold,
		Pairs: j.pairCounts(), Links: j.links(), Warnings: append([]result.Warning{}, j.warnings...),
		Model:      result.Model{Converged: j.model.Converged, Iterations: j.model.Iterations, Probability: j.prevalence()},
		Thresholds: []result.Threshold{}, Inputs: []result.Input{}, Outputs: []result.Output{},
	}
	for i, c := range j.cohorts {
		s.Inputs = append(s.Inputs, result.Input{SourceDataset: c.SourceDataset(), CohortID: c.Manifest.CohortID, Rows: int64(c.Rows()), ValidTokens: c.tokens, Tokens: tokensOf(c.Manifest)})
		s.Unlinkable += j.unlinkable(i)
	}
	for f, field := range j.scheme.Fields {
		for level := range j.model.M[f] {
			s.Model.Fields = append(s.Model.Fields, result.ModelLevel{Field: field.Name, Level: level,
				MProbability: j.model.M[f][level], UProbability: j.model.U[f][level], MatchWeight: j.model.FieldWeight(f, level)})
		}
	}
	s.Estimated = j.quality(j.estimator.At(j.threshold))
	for _, t := range j.thresholdGrid() {
		x := j.estimator.At(t)
		q := j.quality(x)
		s.Thresholds = append(s.Thresholds, result.Threshold{MatchProbability: t, MatchWeight: math.Log2(t / (1 - t)), Links: int64(x.Links), Precision: q.Precision, Recall: q.Recall})
	}
	return s
}

// thresholdGrid are the thresholds that the summary lists, the job's own among
// them. A threshold of 1 has no finite weight and is left out.
func (j *job) thresholdGrid() []float64 {
	grid := []float64{.1, .2, .3, .4, .5, .6, .7, .8, .9, .95, .98, .99, .995, .999}
	if j.threshold > 0 && j.threshold < 1 {
		grid = append(grid, j.threshold)
	}
	slices.Sort(grid)
	return slices.Compact(grid)
}

func (j *job) quality(x resolve.Expectation) (q result.Quality) {
	if j.estimator.ExpectedMatches() < minimumEstimated || x.Links == 0 {
		return q
	}
	lo, hi := resolve.Interval(x.Precision, x.PrecisionError)
	q.Precision = &result.Estimate{Value: x.Precision, Lo: lo, Hi: hi}
	lo, hi = resolve.Interval(x.Recall, x.RecallError)
	q.Recall = &result.Estimate{Value: x.Recall, Lo: lo, Hi: hi}
	return q
}

// prevalence is the probability that two random records of different parties
// are one person's; nil where there are no two.
func (j *job) prevalence() *float64 {
	pairs := 0.0
	for i := range j.strata {
		pairs += j.strata[i].everyPair()
	}
	if pairs == 0 {
		return nil
	}
	p := min(1, j.estimator.ExpectedMatches()/pairs)
	return &p
}

func (j *job) pairCounts() (p result.Pairs) {
	p.Planned = j.pairsPlanned()
	p.Token = j.tokenPairs()
	for i := range j.strata {
		for code, n := range j.found.Cross[i].Counts {
			p.Compared += n
			if n > 0 && j.scheme.TokenLevel(uint32(code)) != compare.TokenEqual {
				p.Demographic += n
			}
		}
	}
	return p
}

func (j *job) links() (l result.Links) {
	l.Conflicts = int64(len(j.conflicts))
	templates := j.templates()
	for i := range j.candidates {
		c := &j.candidates[i]
		if c.Review(j.threshold) && c.Probability >= j.Keep {
			l.Review++
		}
		if !c.Linked(j.threshold) {
			continue
		}
		l.Total++
		switch templates.of(c).Basis {
		case result.BasisToken:
			l.TokenOnly++
		case result.BasisBoth:
			l.Both++
		default:
			l.DemographicOnly++
		}
	}
	return l
}

// unlinkable counts the records of a cohort that have neither a token nor, with
// tags, a block, nor, without, a field to compare.
func (j *job) unlinkable(cohort int) int64 {
	if j.passes[0].name == block.All {
		return j.found.Census[cohort].Empty
	}
	return j.cohorts[cohort].bare
}

// counts counts the clusters at the job's threshold.
func (c *clusters) counts() (n result.Clusters) {
	for size := range c.sizes() {
		n.Total++
		n.Largest = max(n.Largest, size)
		if size > 1 {
			n.Linked++
		} else {
			n.Singletons++
		}
	}
	return n
}

// sizes yields the number of records of each cluster.
func (c *clusters) sizes() iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for founder, size := range c.Size {
			if c.Founder[founder] == int32(founder) && !yield(int64(size)) {
				return
			}
		}
	}
}

// run gathers the counts behind the report's pictures, but for clusters.
func (j *job) run() *result.Run {
	r := &result.Run{Schema: result.RunSchema, Software: j.Software, Created: j.created, RunID: j.runID, Parameters: j.parameters(), Fields: j.scheme.Names(),
		Plan: result.Plan{Pairs: j.pairsPlanned(), Recall: j.blockingRecall()}, Passes: j.passCounts(), Blocks: tally.Blocks(slices.Values(j.allBlockSizes())), Scores: tally.Scores(j.seen()), Similarities: []result.SimilarityBin{},
		Patterns: tally.Patterns(j.seen()), Numbers: j.numberCounts(), Completeness: []result.FieldPresence{}}
	linked := j.linkedRecords()
	for i, c := range j.cohorts {
		r.Parties = append(r.Parties, result.Party{SourceDataset: c.SourceDataset(), Rows: int64(c.Rows()), Linked: linked[i], Unlinkable: j.unlinkable(i), Tokens: tokensOf(c.Manifest)})
		r.Completeness = append(r.Completeness, c.presence...)
		for f, n := range j.found.Census[i].Present {
			name := j.scheme.Fields[f].Column
			name = strings.TrimPrefix(strings.TrimPrefix(name, cohort.FilterPrefix), cohort.TagPrefix)
			r.Completeness = append(r.Completeness, result.FieldPresence{SourceDataset: c.SourceDataset(), Field: name, Rows: int64(c.Rows()), Present: n})
		}
	}
	return r
}

// blockingRecall is the share of matches that blocking is expected to bring
// together; nil where it cannot be told without data.
func (j *job) blockingRecall() *float64 {
	recall := 1.0
	switch j.way {
	case BlockTags:
		return nil
	case BlockLSH:
		recall = j.lsh.Recall(j.shape.Fields)
	}
	return &recall
}

// linkedRecords counts the records of each cohort that are in a link.
func (j *job) linkedRecords() []int64 {
	linked := make([]bool, j.people.Total())
	for i := range j.candidates {
		if c := &j.candidates[i]; c.Linked(j.threshold) {
			s := &j.strata[c.Stratum]
			linked[j.people.Number(s.LeftCohort, c.Left)], linked[j.people.Number(s.RightCohort, c.Right)] = true, true
		}
	}
	counts := make([]int64, len(j.cohorts))
	for number, ok := range linked {
		if ok {
			at, _ := j.people.Cohort(int32(number))
			counts[at]++
		}
	}
	return counts
}

// seen yields every pattern that occurs, and what the model makes of it.
func (j *job) seen() iter.Seq[tally.Seen] {
	return func(yield func(tally.Seen) bool) {
		for i := range j.strata {
			s := &j.strata[i]
			prior := math.Log2(j.model.Strata[i].Matches / (1 - j.model.Strata[i].Matches))
			for code, n := range j.found.Cross[i].Counts {
				if n == 0 {
					continue
				}
				score := j.model.Score(i, uint32(code))
				x := tally.Seen{SourceDatasetL: s.left.SourceDataset(), SourceDatasetR: s.right.SourceDataset(), Pairs: n, Weight: score.Weight, Probability: score.Probability, Prior: prior}
				for f := range j.scheme.Fields {
					x.Levels = append(x.Levels, j.scheme.Level(uint32(code), f))
				}
				x.FieldWeights = j.model.FieldWeights(uint32(code))
				if !yield(x) {
					return
				}
			}
		}
	}
}

// blockSizes returns the number of pairs of each block of a pass.
func (j *job) blockSizes(p *pass) (sizes []int64) {
	for _, s := range j.strata {
		left, right := p.Sides[s.LeftCohort].Runs, p.Sides[s.RightCohort].Runs
		if s.LeftCohort != s.RightCohort {
			block.Shared(left, right, func(_, l, r int64) { sizes = append(sizes, l*r) })
			continue
		}
		for i := range left.Key {
			if n := left.Size(i); n > 1 {
				sizes = append(sizes, n*(n-1)/2)
			}
		}
	}
	return sizes
}

func (j *job) allBlockSizes() (sizes []int64) {
	for _, p := range j.passes {
		sizes = append(sizes, j.blockSizes(p)...)
	}
	return sizes
}

// plannedPass counts the blocks of a pass and the pairs in them.
func (j *job) plannedPass(p *pass) result.Pass {
	x := result.Pass{Name: p.name}
	for _, pairs := range j.blockSizes(p) {
		x.Blocks++
		x.Pairs += pairs
		x.Widest = max(x.Widest, pairs)
		if pairs > compare.TaskPairs {
			x.Tiled++
		}
	}
	return x
}

func (j *job) passCounts() (passes []result.Pass) {
	for i, p := range j.passes {
		x := j.plannedPass(p)
		x.Pairs = j.found.Passes[i]
		passes = append(passes, x)
	}
	if n := int64(j.tokenOnly()); n > 0 {
		passes = append(passes, result.Pass{Name: tokenKey, Blocks: n, Pairs: n, Widest: 1})
	}
	return passes
}

// numberCounts counts pairs by what their tokens say.
func (j *job) numberCounts() (n result.Numbers) {
	for i, s := range j.strata {
		n.Used = n.Used || s.tokens
		for code, count := range j.found.Cross[i].Counts {
			if count > 0 && j.scheme.TokenLevel(uint32(code)) == compare.TokenDifferent {
				n.Different += count
			}
		}
	}
	n.Equal, n.Conflicts = j.tokenPairs(), int64(len(j.conflicts))
	templates := j.templates()
	for i := range j.candidates {
		c := &j.candidates[i]
		if !c.Linked(j.threshold) {
			continue
		}
		switch basis := templates.of(c).Basis; {
		case basis == result.BasisBoth:
			n.Confirmed++
		case basis == result.BasisToken:
			n.Unconfirmed++
		case j.scheme.TokenLevel(c.Code) == compare.TokenDifferent:
			n.DifferentLinked++
		}
	}
	return n
}

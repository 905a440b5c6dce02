package linkage

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tarn/linkage/result"
)

// TestEstimateCountsExactly: a plan's pairs are those of the nested loop, and of
// the job.
func TestEstimateCountsExactly(t *testing.T) {
	t.Parallel()
	two, plain := pair(t, 9, true), pair(t, 10, false)
	for _, x := range []struct {
		name, blocking string
		sides          []*side
	}{{"tags", BlockAuto, two}, {"all", BlockAll, plain}, {"hashes", BlockLSH, plain}, {"one party", BlockTags, two[:1]}} {
		t.Run(x.name, func(t *testing.T) {
			o := options(t, x.sides...)
			o.Blocking = x.blocking
			plan, err := Estimate(t.Context(), o)
			must(t, err)
			if left, err := os.ReadDir(o.TmpDir); err != nil || len(left) > 0 {
				t.Errorf("%v is left behind, %v", left, err)
			}
			j, _, err := goOn(t, o)
			must(t, err)
			s := &slow{T: t, j: j, sides: x.sides, scheme: j.scheme}
			total, distinct := int64(0), slowPassPairs(s, -1)
			for i, p := range plan.Passes {
				if want := slowPassPairs(s, i); p.Pairs != want {
					t.Errorf("pass %d has %d pairs, want %d", i, p.Pairs, want)
				}
				total += p.Pairs
			}
			if plan.Pairs != total || plan.Pairs != j.pairsPlanned() || distinct != j.pairCounts().Compared || distinct > plan.Pairs || len(plan.Passes) == 1 && distinct != plan.Pairs {
				t.Errorf("%d pairs are planned, %d in the job, %d are compared, %d by nested loops", plan.Pairs, j.pairsPlanned(), j.pairCounts().Compared, distinct)
			}
			if *plan.Seconds <= 0 || *plan.MemoryBytes <= 0 || !plan.Enough || (plan.Recall == nil) != (j.way == BlockTags) {
				t.Errorf("the plan makes no sense: %+v", plan)
			}
		})
	}
}

// slowPassPairs counts the pairs that share the key of one pass; -1 is of any.
func slowPassPairs(s *slow, pass int) (n int64) {
	x := s.strata()[0]
	for l, a := range s.sides[x[0]].rows {
		for r, b := range s.sides[x[1]].rows {
			if x[0] == x[1] && l >= r {
				continue
			}
			shared := s.j.way == BlockAll
			for k := range s.j.cohorts[x[0]].blocks {
				if pass >= 0 && k != pass {
					continue
				}
				if s.j.way == BlockTags {
					shared = shared || a.Blocks[k].Present && a.Blocks[k] == b.Blocks[k]
					continue
				}
				p, q := &s.j.cohorts[x[0]].blocks[k], &s.j.cohorts[x[1]].blocks[k]
				shared = shared || p.Present[l] && q.Present[r] && p.Value[l] == q.Value[r]
			}
			if shared {
				n++
			}
		}
	}
	return n
}

// TestHashesFindWhatAllPairsFind: of the links among all pairs, hashes bring
// together about the share that is stated.
func TestHashesFindWhatAllPairsFind(t *testing.T) {
	t.Parallel()
	sides := pair(t, 11, false)
	links := map[string][]string{}
	stated := 0.0
	for _, way := range []string{BlockAll, BlockLSH} {
		o := options(t, sides...)
		o.Blocking = way
		j := done(t, o)
		stated = *j.blockingRecall()
		for _, r := range readRows(t, filepath.Join(o.Out, result.LinksFile)) {
			if words := strings.Fields(r.text); way == BlockLSH || words[len(words)-1] == result.DecisionLink {
				links[way] = append(links[way], words[2]+words[3])
			}
		}
	}
	found := 0
	for _, link := range links[BlockAll] {
		if slices.Contains(links[BlockLSH], link) {
			found++
		}
	}
	if got := float64(found) / float64(len(links[BlockAll])); got < stated-.03 || len(links[BlockAll]) < 100 {
		t.Errorf("hashes find %.3f of %d links, %.3f is stated", got, len(links[BlockAll]), stated)
	} else {
		t.Logf("hashes find %.3f of %d links, %.3f is stated", got, len(links[BlockAll]), stated)
	}
}

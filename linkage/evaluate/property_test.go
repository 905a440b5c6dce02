package evaluate_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tarn/linkage/evaluate"
	"tarn/linkage/result"
)

// slow counts a score with sets of strings, by the definition.
func slow(linked, truth map[string]bool) (tp, fp, fn int64) {
	for p := range linked {
		if truth[p] {
			tp++
		} else {
			fp++
		}
	}
	for p := range truth {
		if !linked[p] {
			fn++
		}
	}
	return tp, fp, fn
}

// TestAgainstSets compares with sets for a job that is not one-to-one, where
// the links at threshold t are the candidates with probability t or more.
func TestAgainstSets(t *testing.T) {
	base := t.TempDir()
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		dir := filepath.Join(base, fmt.Sprint(n))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		const job = .5
		record := rapid.IntRange(1, 8)
		var rows []row
		probability := map[string]float64{}
		for range rapid.IntRange(0, 30).Draw(r, "rows") {
			l, s := fmt.Sprint("n", record.Draw(r, "l")), fmt.Sprint("s", record.Draw(r, "r"))
			p := rapid.SampledFrom([]float64{.05, .1, .2, .3, .45, .5, .7, .9, .99}).Draw(r, "p")
			if _, ok := probability[l+" "+s]; ok {
				continue
			}
			probability[l+" "+s] = p
			decision := result.DecisionNo
			if p >= job {
				decision = result.DecisionLink
			}
			rows = append(rows, row{l, s, p, decision})
		}
		truth := map[string]bool{}
		var pairs [][2]string
		for range rapid.IntRange(0, 12).Draw(r, "true pairs") {
			l, s := fmt.Sprint("n", record.Draw(r, "tl")), fmt.Sprint("s", record.Draw(r, "tr"))
			truth[l+" "+s] = true
			pairs = append(pairs, [2]string{l, s})
		}
		w := &world{dir: dir}
		w.options = evaluate.Options{Links: writeLinks(t, dir, rows), Truth: w.file(t, "truth.csv", truthPairs(pairs...))}
		mode := rapid.SampledFrom([]string{"none", "mutual", "greedy"}).Draw(r, "mode")
		w.summary(t, job, result.Parameters{OneToOne: mode})
		e := w.evaluate(t)

		at := func(threshold float64) map[string]bool {
			linked := map[string]bool{}
			for pair, p := range probability {
				if p >= threshold {
					linked[pair] = true
				}
			}
			return linked
		}
		if tp, fp, fn := slow(at(job), truth); e.TP != tp || e.FP != fp || e.FN != fn {
			r.Fatalf("links: %+v, by sets %d %d %d", e.Score, tp, fp, fn)
		}
		links, best := int64(1<<62), 0.0
		for _, s := range e.ByThreshold {
			if s.TP+s.FN != int64(len(truth)) {
				r.Fatalf("at %v: tp + fn is %d with %d true pairs", s.MatchProbability, s.TP+s.FN, len(truth))
			}
			if s.TP+s.FP > links {
				r.Fatalf("at %v: more links than at a lower threshold", s.MatchProbability)
			}
			links = s.TP + s.FP
			for _, v := range []*float64{s.Precision, s.Recall, s.F1} {
				if v != nil && !(*v >= 0 && *v <= 1) {
					r.Fatalf("at %v: %v is no share", s.MatchProbability, *v)
				}
			}
			if s.F1 != nil {
				best = max(best, *s.F1)
			}
			if s.MatchProbability == job && s.Score.TP != e.TP {
				r.Fatalf("at the job's threshold: %+v, links %+v", s.Score, e.Score)
			}
			tp, fp, _ := slow(at(s.MatchProbability), truth)
			if mode == "none" || s.MatchProbability >= job {
				if s.TP != tp || s.FP != fp {
					r.Fatalf("at %v: %+v, by sets %d %d", s.MatchProbability, s.Score, tp, fp)
				}
			} else if s.TP > tp || s.FP > fp {
				r.Fatalf("at %v: %+v, more than there are candidates", s.MatchProbability, s.Score)
			}
		}
		if e.Best != nil && e.Best.F1 != best {
			r.Fatalf("best F1 %v, in the table %v", e.Best.F1, best)
		}
	})
}

// TestOrderOfFilesDoesNotMatter evaluates the same job with its rows and its
// truth the other way round.
func TestOrderOfFilesDoesNotMatter(t *testing.T) {
	forward := newWorld(t, fourLinks, truthPairs(fiveTrue...)).evaluate(t)
	rows, pairs := append([]row(nil), fourLinks...), append([][2]string(nil), fiveTrue...)
	for i, j := 0, len(rows)-1; i < j; i, j = i+1, j-1 {
		rows[i], rows[j] = rows[j], rows[i]
	}
	for i := range pairs {
		pairs[i][0], pairs[i][1] = pairs[i][1], pairs[i][0]
	}
	back := newWorld(t, rows, truthPairs(pairs...)).evaluate(t)
	var a, b strings.Builder
	if evaluate.WriteText(&a, forward) != nil || evaluate.WriteText(&b, back) != nil || a.String() != b.String() {
		t.Errorf("%s\nother than\n%s", a.String(), b.String())
	}
}

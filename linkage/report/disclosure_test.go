package report_test

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tarn/linkage/equity/disclosure"
	"tarn/linkage/report"
	"tarn/linkage/result"
)

// protected names the counts of records, pairs and links of a result: every
// int64 of it but sizes, bounds and what is not about people.
func protected(s *result.Summary, run *result.Run) map[string]*int64 {
	counts := map[string]*int64{}
	not := regexp.MustCompile(`^(summary\.(Equity|Resources|Outputs)|summary\.Clusters\.(Total|Largest)$|run\.Blocks.*PairsFrom|run\.ClusterSizes.*Records|run\.Passes.*Widest|run\.Plan)`)
	var walk func(name string, v reflect.Value)
	walk = func(name string, v reflect.Value) {
		switch {
		case not.MatchString(name):
		case v.Kind() == reflect.Pointer && !v.IsNil():
			walk(name, v.Elem())
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				walk(name+"."+v.Type().Field(i).Name, v.Field(i))
			}
		case v.Kind() == reflect.Slice:
			for i := range v.Len() {
				walk(fmt.Sprintf("%s[%d]", name, i), v.Index(i))
			}
		case v.Kind() == reflect.Int64:
			counts[name] = v.Addr().Interface().(*int64)
		}
	}
	walk("summary", reflect.ValueOf(s).Elem())
	walk("run", reflect.ValueOf(run).Elem())
	return counts
}

// spread is the sample with every count a multiple of five, large, and far from
// every other.
func spread() (*result.Summary, *result.Run) {
	s, run := sample()
	s.Equity = sampleEquity()
	s.Links = result.Links{Total: 10000, TokenOnly: 500, DemographicOnly: 1500, Both: 8000, Review: 1000, Conflicts: 200}
	for i := range s.Thresholds {
		s.Thresholds[i].Links = int64(13000 - 400*i)
		if s.Thresholds[i].MatchProbability == s.Threshold {
			s.Links.Total = s.Thresholds[i].Links
		}
	}
	run.Patterns, run.Scores = run.Patterns[:3], run.Scores[5:25]
	for i := range run.Completeness {
		run.Completeness[i].Present -= 1000 // or those without a field would be few
	}
	for name, n := range protected(s, run) {
		if !strings.HasPrefix(name, "summary.Thresholds") && !strings.HasPrefix(name, "summary.Links") {
			*n = max(disclosure.Round(*n), 100)
		}
	}
	return s, run
}

// TestNoCountFollowsFromThePage: the page is the same whatever a count is within
// what it rounds to, and whichever small number it is. So no exact count and no
// small one is anywhere in it, in words, pictures or data.
func TestNoCountFollowsFromThePage(t *testing.T) {
	s, run := spread()
	counts := protected(s, run)
	inUse := slices.IndexFunc(s.Thresholds, func(t result.Threshold) bool { return t.MatchProbability == s.Threshold })
	delete(counts, fmt.Sprintf("summary.Thresholds[%d].Links", inUse)) // changes with the total
	if len(counts) < 100 {
		t.Fatalf("%d counts: the test is blind", len(counts))
	}
	want, seen := render(t, s, run), 0
	for name, n := range counts {
		was := *n
		set := func(v int64) string {
			if *n = v; name == "summary.Links.Total" {
				s.Thresholds[inUse].Links = v
			}
			return render(t, s, run)
		}
		if set(was+2) != want {
			t.Errorf("the page tells %d from %d in %s", was, was+2, name)
		}
		// What others are parts of is not small while they are large.
		if !regexp.MustCompile(`Rows$|ValidTokens$|Present$|summary\.Links\.Total|summary\.Thresholds`).MatchString(name) {
			small := set(3)
			if small != want {
				seen++
			}
			if set(9) != small {
				t.Errorf("the page tells 3 from 9 in %s", name)
			}
		}
		set(was)
	}
	if seen < 40 {
		t.Errorf("only %d counts show whether they are small: the test is blind", seen)
	}
}

// TestPatternsAreBands: a pattern's count is a band, in which all counts look
// the same.
func TestPatternsAreBands(t *testing.T) {
	s, run := sample()
	run.Patterns[0].Pairs = 5000
	want := render(t, s, run)
	for _, n := range []int64{5001, 7777, 9999} {
		if run.Patterns[0].Pairs = n; render(t, s, run) != want {
			t.Errorf("the page tells %d from 5000", n)
		}
	}
	if run.Patterns[0].Pairs = 10000; render(t, s, run) == want {
		t.Error("control: 10000 is of another band")
	}
}

// TestPlantedCounts puts numbers into the result that no rounded page can show,
// and looks for them.
func TestPlantedCounts(t *testing.T) {
	s, run := sample()
	s.Links = result.Links{Total: 60406, TokenOnly: 7, DemographicOnly: 60392, Both: 7, Review: 3, Conflicts: 4}
	s.Unlinkable = 60607
	run.ClusterSizes = []result.ClusterSizeBin{{Records: 1, Clusters: 60808}, {Records: 2, Clusters: 60406}, {Records: 3, Clusters: 4}}
	s.Inputs[0].Rows, s.Inputs[0].ValidTokens = 60909, 60902
	run.Scores[3].Pairs, run.Blocks[4].Pairs, run.Passes[0].Pairs = 60302, 60203, 60104
	page := render(t, s, run)
	for _, exact := range []string{"60406", "60392", "60607", "60808", "60909", "60902", "60302", "60203", "60104"} {
		if comma := exact[:2] + "," + exact[2:]; strings.Contains(page, exact) || strings.Contains(page, comma) {
			t.Errorf("the page holds the exact count %s", exact)
		}
	}
	for _, cells := range []string{
		"Equal numbers, names disagree</th><td>fewer than 10", "decision review)</th><td>fewer than 10", "Clusters of 3 records</th><td>fewer than 10",
		"Clusters of 2 records</th><td>hidden", "Records that found no partner</th><td>60,810",
		// Two sevens are fourteen together, which may follow from the total.
		"Demographics only</th><td>60,390", "Both</th><td>fewer than 10",
	} {
		if !strings.Contains(page, `<th scope="row">`+cells) && !strings.Contains(page, cells) {
			t.Errorf("not on the page: %s", cells)
		}
	}
}

// TestThresholds: whatever the numbers of links, those that the page shows, the
// links in use and the links with review differ by nothing or by ten and more;
// the one in use is shown unless it is small.
func TestThresholds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, _ := sample()
		links := int64(rapid.IntRange(0, 200).Draw(t, "fewest"))
		inUse := rapid.IntRange(0, len(s.Thresholds)-1).Draw(t, "in use")
		for i := len(s.Thresholds) - 1; i >= 0; i-- {
			s.Thresholds[i].Links = links
			if i == inUse {
				s.Links.Total, s.Threshold = links, s.Thresholds[i].MatchProbability
			}
			links += int64(rapid.SampledFrom([]int{0, 1, 4, 9, 10, 11, 60}).Draw(t, "more"))
		}
		s.Links.Review = 0
		for _, th := range s.Thresholds {
			if th.MatchProbability == .1 && th.Links > s.Links.Total {
				s.Links.Review = th.Links - s.Links.Total
			}
		}
		shown := report.ShownThresholds(s)
		known := []int64{0, s.Links.Total}
		if !disclosure.Small(s.Links.Review) {
			known = append(known, s.Links.Total+s.Links.Review)
		}
		found := false
		for _, th := range shown {
			known = append(known, th.Links)
			found = found || th.MatchProbability == s.Threshold
		}
		if !found && !disclosure.Small(s.Links.Total) {
			t.Fatal("the threshold in use is not shown")
		}
		if disclosure.Small(s.Links.Total) {
			if len(shown) > 0 {
				t.Fatal("thresholds are shown of a job with a small number of links")
			}
			return
		}
		for i, a := range known {
			for _, b := range known[:i] {
				if disclosure.Small(max(a, b) - min(a, b)) {
					t.Fatalf("%d and %d differ by a small number", a, b)
				}
			}
		}
	})
}

// TestEstimatesAreRounded: a ratio of two estimates to all their digits would be
// a ratio of exact counts.
func TestEstimatesAreRounded(t *testing.T) {
	s, run := sample()
	want := render(t, s, run)
	nudge := func(e *result.Estimate) {
		if e != nil {
			e.Value, e.Lo, e.Hi = e.Value+1e-9, e.Lo+1e-9, math.Min(1, e.Hi+1e-9)
		}
	}
	for i := range s.Thresholds {
		nudge(s.Thresholds[i].Precision)
		nudge(s.Thresholds[i].Recall)
	}
	nudge(s.Estimated.Precision)
	nudge(s.Estimated.Recall)
	if render(t, s, run) != want {
		t.Error("the page shows estimates to the ninth digit")
	}
	for _, block := range regexp.MustCompile(`(?s)<script type="application/json" id="[^"]*">(.*?)</script>`).FindAllStringSubmatch(want, -1) {
		for _, number := range regexp.MustCompile(`[0-9]\.[0-9]+`).FindAllString(block[1], -1) {
			if _, err := strconv.ParseFloat(number, 64); err != nil || len(number) > 12 && !strings.Contains(block[0], "equity") {
				t.Errorf("%s in %.60s", number, block[0])
			}
		}
	}
}

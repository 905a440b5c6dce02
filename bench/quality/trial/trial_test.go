package trial

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tarn/bench/synth"
	"tarn/linkage/result"
)

// world is two sides of records that are written down here: given name, family
// name, postcode, date, number.
func world(left, right [][5]string) *Clear {
	d := &Dataset{Sides: []Side{{Name: "a"}, {Name: "b"}}, Fields: []string{"given", "family", "place"}, Date: "date", Number: "number", DateKeyed: true,
		Twins: Twins{Given: "given", Family: "family", Place: "place"}}
	c := &Clear{dataset: d, sides: []int{len(left), len(right)}}
	for _, side := range [][][5]string{left, right} {
		for _, r := range side {
			c.values = append(c.values, append([]string{}, r[:]...))
		}
	}
	return c
}

// people are three who are in both sides in the same order: one as they were,
// one with another date, one with another date and the same number.
func people() (*Clear, truth) {
	c := world([][5]string{{"ann", "lee", "x1", "1970-01-01", ""}, {"bob", "ray", "x2", "1980-01-01", "1"}, {"cat", "fox", "x3", "1990-01-01", "3"}},
		[][5]string{{"ann", "lee", "x1", "1970-01-01", "9"}, {"bob", "ray", "x2", "1980-01-02", ""}, {"cat", "cox", "", "1990-01-02", "3"}})
	return c, truth{pairOf(0, 3): {}, pairOf(1, 4): {}, pairOf(2, 5): {}}
}

func TestCeilingCountsWhatNothingCanFind(t *testing.T) {
	c, truth := people()
	x := truth.ceiling(c)
	if x.Unreachable != 1 || x.Pairs != 3 || math.Abs(x.Recall-2./3) > 1e-12 || math.Abs(x.F1-.8) > 1e-12 {
		t.Errorf("%+v, want 1 of 3 out of reach (the second), F1 at most .8", x)
	}
	c.dataset.DateKeyed = false
	if x = truth.ceiling(c); x.Unreachable != 0 || x.F1 != 1 {
		t.Errorf("%+v, want everything in reach where dates are not keys", x)
	}
	c.dataset.DateKeyed = true
	c.values[0][3] = "" // a record without a date has no encodings
	if x = truth.ceiling(c); x.Unreachable != 2 {
		t.Errorf("%+v, want 2: a missing date is equal to none", x)
	}
}

func TestErrorsAreToldApart(t *testing.T) {
	c, truth := people()
	links := []link{
		{pair: pairOf(0, 3), probability: .2, decision: result.DecisionReview},
		{pair: pairOf(0, 4), probability: .9, decision: result.DecisionNo},
	}
	got := falseNegatives(c, truth, links, []link{{pair: pairOf(2, 5)}})
	want := []Kind{{inReview, "nothing", 1}, {missedByBlocking, "date", 1}, {setAside, "family+place?+date", 1}}
	if len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("got %+v, want %+v", got, want)
	}
	links[1].decision = result.DecisionLink
	if got = falseNegatives(c, truth, links, nil); got[0].What != lostToAnother {
		t.Errorf("got %+v, want the first lost to another", got)
	}
	if got = falsePositives(c, truth, links); len(got) != 1 || got[0] != (Kind{others, "given+family+place+date", 1}) {
		t.Errorf("got %+v", got)
	}
	for name, x := range map[string][5]string{twins: {"amy", "lee", "x1", "1970-01-01", ""}, namesakes: {"ann", "lee", "x7", "1970-01-01", ""},
		relatives: {"ann", "lee", "x1", "1999-01-01", ""}, sameNumber: {"joe", "low", "x8", "1999-01-01", "1"}, others: {"joe", "low", "x8", "1999-01-01", ""}} {
		c := world([][5]string{{"ann", "lee", "x1", "1970-01-01", "1"}}, [][5]string{x})
		if got := c.people(0, 1); got != name {
			t.Errorf("got %q, want %q", got, name)
		}
	}
}

func TestManyKindsAreSummedUp(t *testing.T) {
	counts := map[[2]string]int64{}
	for i := range int64(kindsListed + 5) {
		counts[[2]string{string(rune('a' + i)), ""}] = i + 1
	}
	list := kinds(counts)
	if len(list) != kindsListed+1 || list[0].Count != kindsListed+5 || list[kindsListed].Count != 1+2+3+4+5 {
		t.Errorf("%+v", list)
	}
}

func TestReliability(t *testing.T) {
	truth := truth{}
	var links []link
	for i := range record(200) { // .9 to .95: 90% true; .5 to .6: half; one pair of certainty
		p := pairOf(i, 1000+i)
		l := link{pair: p, probability: .92, basis: result.BasisDemographic}
		right := i%10 != 0
		if i >= 100 {
			l.probability, l.basis, right = .55, result.BasisToken, i%2 == 0
		}
		if right {
			truth[p] = struct{}{}
		}
		links = append(links, l)
	}
	links = append(links, link{pair: pairOf(5000, 5001), probability: 1}, link{pair: pairOf(5002, 5003), probability: -1})
	bins := reliability(truth, links, false)
	if len(bins) != 3 || bins[0].Pairs != 100 || bins[0].True != .5 || bins[1].True != .9 || math.Abs(bins[1].Mean-.92) > 1e-9 || bins[2].Pairs != 1 || bins[2].To != 1 {
		t.Errorf("%+v", bins)
	}
	if got, want := calibrationError(bins), (100*.05+100*.02+1)/201; math.Abs(got-want) > 1e-9 {
		t.Errorf("calibration error %g, want %g", got, want)
	}
	if bins = reliability(truth, links, true); len(bins) != 1 || bins[0].From != .9 {
		t.Errorf("demographics only: %+v", bins)
	}
	// Wilson's interval for 9 of 10 (Newcombe 1998 gives the formula).
	if lo, hi := wilson(9, 10); math.Abs(lo-.5958) > 5e-4 || math.Abs(hi-.9821) > 5e-4 {
		t.Errorf("wilson(9, 10) is %.4f to %.4f", lo, hi)
	}
	var document any
	text := Plot("a & b", reliability(truth, links, false))
	if err := xml.Unmarshal([]byte(text), &document); err != nil && !errors.Is(err, io.EOF) || strings.Count(text, "<circle") != 3 || !strings.Contains(text, "a &amp; b") {
		t.Errorf("plot: %v", err)
	}
}

func TestWorstPatterns(t *testing.T) {
	fields := []string{"gamma_x", "gamma_y"}
	good, bad := string([]byte{letter(2), letter(-1)}), string([]byte{letter(0), letter(1)})
	links := []link{{pair: pairOf(0, 10), pattern: good, probability: 1}, {pair: pairOf(1, 11), pattern: bad, probability: .25}, {pair: pairOf(2, 12), pattern: bad, probability: .75},
		{pair: pairOf(3, 13), pattern: bad, probability: -1}}
	got := worstPatterns(truth{pairOf(0, 10): {}, pairOf(1, 11): {}, pairOf(2, 12): {}}, links, fields)
	if len(got) != 2 || got[0] != (Pattern{"x 0, y 1", 2, .5, 1}) || got[1] != (Pattern{"x 2, y -1", 1, 1, 1}) {
		t.Errorf("%+v", got)
	}
}

// TestBestF1 compares with trying every threshold on every subset by hand.
func TestBestF1(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		truth, seen := truth{}, map[pair]bool{}
		var order []ranked
		for range rapid.IntRange(1, 30).Draw(t, "pairs") {
			p := pairOf(record(rapid.IntRange(0, 5).Draw(t, "a")), record(rapid.IntRange(6, 11).Draw(t, "b")))
			if seen[p] {
				continue
			}
			seen[p] = true
			order = append(order, ranked{p, float64(rapid.IntRange(1, 9).Draw(t, "score")) / 10})
			if rapid.Bool().Draw(t, "true") {
				truth[p] = struct{}{}
			}
		}
		best := 0.0
		for _, x := range order {
			best = max(best, scoreAt(truth, order, x.score).F1)
		}
		if got := bestF1(truth, order, false); got.F1 != best {
			t.Fatalf("%g, want %g", got.F1, best)
		}
		kept := mutualBest(append([]ranked{}, order...))
		used := map[record]bool{}
		for _, x := range kept {
			a, b := x.records()
			if used[a] || used[b] {
				t.Fatal("a record is in two pairs")
			}
			used[a], used[b] = true, true
			for _, y := range order {
				c, d := y.records()
				if (c == a || d == b) && y.score > x.score {
					t.Fatal("a kept pair has a better rival")
				}
			}
		}
	})
}

func TestOracleIsAtLeastTheLinkers(t *testing.T) {
	// Two patterns the wrong way round: the linker's order has F1 .8 at best.
	truth := truth{pairOf(0, 10): {}, pairOf(1, 11): {}}
	links := []link{{pair: pairOf(2, 12), pattern: "a", probability: .9}, {pair: pairOf(0, 10), pattern: "b", probability: .5}, {pair: pairOf(1, 11), pattern: "b", probability: .5}}
	if got := oracle(truth, links, true); got != 1 {
		t.Errorf("oracle %g, want 1", got)
	}
	// One pattern that is right half the time cannot be parted.
	links[0].pattern = "b"
	if got := oracle(truth, links, true); math.Abs(got-.8) > 1e-12 {
		t.Errorf("oracle %g, want .8", got)
	}
}

func TestBestRivals(t *testing.T) {
	order := []ranked{{pairOf(0, 10), .9}, {pairOf(0, 11), .4}, {pairOf(1, 11), .7}, {pairOf(2, 12), .1}}
	got, want := bestRivals(order), []float64{.4, .9, .4, 0}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("pair %d: %g, want %g", i, got[i], want[i])
		}
	}
}

func TestRunMeasuresTheProcessAndNotItsParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("memory is read from /proc")
	}
	ballast := make([]byte, 256<<20)
	for i := range ballast {
		ballast[i] = 1 // in memory, not only promised
	}
	out, usage, err := Run(context.Background(), "", "sh", "-c", "sleep .1; echo said")
	if err != nil || string(out) != "said\n" {
		t.Fatalf("%q, %v", out, err)
	}
	if usage.PeakRSSBytes <= 0 || usage.PeakRSSBytes > 64<<20 || usage.WallS < .1 {
		t.Errorf("%+v, want a few megabytes and .1 s", usage)
	}
	runtime.KeepAlive(ballast)
	if _, _, err = Run(context.Background(), "", "sh", "-c", "echo wrong >&2; exit 3"); err == nil || !strings.Contains(err.Error(), "wrong") {
		t.Errorf("a failing process: %v", err)
	}
}

func TestPool(t *testing.T) {
	bound, estimate := 1.0, .9
	a := &Outcome{Score: scoreOf(.5, 8, 1, 10), Best: scoreOf(.4, 9, 1, 10), Ceiling: ceilingOf(1, 10), Oracle: &bound}
	a.Pool(&Outcome{Score: scoreOf(.6, 4, 1, 10), Best: scoreOf(.3, 5, 0, 10), Ceiling: ceilingOf(3, 10), Estimated: Estimates{Precision: &estimate}})
	if a.Score != scoreOf(.5, 12, 2, 20) || a.Best != scoreOf(.4, 14, 1, 20) || a.Ceiling != ceilingOf(4, 20) || a.Oracle != nil || a.Estimated.Precision != &estimate {
		t.Errorf("%+v", a)
	}
}

// TestSyntheticCeiling links nothing: it compares the ceiling of clear text
// with what the error model says, and reads the tables back.
func TestSyntheticCeiling(t *testing.T) {
	p := People{Folder: t.TempDir(), Rows: 4000, Seed: 1, Errors: synth.ErrorsCRATE, Overlap: .5, NoNumbers: true, Threads: 2, Software: "test"}
	d, err := p.Make(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	c, err := ReadClear(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	truth, err := readTruth(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	x := truth.ceiling(c)
	// 2000 pairs, wrong dates in .492% of one side: 9.84, five standard
	// deviations are 16.
	if x.Pairs != 2000 || x.Unreachable > 26 || x.Unreachable < 1 {
		t.Errorf("%+v", x)
	}
	if d.Rows(c) != 4000 {
		t.Errorf("%d rows", d.Rows(c))
	}
	for i := range d.Sides {
		if err := c.WriteClear(i, filepath.Join(t.TempDir(), "clear.parquet"), "test"); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(c.String(), c.source[0]) {
		t.Error("clear text prints itself")
	}
}

// TestJudge links a few people with the real program, built here.
func TestJudge(t *testing.T) {
	linker := filepath.Join(t.TempDir(), "linker")
	if said, err := exec.Command("go", "build", "-o", linker, "tarn/cmd/linker").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, said)
	}
	ctx, folder := context.Background(), t.TempDir()
	d, err := People{Folder: folder, Rows: 2000, Seed: 1, Errors: synth.ErrorsNHS, Overlap: .5, Threads: 2, Software: "test"}.Make(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ReadClear(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	j := Job{Linker: linker, Out: filepath.Join(folder, "run"), Keep: .001}
	if _, err := j.Link(ctx, d); err != nil {
		t.Fatal(err)
	}
	o, err := j.Judge(ctx, d, c) // which compares its counts with those of linker evaluate
	if err != nil {
		t.Fatal(err)
	}
	if o.F1 < .95 || o.Ceiling.F1 < o.F1-.02 || *o.Oracle < o.Best.F1-.001 || o.Ceiling.Pairs != 1000 {
		t.Errorf("F1 %.4f, ceiling %.4f, oracle %.4f, best %.4f", o.F1, o.Ceiling.F1, *o.Oracle, o.Best.F1)
	}
	if o.MissedByBlocking == nil || *o.MissedByBlocking != o.Ceiling.Unreachable {
		t.Errorf("linker evaluate says %v are missed by blocking, clear text says %d", o.MissedByBlocking, o.Ceiling.Unreachable)
	}
	if o.Estimated.Precision == nil || o.Estimated.Recall == nil || o.EstimateError.Recall == nil || len(o.Calibration) == 0 || len(o.RecallGaps) == 0 {
		t.Errorf("estimates %v, %d bins, gaps %v", o.Estimated, len(o.Calibration), o.RecallGaps)
	}
	missed := int64(0)
	for _, k := range o.FalseNegatives {
		missed += k.Count
	}
	if missed != o.FN {
		t.Errorf("%d false negatives are told apart, there are %d", missed, o.FN)
	}
	if _, err := os.Stat(j.Out); err != nil {
		t.Error(err)
	}
}

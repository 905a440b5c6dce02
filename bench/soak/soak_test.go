package soak

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"tarn/bench/load"
	"tarn/bench/measure"
	"tarn/keys"
	"tarn/linkage/cohort"
	"tarn/tokenise/online/wire"
)

// TestGrowth: what grows beyond its bound is found however the collector saws at it, and
// what does not is flat.
func TestGrowth(t *testing.T) {
	const live, n = 200 << 20, 240
	series := func(f func(i int) float64) []float64 {
		values := make([]float64, n)
		for i := range values {
			values[i] = f(i)
		}
		return values
	}
	saw := func(i int) float64 { return float64(i%7) * (8 << 20) }
	for _, tt := range []struct {
		name   string
		values []float64
		flat   bool
	}{
		{"constant", series(func(int) float64 { return live }), true},
		{"the collector's teeth", series(func(i int) float64 { return live + saw(i) }), true},
		{"one moment far off", series(func(i int) float64 { return live + map[bool]float64{true: live}[i == 200] }), true},
		{"a part far off", series(func(i int) float64 { return live - map[bool]float64{true: live / 2}[i < n/8] }), true},
		{"it shrinks", series(func(i int) float64 { return live - float64(i)*1e5 }), true},
		{"half of what is allowed", series(func(i int) float64 { return live + saw(i) + .05*live*float64(i)/n }), true},
		{"it leaks", series(func(i int) float64 { return live + .13*live*float64(i)/n }), false},
		{"it leaks behind the teeth", series(func(i int) float64 { return live + saw(i) + .15*live*float64(i)/n }), false},
		{"too few to tell", series(func(int) float64 { return live })[:2*windows-1], false},
	} {
		if s := growthOf(tt.values, 60, memoryShare, memoryLeast); s.Flat != tt.flat {
			t.Errorf("%s: %+v", tt.name, s)
		}
	}
	s := growthOf([]float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, 15, .1, 1)
	if s.Growth != 16 || s.Bound != 1 || s.Median != 9 || s.Most != 16 || s.Samples != 16 || s.Seconds != 15 {
		t.Errorf("known answer: %+v", s)
	}
}

// TestLeaksAreFound is the control of "flat": a process that keeps memory and goroutines on
// purpose is found to grow by what a soak reads of it, and one that lets go is not.
func TestLeaksAreFound(t *testing.T) {
	for _, leaks := range []bool{false, true} {
		var kept [][]byte
		stop := make(chan struct{})
		var heap, goroutines []float64
		for range 6 * windows {
			b := make([]byte, 2<<20)
			if leaks {
				kept = append(kept, b)
				go func() { <-stop }()
			}
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			heap = append(heap, float64(m.NextGC)/2)
			goroutines = append(goroutines, float64(runtime.NumGoroutine()))
		}
		close(stop)
		memory, running := growthOf(heap, 60, memoryShare, memoryLeast), growthOf(goroutines, 60, goroutineShare, goroutineLeast)
		if memory.Flat == leaks || running.Flat == leaks {
			t.Errorf("leaks %v: memory %+v, goroutines %+v", leaks, memory, running)
		}
		runtime.KeepAlive(kept)
	}
}

// made is a truth of two people, of whom the second has no number, and a third who was
// refused; and their answer in a form.
func made(t *testing.T, f wire.Format) (*truth, []string, []byte) {
	t.Helper()
	first := &cohort.Row{Token: [keys.TokenSize]byte{1, 2, 3}, HasToken: true, Filters: [][]byte{{1, 2, 3, 4, 5, 6, 7, 8}}, Blocks: []cohort.Tag{{Value: -5, Present: true}}, Tags: []cohort.Tag{{Value: 1 << 60, Present: true}}}
	second := &cohort.Row{Filters: [][]byte{nil}, Blocks: []cohort.Tag{{}}, Tags: []cohort.Tag{{Value: 7, Present: true}}}
	made := &truth{epoch: 3, layout: cohort.Layout{Filters: []cohort.FilterColumn{{Name: "bf_a", Bytes: 8}}, Blocks: []string{"blk_b"}, Tags: []string{"tag_c"}}, rows: map[string]*cohort.Row{"a": first, "b": second}}
	token := keys.Token{Scheme: keys.SchemeNoKeyedHash, DomainNo: 1, TokenEpoch: 3, Value: first.Token}.String()
	object := func(id, rest string) string { return `{"unique_id":"` + id + `",` + rest + `}` }
	rows := []string{
		object("a", `"status":"ok","nhs_token":"`+token+`","encodings":{"bf_a":"AQIDBAUGBwg="},"tags":{"blk_b":"-5","tag_c":"1152921504606846976"}`),
		object("b", `"status":"ok","nhs_token":null,"encodings":{"bf_a":null},"tags":{"blk_b":null,"tag_c":"7"}`),
		object("c", `"status":"refused","errors":[]`),
	}
	body := map[wire.Format]string{
		wire.JSON:   `{"rows":[` + strings.Join(rows, ",") + `],"counts":{"rows":3}}`,
		wire.NDJSON: strings.Join(rows, "\n") + "\n",
		wire.CSV:    "unique_id,status,nhs_token,bf_a,blk_b,tag_c,codes\na,ok," + token + ",AQIDBAUGBwg=,-5,1152921504606846976,\nb,ok,,,,7,\nc,refused,,,,,row_nothing_linkable\n",
	}[f]
	return made, []string{"a", "b", "c"}, []byte(body)
}

// TestWrongAnswersAreFound: an answer that is right is none, and each way of being wrong is
// found in every form of text.
func TestWrongAnswersAreFound(t *testing.T) {
	for _, f := range []wire.Format{wire.JSON, wire.NDJSON, wire.CSV} {
		truth, ids, body := made(t, f)
		if err := truth.wrong(f, ids, body); err != nil {
			t.Errorf("%v: the right answer: %v", f, err)
		}
		other := keys.Token{Scheme: keys.SchemeNoKeyedHash, DomainNo: 1, TokenEpoch: 3, Value: [keys.TokenSize]byte{1, 2, 4}}.String()
		older := keys.Token{Scheme: keys.SchemeNoKeyedHash, DomainNo: 1, TokenEpoch: 2, Value: [keys.TokenSize]byte{1, 2, 3}}.String()
		own := keys.Token{Scheme: keys.SchemeNoKeyedHash, DomainNo: 1, TokenEpoch: 3, Value: [keys.TokenSize]byte{1, 2, 3}}.String()
		for _, change := range [][2]string{{own, other}, {own, older}, {own, ""}, {"AQIDBAUGBwg=", "AQIDBAUGBwk="}, {"1152921504606846976", "1152921504606846977"}, {"-5", "5"}, {"7", "8"}, {"refused", "ok"}} {
			changed := bytes.Replace(body, []byte(change[0]), []byte(change[1]), 1)
			if bytes.Equal(changed, body) || truth.wrong(f, ids, changed) == nil {
				t.Errorf("%v: %q for %q is not found", f, change[1], change[0])
			}
		}
		if truth.wrong(f, []string{"b", "a", "c"}, body) == nil || truth.wrong(f, ids[:2], body) == nil || truth.wrong(f, ids, body[:len(body)/2]) == nil {
			t.Errorf("%v: an answer to other rows, to fewer, or half of one is not found", f)
		}
	}
}

// TestArrowIsRead: Arrow's cells are the same as the other forms'.
func TestArrowIsRead(t *testing.T) {
	body, err := load.Body(wire.Arrow, []string{"unique_id", "status", "tag_c"}, [][]string{{"a", "ok", "x"}, {"b", "refused", ""}})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := read(wire.Arrow, body)
	if err != nil || len(rows) != 2 || rows[0].id != "a" || rows[1].status != "refused" || rows[0].cells["tag_c"] != "x" || rows[1].cells["tag_c"] != "" {
		t.Errorf("%+v, %v", rows, err)
	}
}

// whole is a report in which all holds.
func whole() *Report {
	flat := growthOf(slices.Repeat([]float64{1 << 28}, 32), 60, memoryShare, memoryLeast)
	return &Report{
		Schema: Schema, Software: "tarn test", Created: "2026-11-27T00:00:00Z", Seconds: 60, Rate: 40, GOGC: 10,
		Requests: Counts{Due: 2400, Answered: 2390, Rows: 150_000, Bulk: 120, Packed: 340, Again: 240, Resent: 40, Refused: 12, Changed: 10, Closed: 28}, Wrong: []string{},
		Straight: measure.Latency{P50: 3, P99: 20, P999: 40, Max: 50}, All: measure.Latency{P50: 3, P99: 90, P999: 1200, Max: 1500},
		Projects: []ProjectReport{{Name: "blind", Scheme: keys.SchemeOblivious, Before: 1, After: 2, GapS: 1.5, EndedS: .2, ReadyS: .3, Rows: 75_000, Charged: 75_000, Check: Checked{Asked: 1000, Same: 600, Changed: 400}}},
		Parts:    []Part{{Project: "blind", When: "before", Collections: 40, Heap: flat, Resident: flat, Goroutines: flat}},
		Controls: []Control{{Project: "blind", What: "an answer that is another in the ledger", Found: true, Said: "1 were wrong"}}, Holds: true,
		Machine: measure.Machine{CPU: "none", Cores: 2, RAMBytes: 1 << 34, Flags: []string{"aes"}, Go: "go1.26"},
	}
}

// TestReportIsJudged: each thing that does not hold is told, and nothing else is.
func TestReportIsJudged(t *testing.T) {
	if lines := whole().Against(); len(lines) > 0 {
		t.Errorf("all holds: %q", lines)
	}
	for what, spoil := range map[string]func(*Report){
		"it has shown nothing": func(r *Report) { r.Requests.Answered = 3 },
		"1 requests are lost":  func(r *Report) { r.Requests.Lost = 1 },
		"1 answers or refusals are wrong: its token is another": func(r *Report) { r.Requests.Wrong, r.Wrong = 1, []string{"its token is another"} },
		"it has not shown each":                                 func(r *Report) { r.Requests.Packed = 0 },
		"from epoch 1 to 1":                                     func(r *Report) { r.Projects[0].After = 1 },
		"were acknowledged and 75001 were":                      func(r *Report) { r.Projects[0].Charged++ },
		"the checker of project blind":                          func(r *Report) { r.Projects[0].Check.Wrong = 1 },
		"blind before, heap: it grew":                           func(r *Report) { r.Parts[0].Heap.Flat = false },
		"blind before, goroutines: it grew":                     func(r *Report) { r.Parts[0].Goroutines.Flat = false },
		"which show nothing of memory":                          func(r *Report) { r.Parts[0].Collections = 2 },
		"memory was not looked at":                              func(r *Report) { r.Parts = nil },
		"there is no control":                                   func(r *Report) { r.Controls = nil },
		"is not found":                                          func(r *Report) { r.Controls[0].Found = false },
	} {
		r := whole()
		spoil(r)
		if lines := r.Against(); len(lines) != 1 || !strings.Contains(lines[0], what) {
			t.Errorf("%q: %q", what, lines)
		}
	}
	if (&Checked{Asked: 2, Same: 2}).Whole() == false || (&Checked{}).Whole() || (&Checked{Asked: 2, Wrong: 1}).Whole() || (&Checked{Asked: 2, Charged: 1}).Whole() {
		t.Error("a check is judged wrongly")
	}
}

// TestReportIsTheDocument: the report is what docs/schemas describes, byte for byte.
func TestReportIsTheDocument(t *testing.T) {
	folder := t.TempDir()
	if err := whole().Write(folder); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(folder, "soak.json"))
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("..", "..", "testdata", "formats", "soak.json")
	want, err := os.ReadFile(golden)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the report is not %s (%v): it is\n%s", golden, err, got)
	}
	var b strings.Builder
	if err := whole().Print(&b); err != nil || !strings.Contains(b.String(), "2390 answered (150000 rows)") || strings.Contains(b.String(), "does not hold") {
		t.Errorf("%v: %s", err, b.String())
	}
}

// TestEpochsAreHeldToTheTime: an answer of the old key is right until the service was seen
// to have the new one, and of the new key from when it was replaced.
func TestEpochsAreHeldToTheTime(t *testing.T) {
	now := time.Now()
	want, ids, body := made(t, wire.JSON)
	r := &template{format: wire.JSON, ids: ids}
	for _, tt := range []struct {
		name     string
		epoch    uint32
		newest   uint32
		changing bool
		changed  time.Time
		sent     time.Time
		right    bool
	}{
		{"nothing happened", 3, 3, false, time.Time{}, now, true},
		{"an epoch of nobody's", 4, 3, false, time.Time{}, now, false},
		{"the old one, unasked", 3, 4, false, time.Time{}, now, false},
		{"the old one, while it is replaced", 3, 4, true, time.Time{}, now, true},
		{"the old one, sent before the new one was seen", 3, 4, true, now, now.Add(-time.Second), true},
		{"the old one, sent after", 3, 4, true, now, now.Add(time.Second), false},
	} {
		p := &project{truths: map[uint32]*truth{3: want}, newest: tt.newest, changing: tt.changing, changed: tt.changed, digests: map[answerKey]string{}}
		if err := p.check(r, tt.epoch, body, digestOf(body), tt.sent); (err == nil) != tt.right {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if math.IsNaN(growthOf(nil, 0, .1, 1).Growth) {
		t.Error("nothing grew by what is no number")
	}
}

// TestLedgerIsReadAsItWasKept.
func TestLedgerIsReadAsItWasKept(t *testing.T) {
	folder := t.TempDir()
	l, err := newLedger(folder, []*project{{name: "blind"}, {name: "hashed"}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if l.any(func(int) int { return 0 }) != nil {
		t.Error("something is in an empty ledger")
	}
	want := []acknowledged{{Project: "blind", ID: "1", Template: 7, Epoch: 2, Digest: "ab"}, {Project: "blind", ID: "2", Template: 8, Epoch: 2, Digest: "cd"}}
	for _, a := range append(want, acknowledged{Project: "hashed", ID: "3"}) {
		if err := l.keep(a); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readLedger(l.path("blind"))
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if err := os.WriteFile(l.path("hashed"), []byte("what is this\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readLedger(l.path("hashed")); err == nil {
		t.Error("a line that is none is read")
	}
}

package openings_test

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tarn/keys/audit"
	"tarn/keys/audit/openings"
)

const month = "2026-11"

var begins = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)

// now is when reports are made: four days after what was done.
var now = begins.Add(4 * 24 * time.Hour)

func hash(digit byte) string { return strings.Repeat(string(digit), 32) }

var (
	clinician = audit.Actor{Issuer: "https://am.example", Organisation: "RX1", Role: "doctor", Subject: "ann"}
	guardian  = audit.Actor{Issuer: "https://am.example", Organisation: "RX2", Role: "guardian", Subject: "gwen"}
	practice  = audit.Actor{Issuer: "https://am.example", Organisation: "P81", Role: "gp", Subject: "pat"}
)

// log is entries as the key holder writes them, a second after one another.
type log []audit.Leaf

// add writes an entry of a request and returns its index.
func (l *log) add(kind audit.Kind, by audit.Actor, request byte, change func(*audit.Leaf)) *uint64 {
	index := uint64(len(*l))
	leaf := audit.Leaf{Kind: kind, Actor: by, Purpose: "HQUALIMP", Time: audit.FormatTime(begins.Add(time.Duration(index) * time.Second))}
	if request != 0 {
		leaf.Request = strings.Repeat(string(request), 64)
	}
	if change != nil {
		change(&leaf)
	}
	*l = append(*l, leaf)
	return &index
}

// about says whom an entry is about, and of which it is.
func about(patient byte, ref *uint64) func(*audit.Leaf) {
	return func(l *audit.Leaf) { l.SubjectH, l.TokenH, l.Ref = hash(patient), hash(patient), ref }
}

// asking is of the first entry of a request for one patient: it names the token, and whose
// it is the decision's entry says.
func asking(patient byte) func(*audit.Leaf) {
	return func(l *audit.Leaf) { l.TokenH = hash(patient) }
}

func with(all ...func(*audit.Leaf)) func(*audit.Leaf) {
	return func(l *audit.Leaf) {
		for _, change := range all {
			change(l)
		}
	}
}

func decision(d audit.Decision, rule string) func(*audit.Leaf) {
	return func(l *audit.Leaf) { l.Decision, l.Rule = d, rule }
}

func outcome(o string) func(*audit.Leaf) { return func(l *audit.Leaf) { l.Outcome = o } }

func rule(r string) func(*audit.Leaf) { return func(l *audit.Leaf) { l.Rule = r } }

func emergency(l *audit.Leaf) { l.Purpose = "ETREAT" }

// honest is a log in which everything follows from what was before: an approved request,
// shown again; one refused, one rejected and one taken back; two emergencies, of which one
// was reviewed, and one that was given back and opened later; a worklist of two practices' patients, of which one was denied at first.
func honest() *log {
	l := &log{}
	asked := l.add(audit.KindReidRequest, clinician, 'a', asking('1'))
	l.add(audit.KindReidDecision, clinician, 'a', with(about('1', nil), decision(audit.Pending, "needs_approval/night")))
	l.add(audit.KindAlarm, clinician, 'a', with(rule(audit.RuleLimit+"/night"), outcome("approval")))
	l.add(audit.KindApproval, guardian, 'a', with(decision(audit.Approve, ""), func(l *audit.Leaf) { l.Ref = asked }))
	l.add(audit.KindReidDecision, guardian, 'a', with(about('1', nil), decision(audit.Allow, "approved/night")))
	intent := l.add(audit.KindReidIntent, clinician, 'a', about('1', asked))
	l.add(audit.KindReidOutcome, clinician, 'a', with(about('1', intent), outcome("released")))
	l.add(audit.KindRedeliver, clinician, 'a', about('1', intent))

	l.add(audit.KindReidRequest, clinician, 'b', asking('1'))
	l.add(audit.KindReidDecision, clinician, 'b', with(about('1', nil), decision(audit.Deny, "role_purpose")))

	l.add(audit.KindReidRequest, clinician, 'c', asking('2'))
	l.add(audit.KindReidDecision, clinician, 'c', with(about('2', nil), decision(audit.Pending, "needs_approval")))
	l.add(audit.KindApproval, guardian, 'c', decision(audit.Deny, ""))
	l.add(audit.KindReidDecision, guardian, 'c', with(about('2', nil), decision(audit.Deny, "rejected")))

	asked = l.add(audit.KindReidRequest, clinician, 'd', asking('2'))
	l.add(audit.KindReidDecision, clinician, 'd', with(about('2', nil), decision(audit.Allow, "relationship")))
	l.add(audit.KindReidRequest, clinician, 'd', with(outcome("void"), func(l *audit.Leaf) { l.Ref = asked }))

	for n, request := range []byte{'e', 'f'} {
		asked = l.add(audit.KindReidRequest, clinician, request, with(asking('3'), emergency))
		l.add(audit.KindReidDecision, clinician, request, with(about('3', nil), emergency, decision(audit.Allow, "break_glass")))
		if n == 0 {
			intent = l.add(audit.KindReidIntent, clinician, request, with(about('3', asked), emergency))
			l.add(audit.KindAlarm, clinician, request, with(about('3', asked), emergency, rule(audit.RuleBreakGlass)))
			l.add(audit.KindReidOutcome, clinician, request, with(about('3', intent), emergency, outcome("failed"), rule("witness_unavailable")))
		}
		intent = l.add(audit.KindReidIntent, clinician, request, with(about('3', asked), emergency))
		l.add(audit.KindAlarm, clinician, request, with(about('3', asked), emergency, rule(audit.RuleBreakGlass)))
		l.add(audit.KindReidOutcome, clinician, request, with(about('3', intent), emergency, outcome([]string{"released", "unknown"}[n])))
	}
	l.add(audit.KindBreakGlassReview, guardian, 'e', with(about('3', nil), emergency, outcome("justified")))

	asked = l.add(audit.KindWorklist, clinician, '7', outcome("practice"))
	l.add(audit.KindReidRequest, clinician, '7', with(about('4', asked), rule("item")))
	l.add(audit.KindRelationship, clinician, '7', with(about('5', asked), decision(audit.Deny, "item")))
	l.add(audit.KindReidDecision, clinician, '7', decision(audit.Allow, "routed"))
	l.add(audit.KindReidDecision, practice, '7', with(about('4', asked), decision(audit.Allow, "relationship")))
	intent = l.add(audit.KindReidIntent, practice, '7', about('4', asked))
	l.add(audit.KindReidDecision, practice, '7', with(about('5', asked), decision(audit.Deny, "no_relationship")))
	l.add(audit.KindReidOutcome, practice, '7', with(about('4', intent), outcome("released")))

	l.add(audit.KindWhoAsked, guardian, 0, about('1', nil))
	l.add(audit.KindEvaluate, clinician, 0, nil)
	return l
}

func (l *log) read(order []int, of string, at time.Time) *openings.Report {
	r := &openings.Reading{}
	for _, n := range order {
		r.Visit(uint64(n), (*l)[n])
	}
	return r.Of(of, at)
}

func (l *log) order() (order []int) {
	for n := range *l {
		order = append(order, n)
	}
	return order
}

func (l *log) findings() []openings.Finding { return l.read(l.order(), month, now).Findings }

// TestCounts of a log in which nothing is wrong.
func TestCounts(t *testing.T) {
	l := honest()
	got := l.read(l.order(), month, now)
	want := &openings.Report{Findings: []openings.Finding{}, Organisations: []openings.Organisation{
		{"P81", openings.Counts{Opened: 1, Refused: []openings.Times{{Rule: "no_relationship", Times: 1}}, Limits: []openings.Times{}}},
		{"RX1", openings.Counts{
			Requests: 7, Cancelled: 1, Patients: 5, Opened: 2, Redeliveries: 1,
			Refused:    []openings.Times{{Rule: "rejected", Times: 1}, {Rule: "role_purpose", Times: 1}},
			BreakGlass: openings.BreakGlass{Used: 2, Reviewed: 1, Overdue: 1},
			Limits:     []openings.Times{{Rule: "night", Action: "approval", Times: 1}},
		}},
		{"RX2", openings.Counts{Approvals: 1, Rejections: 1, WhoAsked: 1, Refused: []openings.Times{}, Limits: []openings.Times{}}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	early := l.read(l.order(), month, begins.Add(24*time.Hour)).Organisations[1].BreakGlass
	if early != (openings.BreakGlass{Used: 2, Reviewed: 1, Outstanding: 1}) {
		t.Errorf("a day later: %+v", early)
	}
	if other := l.read(l.order(), "2026-10", now); len(other.Organisations)+len(other.Findings) != 0 {
		t.Errorf("of another month: %+v", other)
	}
}

// TestReviewWithin: a review is overdue when the time is over, and not before.
func TestReviewWithin(t *testing.T) {
	l := &log{}
	asked := l.add(audit.KindReidRequest, clinician, 'e', with(about('3', nil), emergency))
	l.add(audit.KindReidDecision, clinician, 'e', with(about('3', nil), emergency, decision(audit.Allow, "break_glass")))
	l.add(audit.KindReidIntent, clinician, 'e', with(about('3', asked), emergency))
	due := begins.Add(2*time.Second + openings.ReviewWithin)
	for at, overdue := range map[time.Time]int64{due.Add(-time.Millisecond): 0, due: 1} {
		if got := l.read(l.order(), month, at).Organisations[0].BreakGlass; got.Overdue != overdue || got.Outstanding != 1-overdue || got.Used != 1 {
			t.Errorf("at %v: %+v", at, got)
		}
	}
}

// index returns that of an entry of a kind of a request, the nth.
func (l *log) index(kind audit.Kind, request byte, nth int) int {
	for n, leaf := range *l {
		if leaf.Kind == kind && leaf.Request == strings.Repeat(string(request), 64) {
			if nth == 0 {
				return n
			}
			nth--
		}
	}
	panic("there is none")
}

// blank makes an entry one of a kind that is not looked at: the places of the others stay.
func (l *log) blank(n int) { (*l)[n].Kind = audit.KindStart }

// TestFindings: each thing that is wrong is found, at its entry, and nothing else is. The
// control of each is the log without it, in which nothing is found.
func TestFindings(t *testing.T) {
	if found := honest().findings(); len(found) != 0 {
		t.Fatalf("in an honest log: %+v", found)
	}
	tried := map[openings.What]bool{}
	for name, tt := range map[string]struct {
		spoil func(*log) int // the index that is to be named
		what  openings.What
	}{
		"no decision at all": {func(l *log) int {
			l.blank(l.index(audit.KindReidDecision, 'e', 0))
			l.blank(l.index(audit.KindReidIntent, 'e', 0))
			l.blank(l.index(audit.KindReidOutcome, 'e', 0))
			return l.index(audit.KindReidIntent, 'e', 0)
		}, openings.WithoutDecision},
		"only pending": {func(l *log) int {
			l.blank(l.index(audit.KindReidDecision, 'a', 1))
			return l.index(audit.KindReidIntent, 'a', 0)
		}, openings.WithoutDecision},
		"refused": {func(l *log) int {
			return int(*l.add(audit.KindReidIntent, clinician, 'b', about('1', nil)))
		}, openings.WithoutDecision},
		"taken back": {func(l *log) int {
			return int(*l.add(audit.KindReidIntent, clinician, 'd', about('2', nil)))
		}, openings.WithoutDecision},
		"a request that nobody made": {func(l *log) int {
			return int(*l.add(audit.KindReidIntent, clinician, '9', about('1', nil)))
		}, openings.WithoutDecision},
		"allowed afterwards": {func(l *log) int {
			n := int(*l.add(audit.KindReidIntent, clinician, '9', about('1', nil)))
			l.add(audit.KindReidDecision, clinician, '9', decision(audit.Allow, "relationship"))
			return n
		}, openings.WithoutDecision},
		"a patient denied at the opening": {func(l *log) int {
			return int(*l.add(audit.KindReidIntent, practice, '7', about('5', nil)))
		}, openings.WithoutDecision},
		"approved by nobody": {func(l *log) int {
			l.blank(l.index(audit.KindApproval, 'a', 0))
			return l.index(audit.KindReidDecision, 'a', 1)
		}, openings.WithoutApproval},
		"approved by who asked": {func(l *log) int {
			(*l)[l.index(audit.KindApproval, 'a', 0)].Actor = clinician
			return l.index(audit.KindReidDecision, 'a', 1)
		}, openings.WithoutApproval},
		"rejected, and approved all the same": {func(l *log) int {
			(*l)[l.index(audit.KindApproval, 'a', 0)].Decision = audit.Deny
			return l.index(audit.KindReidDecision, 'a', 1)
		}, openings.WithoutApproval},
		"no outcome": {func(l *log) int {
			l.blank(l.index(audit.KindReidOutcome, '7', 0))
			return l.index(audit.KindReidIntent, '7', 0)
		}, openings.WithoutOutcome},
		"no intent": {func(l *log) int {
			l.blank(l.index(audit.KindReidIntent, '7', 0))
			return l.index(audit.KindReidOutcome, '7', 0)
		}, openings.WithoutIntent},
		"an outcome of nothing": {func(l *log) int {
			return int(*l.add(audit.KindReidOutcome, clinician, 'a', with(about('1', nil), outcome("released"))))
		}, openings.WithoutIntent},
		"an outcome of another patient": {func(l *log) int {
			intent := uint64(l.index(audit.KindReidIntent, 'a', 0))
			return int(*l.add(audit.KindReidOutcome, clinician, 'a', with(about('9', &intent), outcome("released"))))
		}, openings.WithoutIntent},
		"shown again without an intent": {func(l *log) int {
			return int(*l.add(audit.KindRedeliver, clinician, 'a', about('1', nil)))
		}, openings.WithoutIntent},
		"two outcomes": {func(l *log) int {
			intent := uint64(l.index(audit.KindReidIntent, 'a', 0))
			return int(*l.add(audit.KindReidOutcome, clinician, 'a', with(about('1', &intent), outcome("released"))))
		}, openings.OutcomeTwice},
		"opened twice": {func(l *log) int {
			intent := l.add(audit.KindReidIntent, clinician, 'a', about('1', nil))
			l.add(audit.KindReidOutcome, clinician, 'a', with(about('1', intent), outcome("released")))
			return int(*intent)
		}, openings.OpenedTwice},
		"shown again, and never opened": {func(l *log) int {
			intent := uint64(l.index(audit.KindReidIntent, 'e', 0)) // was given back
			return int(*l.add(audit.KindRedeliver, clinician, 'e', about('3', &intent)))
		}, openings.WithoutRelease},
	} {
		l := honest()
		want := openings.Finding{Index: uint64(tt.spoil(l)), What: tt.what}
		tried[tt.what] = true
		found := slices.DeleteFunc(l.findings(), func(f openings.Finding) bool {
			return f.What == openings.WithoutOutcome && tt.what != openings.WithoutOutcome // what was added has none
		})
		if len(found) == 0 || found[0] != want || len(found) > 1 && name != "no decision at all" {
			t.Errorf("%s: %+v, want %+v", name, found, want)
		}
	}
	for _, what := range openings.Findings() {
		if !tried[what] || what.Text() == "" {
			t.Errorf("%s is not tried, or has no text", what)
		}
	}
}

// TestUnderWay: an opening that has just begun lacks no outcome.
func TestUnderWay(t *testing.T) {
	l := honest()
	n := l.index(audit.KindReidIntent, '7', 0)
	l.blank(l.index(audit.KindReidOutcome, '7', 0))
	at := begins.Add(time.Duration(n) * time.Second)
	if found := l.read(l.order(), month, at.Add(openings.OutcomeWithin)).Findings; len(found) != 0 {
		t.Errorf("while it may be under way: %+v", found)
	}
	if found := l.read(l.order(), month, at.Add(openings.OutcomeWithin+time.Millisecond)).Findings; len(found) != 1 {
		t.Errorf("afterwards: %+v", found)
	}
}

// TestMonthsAreJoined: a decision of the month before allows an opening of this one.
func TestMonthsAreJoined(t *testing.T) {
	l := &log{}
	asked := l.add(audit.KindReidRequest, clinician, 'a', asking('1'))
	l.add(audit.KindReidDecision, clinician, 'a', with(about('1', nil), decision(audit.Allow, "relationship")))
	intent := l.add(audit.KindReidIntent, clinician, 'a', about('1', asked))
	l.add(audit.KindReidOutcome, clinician, 'a', with(about('1', intent), outcome("released")))
	for n := range 2 {
		(*l)[n].Time = "2026-10-31T23:59:5" + strconv.Itoa(n) + ".000Z"
	}
	r := l.read(l.order(), month, now)
	if len(r.Findings) != 0 || r.Organisations[0].Opened != 1 || r.Organisations[0].Requests != 0 {
		t.Errorf("%+v", r)
	}
	(*l)[1].Decision = audit.Pending
	if len(l.findings()) != 1 {
		t.Error("the decision is not looked at")
	}
}

// TestOrderOfReading: bundles are read in any order, and the report is the same.
func TestOrderOfReading(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := honest()
		for range rapid.IntRange(0, 5).Draw(t, "spoilt") {
			l.blank(rapid.IntRange(0, len(*l)-1).Draw(t, "at"))
		}
		want, order := l.read(l.order(), month, now), l.order()
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		if got := l.read(order, month, now); !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	})
}

// TestWhatIsGivenBackIsOpenedLater: an opening that the witness has not signed, or that the
// log did not take, was none: the next one is no second.
func TestWhatIsGivenBackIsOpenedLater(t *testing.T) {
	for name, want := range map[string]int{"witness_unavailable": 0, "log_unavailable": 0, "": 1} {
		l := &log{}
		asked := l.add(audit.KindReidRequest, clinician, 'a', asking('1'))
		l.add(audit.KindReidDecision, clinician, 'a', with(about('1', nil), decision(audit.Allow, "relationship")))
		intent := l.add(audit.KindReidIntent, clinician, 'a', about('1', asked))
		l.add(audit.KindReidOutcome, clinician, 'a', with(about('1', intent), outcome("failed"), rule(name)))
		intent = l.add(audit.KindReidIntent, clinician, 'a', about('1', asked))
		l.add(audit.KindReidOutcome, clinician, 'a', with(about('1', intent), outcome("released")))
		if found := l.findings(); len(found) != want {
			t.Errorf("rule %q: %v", name, found)
		}
	}
}

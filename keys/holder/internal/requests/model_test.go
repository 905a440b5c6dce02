package requests_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tarn/keys/api"
	"tarn/keys/holder/internal/requests"
	"tarn/keys/reidentify"
)

// sequences is how many random sequences the property is tried with, and steps how long one
// is at most.
const (
	batches  = 30 // of 100 sequences each
	steps    = 18
	minSteps = 6
)

// planted is in every text that somebody writes: no entry of the log may hold it.
const planted = "quokka"

// TestNothingOpensWithoutADecision: in thousands of random sequences of what people,
// operators, the region, the witness, the clock and ends of the process do, an identity is
// released only where the log says before by what it was allowed: see check_test.go, which
// knows nothing of the rules but what people_test.go says of each policy.
//
// That it can fail was tried by hand, with one change of the code each time; the list is at
// the end of check_test.go.
func TestNothingOpensWithoutADecision(t *testing.T) {
	var mu sync.Mutex
	var failed atomic.Bool
	seen := map[string]int{}
	t.Run("sequences", func(t *testing.T) {
		for batch := range batches {
			t.Run(fmt.Sprint(batch), func(t *testing.T) {
				t.Parallel()
				if failed.Load() {
					t.Skip("one failure is enough")
				}
				t.Cleanup(func() {
					if t.Failed() {
						failed.Store(true)
					}
				})
				rapid.Check(t, func(t *rapid.T) {
					m := newModel(t)
					for range rapid.IntRange(minSteps, steps).Draw(t, "steps") {
						m.step()
					}
					mu.Lock()
					defer mu.Unlock()
					for name, n := range m.seen {
						seen[name] += n
					}
				})
			})
		}
	})
	// The property says nothing of what never happens.
	t.Log(seen)
	for _, name := range []string{
		"released by relationship", "released by approved", "released by break_glass", "released by routed", "shown again", "unwitnessed", "refused by the region",
		"ended at asked", "ended at consumed", "ended at witnessed", "ended at opened", "ended at written", "lost", "unknown", "given back", "reviewed", "cancelled", "rejected", "wrong hash",
	} {
		if seen[name] == 0 && !t.Failed() {
			t.Errorf("it never happened: %s", name)
		}
	}
}

// asked is a request as whoever asked knows it.
type asked struct {
	id, hash, project string
	purpose           reidentify.Purpose
	by                somebody
	tokens            []*token
	route             reidentify.Route
	recipients        map[string]string // by token, where it is routed
	nameless          map[string]bool   // tokens of which the region could not say whose they are
	made, expires     time.Time
	policy            *rights
	approved          map[string]bool // accounts that have approved this very hash
}

type model struct {
	*rapid.T
	*site
	now      time.Time
	policy   *rights
	all      []*asked
	nested   bool
	focus    *asked // what one returns; nil: any
	opening  *asked // what is being opened
	ids      int
	seen     map[string]int
	checking checking
}

func newModel(t *rapid.T) *model {
	m := &model{T: t, now: began.Add(time.Hour), seen: map[string]int{}, checking: newChecking()}
	m.site = newSite(t, func() time.Time { return m.now })
	m.checking.read = len(m.store.events)
	m.reached = m.meanwhile
	m.setPolicyTo(policies[0])
	for i, number := range numbers {
		m.region.patient[number] = []string{"Y11111", "Y22222"}[i%2]
	}
	return m
}

// some draws one of several, of which earlier ones are tried first when a failure is made
// smaller.
func some[V any](m *model, name string, of ...V) V { return rapid.SampledFrom(of).Draw(m.T, name) }

func (m *model) somebody(names ...string) somebody {
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(accounts))
	}
	name := some(m, "who", names...)
	return signedIn(name, some(m, "session", 1, 1, 1, 1, 2), m.now.Add(-some(m, "signed in", time.Second, time.Second, time.Second, time.Hour)))
}

func (m *model) step() {
	m.nested = false
	some(m, "step",
		m.ask, m.ask, m.ask, m.worklist, m.rush, m.approve, m.open, m.open, m.pursue, m.pursue, m.pursue, m.pursue, m.pursue, m.cancel, m.review,
		m.forward, m.setPolicyStep, m.regionStep, m.witnessStep, m.end, m.work)()
	m.check()
}

// losing has the process end, now and then, before what it writes is on the disk.
func (m *model) losing() {
	if !m.nested {
		m.store.mu.Lock()
		m.store.lose = some(m, "lost", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2)
		m.store.mu.Unlock()
	}
}

// settle is after every step: the process that cannot write has ended, and begins again.
func (m *model) settle() {
	if m.nested {
		return
	}
	if m.store.dead {
		m.seen["lost"]++
		m.start(m.T)
	}
	m.store.lose = 0
}

func (m *model) ask() {
	by := m.somebody("ann", "ann", "ben", "dual", "dual", "alan", "alan", "lena", "otto", "ann-reception")
	purpose := map[string]reidentify.Purpose{"gp": reidentify.Treatment, "analyst": reidentify.QualityImprovement}[by.Role]
	if purpose == "" || some(m, "other purpose", false, false, false, true) {
		purpose = some(m, "purpose", reidentify.Treatment, reidentify.QualityImprovement, reidentify.CareManagement)
	}
	m.asks(by, purpose, "", false, some(m, "patients", 1, 1, 1, 2))
}

func (m *model) emergency() {
	m.asks(m.somebody("dora", "dora", "dora", "dora", "dora", "dora-weak", "ann"), reidentify.EmergencyTreatment, "", true, 1)
}

// rush is some emergencies, one after another.
func (m *model) rush() {
	if some(m, "unwitnessed", true, true, false) {
		m.witness.away = true
	}
	for range some(m, "emergencies", 1, 2, 5, 6) {
		before := len(m.all)
		if m.emergency(); len(m.all) > before && some(m, "opened at once", true, true, false) {
			m.focus = m.all[len(m.all)-1]
			m.open()
			m.check()
			some(m, "afterwards", m.nothing, m.nothing, m.review)()
			m.focus = nil
		}
	}
}

func (m *model) nothing() {}

// pursue does with one request what people do with it, and does it often.
func (m *model) pursue() {
	m.focus = m.one()
	for range some(m, "times", 2, 3, 4, 6) {
		some(m, "pursued", m.approve, m.approve, m.open, m.open, m.open, m.open, m.second, m.regionStep)()
		m.check()
	}
	m.focus = nil
}

func (m *model) second() { m.now = m.now.Add(time.Second) }

func (m *model) worklist() {
	m.asks(m.somebody("alan", "alan", "alan", "ann"), reidentify.CareManagement, reidentify.ToPractice, false, some(m, "patients", 1, 2, 3))
}

func (m *model) asks(by somebody, purpose reidentify.Purpose, route reidentify.Route, emergency bool, patients int) {
	a := &asked{by: by, purpose: purpose, project: some(m, "project", "care", "care", "care", "hashed", "study"), route: route, policy: m.policy, approved: map[string]bool{}}
	source := a.project
	if source == "study" {
		source = "care" // the domain is the same
	}
	draft := reidentify.Draft{
		Requester: by.Person, Project: a.project, Organisation: by.Organisation, Purpose: purpose, Route: route, BreakGlass: emergency,
		Reason: reidentify.Reason{Code: "care", Text: "The " + planted + " has called about a result."},
	}
	for row := range patients {
		t := some(m, "token", m.of[source]...)
		a.tokens = append(a.tokens, t)
		draft.Items = append(draft.Items, reidentify.Item{Row: row, Token: t.text})
	}
	m.losing()
	m.ids++
	made, err := m.desk.Ask(m.Context(), fmt.Sprint(m.ids), draft)
	m.settle()
	if err != nil {
		return
	}
	a.id, a.hash, a.made, a.expires, a.recipients = made.ID, made.Hash, m.now, made.Expires, map[string]string{}
	a.nameless = map[string]bool{}
	for _, t := range a.tokens {
		a.recipients[t.text] = m.region.patient[t.number]
		a.nameless[t.text] = t.envelope != nil && m.region.patient[t.number] == ""
	}
	lifetime := 72 * time.Hour
	switch {
	case emergency:
		lifetime = time.Hour
	case route != "":
		lifetime = 14 * 24 * time.Hour
	}
	if !a.expires.Equal(a.made.Add(lifetime)) {
		m.Fatalf("it expires after %v", a.expires.Sub(a.made))
	}
	m.all = append(m.all, a)
}

// one returns a request, a recent one rather.
func (m *model) one() *asked {
	if m.focus != nil {
		return m.focus
	}
	if len(m.all) == 0 {
		return &asked{id: "none"}
	}
	return some(m, "request", m.all[max(0, len(m.all)-4):]...)
}

func (m *model) approve() {
	a := m.one()
	by := m.somebody("carol", "cyd", "nora", "dual-approver", "olga", "carol", "cyd", "nora", "dual-approver", "olga", a.by.account(), "otto")
	hash, right := a.hash, some(m, "the right hash", true, true, true, true, true, false)
	if !right {
		hash = fmt.Sprintf("%064x", 7)
		m.seen["wrong hash"]++
	}
	verdict := some(m, "verdict", reidentify.Approve, reidentify.Approve, reidentify.Approve, reidentify.Approve, reidentify.Approve, reidentify.Approve, reidentify.Reject)
	m.losing()
	if right && verdict == reidentify.Approve && a.approved != nil {
		a.approved[by.Issuer+" "+by.Subject] = true
	}
	_, err := m.desk.Decide(m.Context(), &by.Person, a.id, verdict, hash, "The "+planted+" is known to me.")
	m.settle()
	if err == nil && verdict == reidentify.Reject {
		m.seen["rejected"]++
	}
}

func (m *model) cancel() {
	a := m.one()
	by := m.somebody(a.by.account(), a.by.account(), "ben", "carol")
	m.losing()
	_, err := m.desk.Cancel(m.Context(), &by.Person, a.id)
	m.settle()
	if err == nil {
		m.seen["cancelled"]++
	}
}

func (m *model) review() {
	by, a := m.somebody("rita", "rita", "dora", "olga"), m.one()
	m.losing()
	_, err := m.desk.Review(m.Context(), &by.Person, a.id, reidentify.Justified, "The "+planted+" was in danger.")
	m.settle()
	if err == nil {
		m.seen["reviewed"]++
	}
}

// account is the name of an account.
func (s *somebody) account() string {
	for name, a := range accounts {
		if a.Issuer == s.Issuer && a.Subject == s.Subject && a.Organisation == s.Organisation && a.Role == s.Role && a.Assurance == s.Assurance {
			return name
		}
	}
	return "ann"
}

type ended struct{ at requests.Step }

// open has somebody open a request: who asked, who is sent to it, or anybody.
func (m *model) open() {
	a := m.one()
	var by somebody
	switch {
	case some(m, "anybody", false, false, false, false, false, true):
		by = m.somebody()
	case a.route != "":
		by = m.somebody("ann", "ben", "ann", "ben", "alan-gp", "lena", "dual", a.by.account())
	default:
		by = m.somebody(a.by.account())
	}
	if a.by.who == "dora" && some(m, "signed in less strongly", false, false, false, true) {
		by = m.somebody("dora-weak")
	}
	if a.by.who == "ann" && a.route == "" && some(m, "in another role", false, false, true) {
		by = m.somebody("ann-reception", "ann-away")
	}
	m.losing()
	m.opening = a
	opened, err := m.opens(a, &by)
	if err == nil {
		m.check()
		m.released(a, &by, opened)
	}
	m.settle()
}

// both is somebody who opens what is being opened, and the work that is done every minute.
func (m *model) both() {
	before := m.focus
	m.focus = m.opening
	m.open()
	m.focus = before
	m.work()
}

func (m *model) opens(a *asked, by *somebody) (opened *requests.Opened, err error) {
	defer func() {
		if r := recover(); r != nil {
			end, is := r.(ended)
			if !is {
				panic(r)
			}
			m.seen["ended at "+string(end.at)]++
			opened, err = nil, errors.New("the process has ended")
			m.start(m.T)
		}
	}()
	opened, err = m.desk.Open(m.Context(), &by.Person, a.id, m.now)
	var refused *reidentify.Refusal
	if errors.As(err, &refused) && refused.Rule == reidentify.RuleNoRelationship {
		m.seen["refused by the region"]++
	}
	return opened, err
}

// meanwhile is what happens between two steps of an opening, of those that do happen: the
// process ends, or somebody else does something.
func (m *model) meanwhile(step requests.Step) {
	if m.nested {
		return
	}
	switch rapid.IntRange(0, 15).Draw(m.T, "meanwhile") {
	case 1:
		panic(ended{step})
	case 2:
		m.nested = true
		some(m, "done meanwhile", m.cancel, m.open, m.both, m.approve, m.work, m.setPolicyStep, m.regionStep, m.forward, m.witnessStep)()
		m.nested = false
		if m.store.dead {
			panic(ended{step})
		}
	}
}

func (m *model) forward() {
	m.now = m.now.Add(some(m, "time", time.Second, 30*time.Second, 61*time.Second, 4*time.Minute, 6*time.Minute, 2*time.Hour, 73*time.Hour))
}

func (m *model) setPolicyStep() { m.setPolicyTo(some(m, "policy", policies...)) }

func (m *model) setPolicyTo(r *rights) {
	err := operate(m.Context(), m.ring, api.OpPolicySet, api.PolicySet{Document: r.document})
	switch {
	case err == nil:
		m.policy = r
	case !m.store.dead:
		m.Fatal(err)
	}
}

func (m *model) regionStep() {
	if some(m, "the region", true, true, true, false) {
		m.region.patient[some(m, "patient", numbers...)] = some(m, "practice", "Y11111", "Y22222", "Y11111", "")
		return
	}
	m.region.away = !m.region.away
}

func (m *model) witnessStep() { m.witness.away = !m.witness.away }

// end is the process's, between what people do.
func (m *model) end() { m.start(m.T) }

func (m *model) work() {
	if err := m.desk.Work(m.Context()); err != nil && !m.store.dead {
		m.Fatal(err)
	}
}

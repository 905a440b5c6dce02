package reidentify

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// SimulationSchema is the schema member of a simulation.
const SimulationSchema = "tarn.policy-simulation/1"

// Simulation is what limits of a policy would have done to occasions of the past. It names
// people, for the operators who read it, and never a patient.
type Simulation struct {
	Schema    string    `json:"schema"`
	Software  string    `json:"software"` // whoever writes it fills in these two
	Created   string    `json:"created"`
	Policy    string    `json:"policy"`        // the digest of the policy
	From      time.Time `json:"from,omitzero"` // of the first occasion, and of the last
	To        time.Time `json:"to,omitzero"`
	Occasions int       `json:"occasions"`
	// Rules are all limits, and the caps of break-glass.
	Rules []SimulatedRule `json:"rules"`
	// Organisations are those that asked, in the order of their codes.
	Organisations []SimulatedOrganisation `json:"organisations"`
	// Fired are in the order of their times.
	Fired []Simulated `json:"fired"`
}

// SimulatedRule says how often a limit would have fired, by what it would have done.
type SimulatedRule struct {
	Rule     string `json:"rule"`
	Text     string `json:"text"`
	Action   Action `json:"action"` // the policy's; direct care and emergencies are treated more mildly
	Warn     int    `json:"warn"`
	Approval int    `json:"approval"`
	Refuse   int    `json:"refuse"`
}

// SimulatedOrganisation says how often limits would have fired for an organisation.
type SimulatedOrganisation struct {
	Organisation string         `json:"organisation"` // ODS code
	Occasions    int            `json:"occasions"`
	Fired        map[string]int `json:"fired"` // by rule; those that would not have are left out
}

// Simulated is a limit that would have fired.
type Simulated struct {
	Time         time.Time `json:"time"`
	Rule         string    `json:"rule"`
	Action       Action    `json:"action"`
	Organisation string    `json:"organisation"`
	Purpose      Purpose   `json:"purpose"`
	Issuer       string    `json:"iss"`
	Subject      string    `json:"sub"`
}

// Replay decides the limits of occasions of the past anew, in the order of their times, as
// if the policy had been enforced. All of them count afterwards, also what it would have
// refused: they have happened. What was asked before the first of them is not known to it,
// so that the first 30 days show too little.
func Replay(p *Policy, occasions []Occasion) *Simulation {
	s := &Simulation{Schema: SimulationSchema, Policy: p.Digest(), Occasions: len(occasions), Organisations: []SimulatedOrganisation{}, Fired: []Simulated{}}
	for _, l := range p.Limits.all() {
		s.Rules = append(s.Rules, SimulatedRule{Rule: l.rule, Text: LimitText(l.rule), Action: l.action})
	}
	for _, rule := range []string{CapUser, CapOrganisation} {
		s.Rules = append(s.Rules, SimulatedRule{Rule: rule, Text: LimitText(rule), Action: ActionRefuse})
	}
	sorted := slices.Clone(occasions)
	slices.SortStableFunc(sorted, func(a, b Occasion) int { return a.At.Compare(b.At) })
	if len(sorted) > 0 {
		s.From, s.To = sorted[0].At.UTC(), sorted[len(sorted)-1].At.UTC()
	}
	h := NewHistory()
	by := map[string]*SimulatedOrganisation{}
	for i := range sorted {
		o := &sorted[i]
		if by[o.Organisation] == nil {
			by[o.Organisation] = &SimulatedOrganisation{Organisation: o.Organisation, Fired: map[string]int{}}
		}
		by[o.Organisation].Occasions++
		for _, f := range p.wouldFire(h, o) {
			by[o.Organisation].Fired[f.Rule]++
			s.fired(o, f)
		}
		h.Add(*o)
	}
	for _, code := range slices.Sorted(maps.Keys(by)) {
		s.Organisations = append(s.Organisations, *by[code])
	}
	return s
}

// wouldFire returns the limits, and for an emergency the cap, that an occasion is beyond.
func (p *Policy) wouldFire(h *History, o *Occasion) []Fired {
	fired := p.Fire(h, o)
	if !o.emergency() {
		return fired
	}
	if rule, beyond := p.BreakGlassCap(h, o); beyond {
		fired = append(fired, Fired{Rule: rule, Action: ActionRefuse})
	}
	return fired
}

func (s *Simulation) fired(o *Occasion, f Fired) {
	s.Fired = append(s.Fired, Simulated{Time: o.At.UTC(), Rule: f.Rule, Action: f.Action, Organisation: o.Organisation, Purpose: o.Purpose, Issuer: o.Person.Issuer, Subject: o.Person.Subject})
	rule := &s.Rules[slices.IndexFunc(s.Rules, func(r SimulatedRule) bool { return r.Rule == f.Rule })]
	switch f.Action {
	case ActionWarn:
		rule.Warn++
	case ActionApproval:
		rule.Approval++
	case ActionRefuse:
		rule.Refuse++
	}
}

// WriteText writes a simulation for people: what fired by rule, by organisation, and one by
// one, in London's time.
func (s *Simulation) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var failed error
	line := func(format string, values ...any) {
		_, err := fmt.Fprintf(t, format+"\n", values...)
		failed = cmp.Or(failed, err)
	}
	line("%d occasions, of which limits would have fired %d times", s.Occasions, len(s.Fired))
	if s.Occasions > 0 {
		line("from %s to %s", s.From.In(london).Format(textTime), s.To.In(london).Format(textTime))
	}
	line("")
	line("limit\tset to\twarned\tto approval\trefused")
	for _, r := range s.Rules {
		line("%s\t%s\t%d\t%d\t%d", r.Rule, r.Action, r.Warn, r.Approval, r.Refuse)
	}
	failed = errors.Join(failed, t.Flush())
	line("")
	line("organisation\toccasions\tlimit\tfired")
	for _, o := range s.Organisations {
		if len(o.Fired) == 0 {
			line("%s\t%d\t-\t0", o.Organisation, o.Occasions)
		}
		for _, rule := range slices.Sorted(maps.Keys(o.Fired)) {
			line("%s\t%d\t%s\t%d", o.Organisation, o.Occasions, rule, o.Fired[rule])
		}
	}
	failed = errors.Join(failed, t.Flush())
	line("")
	line("time\tlimit\twould\torganisation\tpurpose\tperson")
	for _, f := range s.Fired {
		line("%s\t%s\t%s\t%s\t%s\t%s", f.Time.In(london).Format(textTime), f.Rule, f.Action, f.Organisation, f.Purpose, f.Subject)
	}
	return errors.Join(failed, t.Flush())
}

// textTime is how people read a time.
const textTime = "2006-01-02 15:04"

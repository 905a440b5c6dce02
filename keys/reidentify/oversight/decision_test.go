package oversight

import (
	"slices"

	"tarn/keys/reidentify"
)

// decision asks the rules that decide how much they have counted: it looks from which most
// on they are silent. It knows nothing of what they count, or when.
type decision struct {
	policy  *reidentify.Policy
	history *reidentify.History
}

// historyOf is the key holder's history of requests, as it makes it when it starts.
func historyOf(requests []*reidentify.Request) *reidentify.History {
	counted := slices.DeleteFunc(slices.Clone(requests), func(r *reidentify.Request) bool { return !r.Counted })
	slices.SortFunc(counted, func(a, b *reidentify.Request) int {
		if a.After(b) {
			return 1
		}
		return -1
	})
	h := reidentify.NewHistory()
	for _, r := range counted {
		h.Add(r.Occasion())
	}
	return h
}

// fires reports whether a limit of the policy fires.
func (d *decision) fires(p *reidentify.Policy, o *reidentify.Occasion, rule string) bool {
	return slices.ContainsFunc(p.Fire(d.history, o), func(f reidentify.Fired) bool { return f.Rule == rule })
}

// most returns the least most at which no limit fires for an occasion, by rule; -1 where it
// would not at any.
func (d *decision) most(o *reidentify.Occasion) map[string]int {
	least := map[string]int{}
	for m := -1; m < 200; m++ {
		l := reidentify.Limit{Most: m, Action: reidentify.ActionWarn}
		p := &reidentify.Policy{
			Organisations: slices.Clone(d.policy.Organisations), BreakGlass: reidentify.BreakGlassRules{User: m, Organisation: m},
			Limits: reidentify.Limits{Night: l, NonWorking: l, Requests: l, PatientsDay: l, PatientsWeek: l, PatientsMonth: l, Organisation: l, SamePatient: l},
		}
		if m < 0 {
			p.BreakGlass = reidentify.BreakGlassRules{}
		}
		fired := p.Fire(d.history, o)
		for _, rule := range reidentify.LimitRules() {
			_, known := least[rule]
			if !known && !slices.ContainsFunc(fired, func(f reidentify.Fired) bool { return f.Rule == rule }) {
				least[rule] = m
			}
		}
	}
	return least
}

// used returns how much of a cap is used.
func (d *decision) used(o *reidentify.Occasion, cap string) (n int) {
	for {
		p := &reidentify.Policy{BreakGlass: reidentify.BreakGlassRules{User: n, Organisation: 1 << 30}}
		if cap == reidentify.CapOrganisation {
			p.BreakGlass = reidentify.BreakGlassRules{User: 1 << 30, Organisation: n}
		}
		if _, beyond := p.BreakGlassCap(d.history, o); !beyond {
			return n - 1
		}
		n++
	}
}

package reidentify

import (
	"cmp"
	"slices"
)

// Abilities are what a person may do as things are, for what they are shown first: every
// rule is looked at again when they do it.
type Abilities struct {
	Asks     []AsksOf `json:"asks"`     // whom they may ask for
	Approves []string `json:"approves"` // projects whose requests they decide on
	Reviews  []string `json:"reviews"`  // projects whose break-glass they review
	Receives []string `json:"receives"` // projects of which their organisation may get worklists
	Guardian bool     `json:"guardian"`
	Operator bool     `json:"operator"`
}

// AsksOf is what a person may ask of a project's tokens.
type AsksOf struct {
	Project  string          `json:"project"`
	Purposes []AsksFor       `json:"purposes"`       // without those of worklists
	Routes   []AsksFor       `json:"routes"`         // worklists
	Glass    bool            `json:"break_glass"`    // they may use break-glass
	Needs    BreakGlassNeeds `json:"needs,omitzero"` // of the sign-in, for break-glass
}

// AsksFor is a purpose, what is needed beside the role, and how many patients at once.
type AsksFor struct {
	Purpose  Purpose `json:"purpose"`
	When     When    `json:"when"`
	MaxItems int     `json:"max_items"`
}

// BreakGlassNeeds is what a sign-in must be for break-glass.
type BreakGlassNeeds struct {
	Assurances []string `json:"assurances,omitzero"`
	Within     string   `json:"within,omitzero"` // a duration, such as 5m0s
	Review     string   `json:"review,omitzero"` // within which it is reviewed
}

// May returns what a person may do. projects are those that the key holder has.
func (p *Policy) May(by *Person, projects []Project) Abilities {
	a := Abilities{Asks: []AsksOf{}, Approves: []string{}, Reviews: []string{}, Receives: []string{}, Guardian: p.IsGuardian(by), Operator: p.IsOperator(by)}
	for i := range p.Projects {
		project := &p.Projects[i]
		at := slices.IndexFunc(projects, func(one Project) bool { return one.Name == project.Name })
		if at < 0 || by.Issuer != project.Issuer {
			continue
		}
		in := func(g Group) bool { return g.Has(by) }
		if !a.Operator && slices.ContainsFunc(project.Approvers, in) {
			a.Approves = append(a.Approves, project.Name)
		}
		if !a.Operator && slices.ContainsFunc(project.Reviewers, in) {
			a.Reviews = append(a.Reviews, project.Name)
		}
		if p.IsLinker(by) || !projects[at].Direct {
			continue
		}
		if project.caresAs(by, CareManagement) {
			a.Receives = append(a.Receives, project.Name)
		}
		asks := project.asks(by, &projects[at])
		if asks.Glass = slices.ContainsFunc(project.BreakGlass, in); asks.Glass {
			asks.Needs = BreakGlassNeeds{p.BreakGlass.Assurances, p.BreakGlass.signInWithin().String(), p.BreakGlass.reviewWithin().String()}
		}
		if asks.Glass || len(asks.Purposes)+len(asks.Routes) > 0 {
			a.Asks = append(a.Asks, asks)
		}
	}
	return a
}

// asks is what a person may ask of a project, each purpose once: by the rule that asks
// least of them, as [ProjectPolicy.allow] has it.
func (p *ProjectPolicy) asks(by *Person, project *Project) AsksOf {
	of := AsksOf{Project: p.Name, Purposes: []AsksFor{}, Routes: []AsksFor{}}
	for i := range p.Allow {
		a := &p.Allow[i]
		if !a.Has(by) {
			continue
		}
		for _, purpose := range a.Purposes {
			if len(project.Purposes) > 0 && !slices.Contains(project.Purposes, purpose) {
				continue
			}
			to := &of.Purposes
			if a.When == WhenRouted {
				to = &of.Routes
			}
			*to = addAsks(*to, AsksFor{purpose, a.When, a.MaxItems})
		}
	}
	for _, all := range [][]AsksFor{of.Purposes, of.Routes} {
		slices.SortFunc(all, func(a, b AsksFor) int {
			return cmp.Compare(slices.Index(Purposes(), a.Purpose), slices.Index(Purposes(), b.Purpose))
		})
	}
	return of
}

// addAsks adds one, or joins it to that of its purpose.
func addAsks(all []AsksFor, one AsksFor) []AsksFor {
	for i := range all {
		if had := &all[i]; had.Purpose == one.Purpose {
			if one.When == WhenRelationship {
				had.When = one.When
			}
			had.MaxItems = max(had.MaxItems, one.MaxItems)
			return all
		}
	}
	return append(all, one)
}

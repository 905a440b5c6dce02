package model

import (
	"slices"

	"tarn/keys/fault"
	"tarn/linkage/compare"
)

// Apply uses the document's m- and u-probabilities for new counts: only the
// shares of the classes are fitted. Counts.Within is not needed. It is an error
// if the scheme compares other fields, or compares them otherwise.
func (d *Document) Apply(scheme *compare.Scheme, counts Counts) (*Model, error) {
	m, err := d.model(scheme)
	if err != nil {
		return nil, err
	}
	m.Strata = make([]Shares, len(counts.Cross))
	cross := patternsOf(scheme, counts.Cross)
	best, err := m.bestOf(m.startsOf(m.cross(cross, false, false)), "class shares")
	if err != nil {
		return nil, err
	}
	m.take(best)
	if len(cross) > 0 {
		if err := m.measureUncertainty(); err != nil {
			return nil, err
		}
	}
	m.prepare()
	return m, nil
}

// model returns the document's probabilities for a scheme of the same fields.
func (d *Document) model(scheme *compare.Scheme) (*Model, error) {
	const doing, next = "using a fitted model", "use the model of a result of the same encoding profile, or leave --model out to fit one"
	n := len(scheme.Fields)
	if len(d.Fields) != n {
		return nil, fault.New(fault.Disagreement, doing, "it has other fields than the cohorts", next)
	}
	m := &Model{Scheme: scheme, Priors: DefaultPriors(), Converged: true, Reused: true, Dependence: independent(n)}
	for f, field := range d.Fields {
		want := scheme.Fields[f]
		if field.Name != want.Name || field.Measure != want.Measure || !slices.Equal(field.Levels, want.Levels) || len(field.M) != want.LevelCount() {
			return nil, fault.New(fault.Disagreement, doing, "it does not compare "+want.Name+" as the cohorts are compared", next)
		}
		m.M, m.U = append(m.M, slices.Clone(field.M)), append(m.U, slices.Clone(field.U))
		if field.Given != "" {
			m.Dependence.Parent[f] = slices.IndexFunc(d.Fields, func(p DocumentField) bool { return p.Name == field.Given })
			m.Dependence.Given[f] = field.UGiven
		}
	}
	if o := d.Others; o != nil {
		m.Others = Shares{Strangers: o.Strangers, Households: o.Households, Twins: o.Twins}
	} else if len(d.Strata) > 0 {
		s := d.Strata[0]
		rest := s.Strangers + s.Households + s.Twins
		m.Others = Shares{Strangers: s.Strangers / rest, Households: s.Households / rest, Twins: s.Twins / rest}
	}
	if d.Fit != nil {
		m.Priors = Priors(d.Fit.Priors)
	}
	return m, nil
}

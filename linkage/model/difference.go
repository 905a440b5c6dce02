package model

import (
	"fmt"
	"math"
	"slices"

	"tarn/keys/fault"
)

// DifferenceSchema is the schema member of a comparison of two models.
const DifferenceSchema = "tarn.link-model-comparison/1"

// Difference is what two models say differently of agreement.
type Difference struct {
	Schema  string            `json:"schema"`
	Largest *LevelDifference  `json:"largest"` // of the weights, where both have seen the level; nil: there is none
	Levels  []LevelDifference `json:"levels"`
}

// LevelDifference compares one agreement level of one field. Weights are
// log2(m/u).
type LevelDifference struct {
	Field   string  `json:"field"`
	Level   int     `json:"level"`
	MA      float64 `json:"m_a"`
	MB      float64 `json:"m_b"`
	UA      float64 `json:"u_a"`
	UB      float64 `json:"u_b"`
	WeightA float64 `json:"weight_a"`
	WeightB float64 `json:"weight_b"`
	Weight  float64 `json:"weight_difference"` // of b less that of a
}

// rare is the m-probability below which a level hardly ever decides anything,
// and a difference of weights is mostly chance.
const rare = .005

// Compare compares two models of the same fields and levels.
func Compare(a, b *Document) (*Difference, error) {
	digestA, err := a.schemeDigest()
	if err != nil {
		return nil, err
	}
	digestB, err := b.schemeDigest()
	if err != nil {
		return nil, err
	}
	if digestA != digestB {
		return nil, fault.New(fault.Disagreement, "comparing two models", "they have other fields, measures or levels, so there is nothing to compare", "compare models of the same encoding profile")
	}
	d := &Difference{Schema: DifferenceSchema, Levels: []LevelDifference{}}
	for f, x := range a.Fields {
		y := b.Fields[f]
		for l := range x.M {
			e := LevelDifference{Field: x.Name, Level: l, MA: x.M[l], MB: y.M[l], UA: x.U[l], UB: y.U[l],
				WeightA: math.Log2(x.M[l] / x.U[l]), WeightB: math.Log2(y.M[l] / y.U[l])}
			e.Weight = e.WeightB - e.WeightA
			d.Levels = append(d.Levels, e)
			if min(e.MA, e.MB) >= rare && (d.Largest == nil || math.Abs(e.Weight) > math.Abs(d.Largest.Weight)) {
				d.Largest = &d.Levels[len(d.Levels)-1]
			}
		}
	}
	if d.Largest != nil {
		largest := *d.Largest
		d.Largest = &largest
	}
	return d, nil
}

// levelName says what a level means.
func (f DocumentField) levelName(level int) string {
	top := len(f.M) - 1
	switch {
	case level == top:
		return "identical"
	case len(f.Levels) == 0:
		return "different"
	case level == 0:
		return fmt.Sprintf("below %.3g", f.Levels[0])
	case level == top-1:
		return fmt.Sprintf("%.3g and more", f.Levels[level-1])
	default:
		return fmt.Sprintf("%.3g to %.3g", f.Levels[level-1], f.Levels[level])
	}
}

// dependents lists the fields whose u depends on another's level.
func (d *Document) dependents() (list []DocumentField) {
	return slices.DeleteFunc(slices.Clone(d.Fields), func(f DocumentField) bool { return f.Given == "" })
}

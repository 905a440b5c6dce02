package cohort

import (
	"fmt"
	"math"
)

// Measures of agreement between two values of a column.
const (
	MeasureEqualBits = "equal_bits" // share of equal bits of two filters, 0 to 1
	MeasureDice      = "dice"       // Dice coefficient of two filters, 0 to 1
	MeasureEqual     = "equal"      // equality of two tags
)

// Roles of a field in the class of twins (and other siblings that share a
// date of birth): pairs of different people who agree like one person on some
// fields and like strangers on others.
const (
	TwinAgrees  = "m" // family name, postcode, date of birth
	TwinDiffers = "u" // given name, sex
)

// Comparison says how a linker compares the columns of a profile. It is part
// of the profile document, outside the digest, and travels in the manifest.
type Comparison struct {
	Fields []FieldComparison `json:"fields"`
}

// FieldComparison is how one field is compared. With L bounds there are L+2
// levels: 0 is below every bound, i is at or above the i-th smallest bound,
// and the highest is identity. For tags there are two levels, different and
// equal.
type FieldComparison struct {
	Name    string    `json:"name"`            // as in gamma_<name>
	Column  string    `json:"column"`          // bf_<name> or tag_<name>
	Measure string    `json:"measure"`         // equal_bits, dice or equal
	Levels  []float64 `json:"levels,omitzero"` // rising lower bounds, each in (0, 1]
	M       []float64 `json:"m"`               // shipped m-probability of each level, level 0 first
	U       []float64 `json:"u"`               // shipped u-probability of each level, level 0 first
	Twin    string    `json:"twin"`            // m or u
	// Confirms marks the fields of which one must reach its lowest agreement level
	// for an equal token to count as confirmed.
	Confirms bool `json:"confirms_token,omitzero"`
}

// LevelCount returns the number of agreement levels, missing not counted.
func (f FieldComparison) LevelCount() int {
	if f.Measure == MeasureEqual {
		return 2
	}
	return len(f.Levels) + 2
}

func (c Comparison) check() error {
	seen := map[string]bool{}
	for i, f := range c.Fields {
		at := fmt.Sprintf("comparison.fields[%d]", i)
		switch {
		case f.Name == "" || f.Column == "":
			return fmt.Errorf("%s has no name or no column", at)
		case seen[f.Name] || f.Name == "nhs_number":
			return fmt.Errorf("%s: its name is taken", at)
		case f.Measure != MeasureEqualBits && f.Measure != MeasureDice && f.Measure != MeasureEqual:
			return fmt.Errorf("%s.measure must be %s, %s or %s", at, MeasureEqualBits, MeasureDice, MeasureEqual)
		case f.Measure == MeasureEqual && len(f.Levels) > 0:
			return fmt.Errorf("%s.levels must be absent for measure %s", at, MeasureEqual)
		case f.Twin != TwinAgrees && f.Twin != TwinDiffers:
			return fmt.Errorf("%s.twin must be %s or %s", at, TwinAgrees, TwinDiffers)
		case f.LevelCount() > 100:
			return fmt.Errorf("%s has more than 100 levels", at)
		}
		seen[f.Name] = true
		for j, bound := range f.Levels {
			if !(bound > 0 && bound <= 1) || j > 0 && bound <= f.Levels[j-1] {
				return fmt.Errorf("%s.levels must rise and lie above 0 and up to 1", at)
			}
		}
		for name, p := range map[string][]float64{"m": f.M, "u": f.U} {
			if err := checkDistribution(p, f.LevelCount()); err != nil {
				return fmt.Errorf("%s.%s %w", at, name, err)
			}
		}
	}
	return nil
}

// Check reports the first mistake in c.
func (c Comparison) Check() error { return c.check() }

func checkDistribution(p []float64, levels int) error {
	if len(p) != levels {
		return fmt.Errorf("has %d values for %d levels", len(p), levels)
	}
	sum := 0.0
	for _, v := range p {
		if !(v > 0 && v < 1) {
			return fmt.Errorf("must hold probabilities above 0 and below 1")
		}
		sum += v
	}
	if math.Abs(sum-1) > 1e-3 {
		return fmt.Errorf("does not sum to 1")
	}
	return nil
}

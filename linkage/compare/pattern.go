// Package compare turns pairs of encoded records into agreement patterns: for
// each field a level, for the pair one number. Everything later (the model,
// the weights) works on patterns, of which there are few, and not on pairs.
package compare

import (
	"fmt"
	"math"

	"tarn/keys/fault"
	"tarn/linkage/cohort"
)

// TokenField is the name of the token's agreement among the fields.
const TokenField = "nhs_number"

// Token agreement levels.
const (
	TokenDifferent = 0 // both valid, not the same
	TokenEqual     = 1
)

// Missing is the level of a field that either record lacks.
const Missing = -1

// Field is one field of a pattern.
type Field struct {
	cohort.FieldComparison
	stride int
	radix  int // levels and missing
}

// Scheme numbers the patterns of a list of fields, the last of which is the
// token. A pattern's code is a mixed-radix number with the digit level+1 for
// each field, so that a missing field has digit 0.
type Scheme struct {
	Fields []Field
	size   int
}

// maxPatterns bounds the number of different patterns, so that counting them
// takes a flat table.
const maxPatterns = 1 << 24

// NewScheme makes the scheme of a profile's comparison with the token field
// added at the end.
func NewScheme(c cohort.Comparison) (*Scheme, error) {
	s := &Scheme{size: 1}
	for _, f := range c.Fields {
		if err := s.add(f); err != nil {
			return nil, err
		}
	}
	return s, s.add(tokenComparison())
}

// tokenComparison holds what is known of NHS numbers before any data are seen:
// one person's records carry two different valid numbers when either is
// wrong, and two strangers share one when a number was put on the wrong
// record. The u-probability is not fitted: too few such pairs exist.
func tokenComparison() cohort.FieldComparison {
	const wrong, shared = 2e-3, 2e-9
	return cohort.FieldComparison{
		Name: TokenField, Measure: cohort.MeasureEqual, Twin: cohort.TwinDiffers,
		M: []float64{wrong, 1 - wrong}, U: []float64{1 - shared, shared},
	}
}

func (s *Scheme) add(f cohort.FieldComparison) error {
	field := Field{FieldComparison: f, stride: s.size, radix: f.LevelCount() + 1}
	if s.size > maxPatterns/field.radix {
		return fault.New(fault.Usage, "planning the comparison",
			fmt.Sprintf("the profile's fields and levels make more than %d patterns", maxPatterns), "use a profile with fewer fields or levels")
	}
	s.size *= field.radix
	s.Fields = append(s.Fields, field)
	return nil
}

// Patterns returns the number of pattern codes: 0 to Patterns()-1.
func (s *Scheme) Patterns() int { return s.size }

// Level returns the level of field f in a pattern, Missing where it is missing.
func (s *Scheme) Level(code uint32, f int) int {
	return int(code)/s.Fields[f].stride%s.Fields[f].radix - 1
}

// Code returns the pattern of these levels.
func (s *Scheme) Code(levels []int) uint32 {
	code := 0
	for f, level := range levels {
		code += (level + 1) * s.Fields[f].stride
	}
	return uint32(code)
}

// WithoutToken returns the pattern with the token's agreement taken out.
func (s *Scheme) WithoutToken(code uint32) uint32 {
	token := s.Fields[len(s.Fields)-1]
	return code % uint32(token.stride)
}

// TokenLevel returns the token's level.
func (s *Scheme) TokenLevel(code uint32) int { return s.Level(code, len(s.Fields)-1) }

// Names returns the names of the fields.
func (s *Scheme) Names() []string {
	names := make([]string, len(s.Fields))
	for i, f := range s.Fields {
		names[i] = f.Name
	}
	return names
}

// Contradicted reports whether the pattern speaks against one person although
// the tokens are equal: every field that is meant to confirm a token is there
// and below its lowest agreement level.
func (s *Scheme) Contradicted(code uint32) bool {
	confirming := 0
	for f, field := range s.Fields {
		if !field.Confirms {
			continue
		}
		if s.Level(code, f) != 0 {
			return false
		}
		confirming++
	}
	return confirming > 0
}

// equalBitLevels returns, for each number of equal bits of two filters, the
// level.
func equalBitLevels(f cohort.FieldComparison, bits int) []uint8 {
	levels := make([]uint8, bits+1)
	for equal := range levels {
		levels[equal] = levelOf(f.Levels, float64(equal)/float64(bits), equal == bits)
	}
	return levels
}

// levelOf returns the number of bounds that similarity reaches, and the
// highest level for identity. A bound is reached within rounding.
func levelOf(bounds []float64, similarity float64, identical bool) uint8 {
	if identical {
		return uint8(len(bounds) + 1)
	}
	level := uint8(0)
	for _, bound := range bounds {
		if similarity < bound-1e-12 {
			break
		}
		level++
	}
	return level
}

// dice returns the Dice coefficient; two empty filters share nothing.
func dice(common, left, right uint32) float64 {
	if left+right == 0 {
		return math.NaN()
	}
	return 2 * float64(common) / float64(left+right)
}

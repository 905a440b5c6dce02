package block

import (
	"math/rand/v2"
	"slices"
	"testing"

	"tarn/linkage/cohort"
)

func lshField(name string) cohort.FieldComparison {
	return cohort.FieldComparison{Name: name, Column: "bf_" + name, Measure: cohort.MeasureEqualBits, Levels: []float64{.8}, M: []float64{.1, .1, .8}, U: []float64{.9, .09, .01}, Twin: cohort.TwinAgrees}
}

// TestLSHRecall: pairs that are drawn as the shipped probabilities say share a
// hash as often as is stated.
func TestLSHRecall(t *testing.T) {
	fields := []cohort.FieldComparison{lshField("given_name"), lshField("family_name"), lshField("postcode")}
	shape := &cohort.Shape{Fields: fields, Words: []int{8, 8, 8}}
	h := NewLSH(shape)
	if h.Hashes() != 3*lshRepeats {
		t.Fatalf("%d hashes", h.Hashes())
	}
	random := rand.New(rand.NewPCG(1, 2))
	const pairs = 20_000
	found := 0
	var a, b cohort.Rows
	a.Present, b.Present = []uint64{7}, []uint64{7}
	for range pairs {
		a.Filters, b.Filters = make([]uint64, 24), make([]uint64, 24)
		for i := range a.Filters {
			a.Filters[i] = random.Uint64()
		}
		copy(b.Filters, a.Filters)
		for f := range fields {
			change := 0.0
			switch x := random.Float64(); {
			case x < .1:
				change = .5
			case x < .2:
				change = .2
			}
			for bit := range 512 {
				if random.Float64() < change {
					b.Filters[8*f+bit/64] ^= 1 << (bit % 64)
				}
			}
		}
		for k := range h.Hashes() {
			x, _ := h.Hash(k, &a, 24, 0)
			y, _ := h.Hash(k, &b, 24, 0)
			if x == y {
				found++
				break
			}
		}
	}
	stated := h.Recall(fields)
	if got := float64(found) / pairs; got < stated-.01 || got > stated+.01 {
		t.Errorf("%.4f of the pairs share a hash, %.4f is stated", got, stated)
	}
}

func TestLSHNeedsItsFields(t *testing.T) {
	h := NewLSH(&cohort.Shape{Fields: []cohort.FieldComparison{lshField("a"), lshField("b")}, Words: []int{8, 8}})
	rows := &cohort.Rows{Present: []uint64{1}, Filters: make([]uint64, 16)}
	if _, ok := h.Hash(0, rows, 16, 0); ok {
		t.Error("a record without one of the two fields has a hash of both")
	}
	// As many fields as there can be patterns for.
	words := slices.Repeat([]int{8}, 14)
	many := NewLSH(&cohort.Shape{Fields: make([]cohort.FieldComparison, len(words)), Words: words})
	two := map[[2]int]bool{}
	for _, table := range many.tables {
		two[table.fields] = true
	}
	if many.Hashes() > mostHashes || len(two) != 14*13/2 {
		t.Errorf("%d hashes of %d pairs of fields", many.Hashes(), len(two))
	}
	if one := NewLSH(&cohort.Shape{Fields: []cohort.FieldComparison{lshField("a")}, Words: []int{8}}); one.Hashes() == 0 {
		t.Error("a single field has no hash")
	}
}

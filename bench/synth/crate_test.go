package synth

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"strings"
	"testing"
)

// TestCRATERates: the first side has no errors but in numbers; the others have
// the published rates in every group alike.
func TestCRATERates(t *testing.T) {
	p := newSample(t)
	c := Config{Errors: ErrorsCRATE}
	people, counts := map[string]int{}, map[string]int{}
	for i := range uint64(sample) {
		x := p.person(i)
		r := p.record(x, 0, c.ratesOf(0))
		if r.mistakes&^(NumberMissing|NumberWrong) != 0 {
			t.Fatalf("person %d has errors %b on the first side", i, r.mistakes)
		}
		group := fmt.Sprint(Factor(ethnicNames[x.ethnic]))
		people[group]++
		if r.mistakes&NumberMissing != 0 {
			counts[group+"number0"]++
		}
		r = p.record(x, 1, c.ratesOf(1))
		for name, m := range map[string]Mistake{"date": DateWrong, "given": GivenWrong, "number": NumberMissing} {
			if r.mistakes&m != 0 {
				counts[group+name]++
			}
		}
		checkRecord(t, p, &x, &r)
	}
	for group, n := range people {
		for name, want := range map[string]float64{"date": nhsRates.DateWrong, "given": nhsRates.GivenWrong, "number": nhsRates.NumberMissing, "number0": nhsRates.NumberMissing} {
			if got := counts[group+name]; !within(got, n, want) {
				t.Errorf("factor %s, %s: %d of %d records, want %.2f%%", group, name, got, n, 100*want)
			}
		}
	}
	if nhsRates.Even || len(people) != 3 {
		t.Error("the other models have even rates, or the sample lacks a group")
	}
}

// TestNoNumbers: the same people, whose numbers alone are gone.
func TestNoNumbers(t *testing.T) {
	c := Config{People: 500, Parties: 2, Seed: 3, Errors: ErrorsNHS, Overlap: .5, Threads: 2}
	_, with := generate(t, c)
	c.NoNumbers = true
	_, without := generate(t, c)
	for _, name := range []string{TruthFile, GroupsFile} {
		if !bytes.Equal(with[name], without[name]) {
			t.Errorf("%s differs", name)
		}
	}
	a, errA := csv.NewReader(bytes.NewReader(with["south.csv"])).ReadAll()
	b, errB := csv.NewReader(bytes.NewReader(without["south.csv"])).ReadAll()
	if errA != nil || errB != nil || len(a) != len(b) {
		t.Fatal(errA, errB)
	}
	numbers := 0
	for i := range a[1:] {
		for k, value := range a[i+1] {
			switch {
			case columns[k] != "nhs_number":
				if b[i+1][k] != value {
					t.Fatalf("row %d, column %s: %q and %q", i, columns[k], value, b[i+1][k])
				}
			case b[i+1][k] != "":
				t.Fatalf("row %d has a number", i)
			case value != "":
				numbers++
			}
		}
	}
	if numbers < 300 {
		t.Errorf("control: %d rows have a number to leave out", numbers)
	}
	if !strings.Contains(string(without[DescriptionFile]), `"numbers": "none"`) || strings.Contains(string(with[DescriptionFile]), `"numbers"`) {
		t.Errorf("description: %s", without[DescriptionFile])
	}
}

package fault_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tarn/keys/fault"
)

func TestNamesThatMayBeValuesAreWithheld(t *testing.T) {
	for _, name := range []string{"unique_id", "listen", "0", "12", "blk_dob2", "ngramComparison", "source_dataset_l"} {
		if fault.Name(name) != name {
			t.Errorf("%q is withheld", name)
		}
	}
	for _, name := range []string{"", "9434765919", "943 476 5919", "n9434765919", "Quetzalina", "QUETZALINA", "SW1A 2AA", "1973-10-22", "19731022", "HOSP-77113", "a\nb", "o'neil", strings.Repeat("a", 41)} {
		if got := fault.Name(name); name != "" && strings.Contains(got, name) {
			t.Errorf("%q is printed", name)
		}
	}
}

func TestUnquoted(t *testing.T) {
	for text, want := range map[string]string{
		"expected value but found \"9434765919\" instead": "expected value but found (withheld) instead",
		"Key 'o'neil' has already been defined.":          "Key (withheld) has already been defined.",
		"9434765919 is out of range for int64":            "(withheld) is out of range for int64",
		"unexpected EOF; expected value":                  "unexpected EOF; expected value",
	} {
		if got := fault.Unquoted(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.StringMatching(`[A-Z]{8,12}`).Draw(t, "value")
		around := rapid.StringMatching(`["'a-z \n]{0,10}`)
		text := "got \"" + around.Draw(t, "before") + value + around.Draw(t, "after") + "\" instead"
		if strings.Contains(fault.Unquoted(text), value) {
			t.Fatalf("%q keeps its value", text)
		}
	})
}

type carrier struct{ number string }

func TestContainedPanicsShowWhereAndNeverWhat(t *testing.T) {
	const planted = "9434765919"
	zero := new(1)
	for name, raise := range map[string]func() error{
		"text":    func() error { panic(planted) },
		"error":   func() error { panic(errors.New(planted)) },
		"struct":  func() error { panic(carrier{planted}) },
		"runtime": func() error { return errors.New(planted[len(planted)+*zero:]) },
	} {
		err := fault.Contained(raise)()
		if fault.KindOf(err) != fault.Internal || strings.Contains(err.Error(), planted) || !strings.Contains(err.Error(), "TestContainedPanicsShowWhereAndNeverWhat") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := fault.Contained(func() error { return nil })(); err != nil {
		t.Errorf("without a panic: %v", err)
	}
	own := errors.New("own")
	if err := fault.Contained(func() error { return own })(); err != own {
		t.Errorf("an error became %v", err)
	}
}

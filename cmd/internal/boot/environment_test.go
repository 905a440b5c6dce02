package boot

import (
	"testing"
	"time"

	"tarn/keys/fault"
)

func lookup(value string, set bool) func(string) (string, bool) {
	return func(name string) (string, bool) {
		if name != "SOURCE_DATE_EPOCH" {
			return "", false
		}
		return value, set
	}
}

func TestClockStandsStillAtSourceDateEpoch(t *testing.T) {
	clock, err := clockFrom(lookup("1700000000", true))
	if err != nil {
		t.Fatal(err)
	}
	want := time.Date(2023, 11, 14, 22, 13, 20, 0, time.UTC)
	for range 2 {
		if got := clock(); got != want {
			t.Errorf("clock says %s, want %s", got, want)
		}
	}
	for _, unset := range []func(string) (string, bool){lookup("", false), lookup("", true)} {
		clock, err := clockFrom(unset)
		if err != nil {
			t.Fatal(err)
		}
		if away := time.Since(clock()).Abs(); away > time.Minute {
			t.Errorf("without the variable the clock is %s away from now", away)
		}
		if zone := clock().Location(); zone != time.UTC {
			t.Errorf("the clock's zone is %s", zone)
		}
	}
	for _, wrong := range []string{"yesterday", "1.5", "-1", "253402300800", "99999999999999999999", " 1"} {
		if _, err := clockFrom(lookup(wrong, true)); fault.KindOf(err) != fault.Usage {
			t.Errorf("%q: %v, want a fault of usage", wrong, err)
		}
	}
}

package faults

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func testOptions(t *testing.T) Options {
	t.Helper()
	return Options{Folder: t.TempDir(), Software: "test", Clock: func() time.Time { return time.Unix(1_800_000_000, 0) }}
}

// TestAllScenariosAreThere: twenty, in order, each with what it does and a control.
func TestAllScenariosAreThere(t *testing.T) {
	names := map[string]bool{}
	all := All()
	if len(all) != 20 {
		t.Fatalf("%d scenarios", len(all))
	}
	for i, s := range all {
		if s.Number != i+1 || names[s.Name] || s.Name == "" || s.Does == "" || s.Control == "" || s.Run == nil || strings.Contains(s.Does+s.Control, "|") {
			t.Errorf("scenario %d is %+v", i+1, s)
		}
		names[s.Name] = true
	}
}

func TestFind(t *testing.T) {
	for _, tt := range []struct {
		names []string
		want  []int
		wrong string
	}{
		{names: []string{"kill"}, want: []int{1}},
		{names: []string{"8", "tamper", "7"}, want: []int{7, 8}},
		{names: []string{"1", "nothing"}, wrong: "there is none of this name"},
		{names: []string{"21"}, wrong: "there is none of this name"},
	} {
		found, err := Find(tt.names)
		if tt.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("%q: %v", tt.names, err)
			}
			continue
		}
		var numbers []int
		for _, s := range found {
			numbers = append(numbers, s.Number)
		}
		if err != nil || !slices.Equal(numbers, tt.want) {
			t.Errorf("%q: %v, %v", tt.names, numbers, err)
		}
	}
	found, err := Find(nil)
	if err != nil || len(found) != len(All()) {
		t.Errorf("of all: %d, %v", len(found), err)
	}
}

// TestJudgement: a scenario passes when all checks hold and every control fails as it
// must, and not if one of either is missing.
func TestJudgement(t *testing.T) {
	check := func(holds bool) func(*Trial) error {
		return func(t *Trial) error { t.check(holds, "a", ""); return nil }
	}
	control := func(fails bool) func(*Trial) error {
		return func(t *Trial) error { t.control(fails, "b", ""); return nil }
	}
	fail := func(*Trial) error { return errors.New("the machine is on fire") }
	for name, tt := range map[string]struct {
		steps []func(*Trial) error
		want  Outcome
		wrong string
	}{
		"all holds":                  {[]func(*Trial) error{check(true), control(true)}, Passed, ""},
		"a check does not":           {[]func(*Trial) error{check(false), control(true)}, Failed, "does not hold: a"},
		"a check does not, later":    {[]func(*Trial) error{check(true), check(false), check(true), control(true)}, Failed, "does not hold: a"},
		"a control does not fail":    {[]func(*Trial) error{check(true), control(false)}, Failed, "control: it does not fail"},
		"no control":                 {[]func(*Trial) error{check(true)}, Failed, "it has shown nothing"},
		"no check":                   {[]func(*Trial) error{control(true)}, Failed, "it has shown nothing"},
		"nothing":                    {nil, Failed, "it has shown nothing"},
		"it does not come to an end": {[]func(*Trial) error{check(true), control(true), fail}, Failed, "on fire"},
		"it cannot be run here":      {[]func(*Trial) error{func(*Trial) error { return &missing{"it needs the moon"} }}, LeftOut, ""},
		"it cannot go on here":       {[]func(*Trial) error{check(true), func(*Trial) error { return &missing{"it needs the moon"} }}, Failed, "it has shown nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t)
			undone := false
			s := Scenario{Number: 1, Name: "one", Run: func(trial *Trial) error {
				trial.later(func() error { undone = true; return nil })
				for _, step := range tt.steps {
					if err := step(trial); err != nil {
						return err
					}
				}
				return nil
			}}
			r, _ := Run(context.Background(), s, o)
			if r.Outcome != tt.want || tt.wrong == "" && len(r.Wrong()) > 0 || tt.wrong != "" && !strings.Contains(strings.Join(r.Wrong(), "\n"), tt.wrong) {
				t.Errorf("%s, %q", r.Outcome, r.Wrong())
			}
			if left, err := os.ReadDir(o.Folder); err != nil || len(left) > 0 || !undone {
				t.Errorf("%v is left, undone %v, %v", left, undone, err)
			}
		})
	}
}

// TestEveryFailureIsTold: what holds round after round is one line, and each failure
// one of its own.
func TestEveryFailureIsTold(t *testing.T) {
	r, err := Run(t.Context(), Scenario{Number: 1, Name: "one", Run: func(t *Trial) error {
		for round := range 5 {
			t.check(round%2 == 0, "even", "round %d", round)
			t.control(true, "there", "round %d", round)
		}
		t.figure("most", 2)
		t.figure("most", 1)
		t.count("sum", 2)
		t.count("sum", 1)
		return nil
	}}, testOptions(t))
	if err != nil || len(r.Wrong()) != 2 || len(r.Checks) != 3 || len(r.Controls) != 1 || r.Controls[0].Detail != "round 4" || r.figures() != "most 2, sum 3" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestTable(t *testing.T) {
	folder := t.TempDir()
	o := testOptions(t)
	o.Full = true
	r, err := Run(t.Context(), Scenario{Number: 1, Name: "kill", Run: func(t *Trial) error {
		t.check(true, "a", "")
		t.control(true, "b", "")
		t.figure("kills", 20)
		t.leaveOut("the other half", "it is dark")
		return nil
	}}, o)
	if err == nil {
		err = r.Write(folder)
	}
	if err != nil {
		t.Fatal(err)
	}
	results, err := ReadResults(folder)
	if err != nil || len(results) != 1 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	table := Table(results)
	for _, want := range []string{"| **passed**, 2027-01-15, full, 0 s: kills 20; left out: the other half: it is dark |", "| not run yet |"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	if lines := strings.Count(table, "\n"); lines != 22 {
		t.Errorf("%d lines", lines)
	}
	document := "before\n" + tableBegins + "old\n" + tableEnds + "after\n"
	if got, err := Insert(document, table); err != nil || got != "before\n"+tableBegins+table+tableEnds+"after\n" {
		t.Errorf("%v: %s", err, got)
	}
	if _, err := Insert("no place", table); err == nil {
		t.Error("a table was put where there is no place")
	}
	if err := os.WriteFile(filepath.Join(folder, "08-rollback.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadResults(folder); err == nil {
		t.Error("what is no result was read")
	}
}

// TestLedgerIsWhatWasKept: all that was kept is read, and a line that was being
// written is not.
func TestLedgerIsWhatWasKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	if all, err := ReadLedger(path); err != nil || all != nil {
		t.Errorf("without a file: %v, %v", all, err)
	}
	want := []Acknowledged{{Kind: ackDomain, Name: "d-1", Operation: "abc"}, {Kind: ackLease, Name: "12", Project: "study", Use: "token", Epoch: 3, Expires: time.Unix(1_800_000_000, 0).UTC()}}
	for i, a := range want { // by one writer after another
		l, err := OpenLedger(path)
		if err == nil {
			err = errors.Join(l.Keep(a), l.Close())
		}
		if err != nil || l.Len() != 1 {
			t.Fatalf("line %d: %v, %d kept", i, err, l.Len())
		}
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(`{"kind":"domain","name":"d-2"}`)
	}
	if err != nil {
		t.Fatal(err)
	}
	if all, err := ReadLedger(path); err != nil || !slices.Equal(all, want) {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := f.WriteString("\n"); err != nil { // the control: the same line, ended
		t.Fatal(err)
	}
	if all, err := ReadLedger(path); err != nil || len(all) != 3 {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := f.WriteString("what is this\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadLedger(path); err == nil {
		t.Error("a line that is none is read")
	}
	_ = f.Close()
}

// TestLedgerLiesElsewhere: not on the filesystem of the system under test, where
// there is another; and where the one that is asked for is the same, that is refused.
func TestLedgerLiesElsewhere(t *testing.T) {
	system := t.TempDir()
	folder, separate, err := elsewhere("", system)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	same, err := deviceOf(system)
	if err != nil {
		t.Fatal(err)
	}
	other, err := deviceOf(folder)
	if err != nil || separate != (same != other) {
		t.Errorf("separate %v, on devices %d and %d, %v", separate, same, other, err)
	}
	if !separate {
		t.Skip("skipped: there is no other filesystem here that can be written")
	}
	if _, _, err := elsewhere(system, system); err == nil {
		t.Error("a ledger lies on the filesystem that it is to outlive")
	}
	if again, separate, err := elsewhere(filepath.Dir(folder), system); err != nil || !separate {
		t.Errorf("control: %v", err)
	} else {
		_ = os.RemoveAll(again)
	}
}

// TestEntriesNeedBoth: a domain is recorded when the log has it and the operation
// that it is of.
func TestEntriesNeedBoth(t *testing.T) {
	a := Acknowledged{Kind: ackDomain, Name: "d", Operation: "hash"}
	for _, tt := range []struct{ added, operations, want int }{{0, 0, 0}, {1, 0, 0}, {0, 1, 0}, {1, 1, 1}, {2, 1, 2}, {1, 2, 2}} {
		have := &inventoried{added: map[string]int{"d": tt.added}, operations: map[string]int{"hash": tt.operations}}
		if got := have.entries(a); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
	}
}

package cmd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tarn/bench/load"
	"tarn/bench/tokeniser"
)

// TestNoClockRefillsABudget is what scenario 9 of the reliability tests cannot do to the
// binaries as they are shipped: a service whose budget is used up refuses after a restart at
// whatever time its machine's clock is put back to, and at any until the period is over. The
// control is the clock that says so.
func TestNoClockRefillsABudget(t *testing.T) {
	folder := t.TempDir()
	bin := t.TempDir()
	build(t, bin)
	people := filepath.Join(folder, "people")
	if code, said := output(t, filepath.Join(bin, "tarn"), "synth", "--people", "10", "--parties", "1", "--overlap", "0", "--seed", "9", "--keys", "--out", people); code != 0 {
		t.Fatalf("tarn synth: exit %d: %s", code, said)
	}
	// The program with a clock that an environment variable puts forward or back.
	binary := plantFor(t, t.TempDir(), "tokeniser",
		patch{"cmd/internal/boot/planted.go", "", "package boot\nimport (\"os\"; \"time\")\nfunc late(wall func() time.Time) func() time.Time {\n" +
			"by, err := time.ParseDuration(os.Getenv(\"TARN_TEST_LATE\"))\nif err != nil { panic(\"no time\") }\nreturn func() time.Time { return wall().Add(by) }\n}\n"},
		patch{"cmd/internal/boot/environment.go", "\t\tWall:       wall,\n", "\t\tWall:       late(wall),\n"})
	const rows, client = 100, "etl"
	s, err := tokeniser.New(tokeniser.Options{Binary: binary, Folder: folder, Clock: func() time.Time { return time.Now().Add(-28 * 24 * time.Hour) }, // certificates last 30 days
		Limits:   "cached_dates = 1\n",
		Projects: []tokeniser.Project{{File: filepath.Join(people, "project.json"), KeyFile: filepath.Join(people, "keys.json"), Clients: []string{client}, BudgetRows: rows, BudgetPeriod: 24 * time.Hour}}})
	must(t, err)
	t.Cleanup(func() { _ = s.Kill() })
	request := 0
	ask := func(most int) (answered int, status int) {
		target, err := s.Target("synth-9", client, "?return=token")
		must(t, err)
		c := load.NewConn(target, uint64(time.Now().UnixNano()))
		defer c.Close()
		for range most {
			request++
			a, err := c.Do(&load.Request{Media: "application/json", Body: fmt.Appendf(nil, `{"rows":[{"unique_id":"r%d","family_name":"Nobody"}]}`, request)}, c.ID(), time.Minute)
			must(t, err)
			if status = a.Status; status != 200 {
				return answered, status
			}
			answered++
		}
		return answered, status
	}
	for i, at := range []struct {
		late     time.Duration
		answered int
	}{
		{0, rows},                 // the budget
		{0, 0},                    // it is used up
		{-26 * time.Hour, 0},      // more than a period back
		{-20 * 24 * time.Hour, 0}, // weeks back
		{time.Hour, 0},
		{23 * time.Hour, 0},
		{-time.Hour, 0},        // and back again
		{26 * time.Hour, rows}, // the control: the period is over
	} {
		must(t, os.Setenv("TARN_TEST_LATE", at.late.String()))
		must(t, s.Configure())
		must(t, s.Start(t.Context()))
		target, err := s.Target("synth-9", client, "")
		must(t, err)
		for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			if _, status, err := load.Get(t.Context(), target, "/readyz?project=synth-9"); err == nil && status == 200 {
				break
			}
			if time.Since(begun) > time.Minute {
				t.Fatalf("start %d, %v late: it is not ready: %s", i, at.late, s.Process.Said())
			}
		}
		answered, status := ask(rows + 1)
		if answered != at.answered || status != 429 {
			t.Errorf("start %d, %v late: %d rows were answered, then %d", i, at.late, answered, status)
		}
		if i%2 == 0 {
			must(t, s.Stop()) // what is kept is exact
		} else {
			must(t, s.Kill())
		}
	}
	must(t, os.Unsetenv("TARN_TEST_LATE"))
}

package splink_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"tarn/bench/quality/splink"
	"tarn/linkage/cohort/table"
)

func TestReadSaid(t *testing.T) {
	said, err := splink.ReadSaid([]byte("chatter\n{\"version\": \"5.0.0\", \"wall_s\": 1.5, \"pairs\": 3}\n"))
	if err != nil || *said != (splink.Said{Version: "5.0.0", WallS: 1.5, Pairs: 3}) {
		t.Errorf("%+v, %v", said, err)
	}
	for _, out := range []string{"", "{}", "nonsense", `{"wall_s": "1"}`} {
		if _, err := splink.ReadSaid([]byte(out)); err == nil {
			t.Errorf("%q is read", out)
		}
	}
}

func TestSettingsAreDescribed(t *testing.T) {
	for _, s := range []string{splink.Documented, splink.Tuned, splink.Rules} {
		if splink.Describe(s) == "" {
			t.Errorf("%s is not described", s)
		}
	}
}

// people writes n people of whom nobody is like another.
func people(t *testing.T, path, prefix string, n int) {
	t.Helper()
	var fields []arrow.Field
	for i, name := range []string{"unique_id", "given_name", "family_name", "postcode", "sex", "date_of_birth"} {
		fields = append(fields, table.String(name, i > 0, false))
	}
	w, err := table.Create(path, arrow.NewSchema(fields, nil), "test")
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		word := string([]rune{'a' + rune(i%26), 'a' + rune(i/26%26), 'b' + rune(i%7), 'a'})
		for k, v := range []string{fmt.Sprint(prefix, i), "g" + word, "f" + word, fmt.Sprintf("ab%d %dcd", i%90, i%10), "1", fmt.Sprintf("%d-%02d-%02d", 1930+i%80, 1+i%12, 1+i%28)} {
			w.Builder().Field(k).(*array.StringBuilder).Append(v)
		}
		if err := w.EndRow(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(); err != nil {
		t.Fatal(err)
	}
}

// TestRules runs the peer without a model on people who are the same on both
// sides, and reads what it writes.
func TestRules(t *testing.T) {
	python := os.Getenv("TARN_PYTHON")
	if !splink.Installed(context.Background(), python) {
		t.Skip("TARN_PYTHON has no Splink (make venv)")
	}
	folder := t.TempDir()
	j := splink.Job{Settings: splink.Rules, Out: filepath.Join(folder, "out.parquet"), OneToOne: true, Threads: 1}
	for _, side := range []string{"l", "r"} {
		path := filepath.Join(folder, side+".parquet")
		people(t, path, side, 500)
		j.Tables = append(j.Tables, path)
	}
	args, err := j.Args()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, args...).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, err.(*exec.ExitError).Stderr)
	}
	said, err := splink.ReadSaid(out)
	if err != nil || said.Pairs != 500 || said.Version == "" {
		t.Fatalf("%+v, %v", said, err)
	}
	pairs := 0
	err = splink.Scan(context.Background(), j.Out, func(l, r string, p float64) error {
		pairs++
		if l[1:] != r[1:] || l[0] != 'l' || r[0] != 'r' || p != 1 {
			t.Errorf("%s and %s at %g", l, r, p)
		}
		return nil
	})
	if err != nil || pairs != 500 {
		t.Errorf("%d pairs, %v", pairs, err)
	}
}

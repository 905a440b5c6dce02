// Package splink runs what clear text is linked with elsewhere, Splink 5 on
// DuckDB and plain rules in DuckDB, as peers of benchmarks: each run is a fresh
// Python process from Parquet to Parquet.
package splink

import (
	"context"
	_ "embed"
	"encoding/json"
	"os/exec"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"tarn/keys/fault"
	"tarn/linkage/cohort/table"
)

//go:embed splink_peer.py
var program string

// Settings that the program has.
const (
	Documented   = "people-documented" // as Splink's documentation shows them for people
	Tuned        = "people-tuned"      // blocking, samples and comparisons for speed
	Rules        = "rules"             // no model: equality of columns, in DuckDB
	FEBRL        = "febrl"             // names, date of birth, postcode
	FEBRLAddress = "febrl-address"     // and suburb and street
	Fake1000     = "fake_1000"         // as in Splink's tutorials
)

// Describe says in words what a setting is.
func Describe(settings string) string {
	return map[string]string{
		Documented: "blocks: date | both names | postcode and two letters of the family name; u from 1e7 pairs; EM on all pairs of date and of both names; NameComparison, DateOfBirthComparison, PostcodeComparison, sex; term frequencies of names",
		Tuned: "blocks: date and initial | both names and birth year | both names, month and day | postcode and given name; u from 1e6 pairs, EM on at most 1e6 pairs; " +
			"Jaro-Winkler .92 .8 of names, Levenshtein 1 2 of the date, PostcodeComparison, sex; term frequencies of names",
		Rules: "equality of: both names, date, postcode | both names, date | given name, date, postcode | both names, postcode | family name, date, postcode, sex; a pair counts by the strictest",
	}[settings]
}

// Job is one run.
type Job struct {
	Settings string   `json:"settings"`
	Tables   []string `json:"tables"` // Parquet of clear text with unique_id: one to deduplicate, two to link
	Out      string   `json:"out"`
	OneToOne bool     `json:"one_to_one"` // mutual best
	Keep     float64  `json:"keep"`       // least match_probability written
	Threads  int      `json:"threads"`
}

// Said is what a run says of itself. WallS is from file to file, without the
// import of Python's modules.
type Said struct {
	Version string  `json:"version"`
	WallS   float64 `json:"wall_s"`
	Pairs   int64   `json:"pairs"`
}

// Args are the arguments of the interpreter.
func (j *Job) Args() ([]string, error) {
	b, err := json.Marshal(j)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "running Splink as the peer", err, "")
	}
	return []string{"-I", "-c", program, string(b)}, nil
}

// ReadSaid reads the last line that a run printed.
func ReadSaid(out []byte) (*Said, error) {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	said := &Said{}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), said); err != nil || said.WallS == 0 {
		return nil, fault.New(fault.Internal, "running Splink as the peer", "it did not print what it took", "")
	}
	return said, nil
}

// Installed reports whether an interpreter has Splink and DuckDB.
func Installed(ctx context.Context, python string) bool {
	return python != "" && exec.CommandContext(ctx, python, "-I", "-c", "import splink, duckdb").Run() == nil
}

// FolderOf returns the folder of a Python package, which is not imported.
func FolderOf(ctx context.Context, python, name string) (string, bool) {
	out, err := exec.CommandContext(ctx, python, "-I", "-c", "import importlib.util, sys; s = importlib.util.find_spec(sys.argv[1]); print(s.submodule_search_locations[0])", name).Output()
	return strings.TrimSpace(string(out)), err == nil
}

// Scan calls f with each pair that a run wrote. The texts are kept by none but
// the call.
func Scan(ctx context.Context, path string, f func(left, right string, probability float64) error) error {
	r, err := table.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // opened for reading
	return r.Scan(ctx, []string{"unique_id_l", "unique_id_r", "match_probability"}, func(b arrow.RecordBatch) error {
		left, err := table.Strings(b.Column(0), "unique_id_l")
		if err != nil {
			return err
		}
		right, err := table.Strings(b.Column(1), "unique_id_r")
		if err != nil {
			return err
		}
		probability, err := table.Doubles(b.Column(2), "match_probability")
		if err != nil {
			return err
		}
		for i := range int(b.NumRows()) {
			l, _ := left(i)
			r, _ := right(i)
			p, _ := probability(i)
			if err := f(l, r, p); err != nil {
				return err
			}
		}
		return nil
	})
}

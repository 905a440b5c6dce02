package faults

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/bench/measure"
	"tarn/keys/fault"
)

// Schema is the schema member of a result.
const Schema = "tarn.fault/1"

// Outcome is what became of a scenario.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "passed"   // all checks hold, and every control fails as it must
	Failed  Outcome = "failed"   // one does not, or it did not come to its end
	LeftOut Outcome = "left out" // it cannot be run on this machine
)

// Finding is one thing that was looked at.
type Finding struct {
	What   string `json:"what"`
	Holds  bool   `json:"holds"` // of a control: it fails as it must
	Detail string `json:"detail"`
}

// LedgerPlace is where the ledger lay.
type LedgerPlace struct {
	// Separate is whether it was another filesystem than the system's; also true where
	// the scenario needs no ledger.
	Separate   bool   `json:"separate"`
	Filesystem string `json:"filesystem"` // "none" where it needs none
}

// Result is the document tarn.fault/1: what came of a scenario.
type Result struct {
	Schema   string             `json:"schema"`
	Software string             `json:"software"`
	Created  string             `json:"created"`
	Number   int                `json:"number"`
	Name     string             `json:"name"`
	Does     string             `json:"does"`
	Control  string             `json:"control"`
	Scale    string             `json:"scale"` // small or full
	Outcome  Outcome            `json:"outcome"`
	Checks   []Finding          `json:"checks"`
	Controls []Finding          `json:"controls"`
	Figures  map[string]float64 `json:"figures"`
	LeftOut  []string           `json:"left_out"` // parts that cannot be run here, and why
	Error    string             `json:"error"`    // why it did not come to its end; empty where it did
	Ledger   LedgerPlace        `json:"ledger"`
	Machine  measure.Machine    `json:"machine"`
	WallS    float64            `json:"wall_s"`
}

func newResult(s *Scenario, o *Options) *Result {
	r := &Result{Schema: Schema, Software: o.Software, Created: o.Clock().UTC().Format(time.RFC3339), Number: s.Number, Name: s.Name, Does: s.Does, Control: s.Control,
		Scale: "small", Checks: []Finding{}, Controls: []Finding{}, Figures: map[string]float64{}, LeftOut: []string{}, Ledger: LedgerPlace{true, "none"}, Machine: measure.ThisMachine()}
	if o.Full {
		r.Scale = "full"
	}
	return r
}

// judge says what came of it. A scenario without a control has shown nothing.
func (r *Result) judge(err error) {
	fails := func(f Finding) bool { return !f.Holds }
	switch {
	case err != nil:
		r.Outcome, r.Error = Failed, err.Error()
	case len(r.Checks)+len(r.Controls) == 0 && len(r.LeftOut) > 0:
		r.Outcome = LeftOut
	case len(r.Checks) == 0 || len(r.Controls) == 0 || slices.ContainsFunc(r.Checks, fails) || slices.ContainsFunc(r.Controls, fails):
		r.Outcome = Failed
	default:
		r.Outcome = Passed
	}
}

// Wrong says what did not hold, a line each.
func (r *Result) Wrong() (lines []string) {
	for _, f := range r.Checks {
		if !f.Holds {
			lines = append(lines, fmt.Sprintf("does not hold: %s: %s", f.What, f.Detail))
		}
	}
	for _, f := range r.Controls {
		if !f.Holds {
			lines = append(lines, fmt.Sprintf("control: it does not fail as it must: %s: %s", f.What, f.Detail))
		}
	}
	if r.Error != "" {
		lines = append(lines, r.Error)
	}
	if r.Outcome == Failed && len(lines) == 0 {
		lines = append(lines, fmt.Sprintf("%d checks and %d controls: it has shown nothing", len(r.Checks), len(r.Controls)))
	}
	return lines
}

// fileName is that of a scenario's result.
func fileName(number int, name string) string { return fmt.Sprintf("%02d-%s.json", number, name) }

// Write writes the result into a folder as NN-NAME.json.
func (r *Result) Write(folder string) error {
	return measure.WriteDocument(filepath.Join(folder, fileName(r.Number, r.Name)), r)
}

// ReadResults returns the results in a folder, by number.
func ReadResults(folder string) (map[int]*Result, error) {
	results := map[int]*Result{}
	for _, s := range All() {
		path := filepath.Join(folder, fileName(s.Number, s.Name))
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fault.Wrap(fault.Usage, "reading "+path, err, "")
		}
		r := new(Result)
		if json.Unmarshal(b, r) != nil || r.Schema != Schema || r.Number != s.Number {
			return nil, fault.New(fault.Usage, "reading "+path, "it is no result of this scenario", "run it again: tarn faults")
		}
		results[s.Number] = r
	}
	return results, nil
}

// figures says the figures in a line, in the order of their names.
func (r *Result) figures() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(r.Figures)) {
		value := r.Figures[name]
		text := fmt.Sprintf("%.3g", value)
		if value == math.Trunc(value) {
			text = fmt.Sprintf("%.0f", value)
		}
		parts = append(parts, name+" "+text)
	}
	return strings.Join(parts, ", ")
}

// WriteTable prints results for a terminal, with what did not hold.
func WriteTable(w io.Writer, results []*Result) error {
	var b strings.Builder
	for _, r := range results {
		fmt.Fprintf(&b, "%3d %-14s %-8s %6.1f s  %d checks, %d controls; %s\n", r.Number, r.Name, r.Outcome, r.WallS, len(r.Checks), len(r.Controls), r.figures())
		for _, line := range r.Wrong() {
			fmt.Fprintf(&b, "    %s\n", strings.ReplaceAll(line, "\n", "\n      "))
		}
		for _, part := range r.LeftOut {
			fmt.Fprintf(&b, "    left out: %s\n", part)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Table is the table of all scenarios with their last results, in Markdown. It is
// the same for the same results.
func Table(results map[int]*Result) string {
	var b strings.Builder
	b.WriteString("| | scenario | control | last result |\n|---|---|---|---|\n")
	for _, s := range All() {
		last := "not run yet"
		if r := results[s.Number]; r != nil {
			last = r.cell()
		}
		fmt.Fprintf(&b, "| %d | **%s.** %s | %s | %s |\n", s.Number, s.Name, s.Does, s.Control, last)
	}
	return b.String()
}

func (r *Result) cell() string {
	day, _, _ := strings.Cut(r.Created, "T")
	text := fmt.Sprintf("**%s**, %s, %s, %.0f s", r.Outcome, day, r.Scale, r.WallS)
	if figures := r.figures(); figures != "" {
		text += ": " + figures
	}
	for _, part := range r.LeftOut {
		text += "; left out: " + part
	}
	return text
}

// The lines of a document between which the table is.
const (
	tableBegins = "<!-- made by tarn faults table; do not edit -->\n"
	tableEnds   = "<!-- end of the table -->\n"
)

// Insert returns a document with the table in its place.
func Insert(document, table string) (string, error) {
	before, rest, ok := strings.Cut(document, tableBegins)
	_, after, ended := strings.Cut(rest, tableEnds)
	if !ok || !ended {
		return "", fault.New(fault.Usage, "putting the table into the document", "the lines are missing between which it is", "put them there: "+strings.TrimSpace(tableBegins)+" and "+strings.TrimSpace(tableEnds))
	}
	return before + tableBegins + table + tableEnds + after, nil
}

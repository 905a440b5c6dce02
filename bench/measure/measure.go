// Package measure runs benchmarks beside a peer or a limit, in the same run on
// the same machine, and writes tarn.bench/1 documents. An absolute time is
// noise; the ratio is the claim.
package measure

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tarn/keys"
	"tarn/keys/fault"
)

// Schema is the schema member of a result.
const Schema = "tarn.bench/1"

// Party is what is measured, or what it is measured against.
type Party struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Dataset is what a case runs on.
type Dataset struct {
	Name string `json:"name"`
	Rows int64  `json:"rows"`
}

// Case is one benchmark. Subject and Peer return one run's value in Unit.
type Case struct {
	Suite, Name    string
	Subject        func(context.Context) (float64, error)
	SubjectVersion string
	Peer           func(context.Context) (float64, error) // nil where there is none
	PeerParty      Party
	Parameters     map[string]any
	Dataset        Dataset
	Unit           string
	HigherIsBetter bool
	// Target is the least ratio to the peer, or, without a peer, the value that
	// must be reached; nil where the figure is stated only.
	Target *float64
	// TargetOf gives the target where it depends on what the peer reached.
	TargetOf func(peerMedian float64) float64
	// Check verifies that what the subject made is right; nil where that is not
	// part of the case.
	Check func(context.Context) (checked int64, equal bool, err error)
	Notes string
}

// Machine is where a case ran.
type Machine struct {
	CPU      string   `json:"cpu"`
	Cores    int      `json:"cores"`
	RAMBytes uint64   `json:"ram_bytes"`
	Flags    []string `json:"flags"`
	Go       string   `json:"go"`
}

// Latency says how long answers took, in milliseconds.
type Latency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// Correctness says what was compared.
type Correctness struct {
	Checked int64 `json:"checked"`
	Equal   bool  `json:"equal"`
}

// Result is the document tarn.bench/1.
type Result struct {
	Schema         string         `json:"schema"`
	Software       string         `json:"software"`
	Created        string         `json:"created"`
	Suite          string         `json:"suite"`
	Case           string         `json:"case"`
	Subject        Party          `json:"subject"`
	Peer           *Party         `json:"peer"`
	Machine        Machine        `json:"machine"`
	Parameters     map[string]any `json:"parameters"`
	Dataset        Dataset        `json:"dataset"`
	Unit           string         `json:"unit"`
	HigherIsBetter bool           `json:"higher_is_better"`
	Runs           []float64      `json:"runs"`
	Median         float64        `json:"median"`
	Min            float64        `json:"min"`
	Max            float64        `json:"max"`
	PeerRuns       []float64      `json:"peer_runs"`
	PeerMedian     *float64       `json:"peer_median"`
	Ratio          *float64       `json:"ratio"` // above 1 Tarn is better
	Target         *float64       `json:"target"`
	Met            *bool          `json:"met"`
	Load           string         `json:"load"`
	LatencyMS      *Latency       `json:"latency_ms"`
	CPUS           float64        `json:"cpu_s"`          // of this process and its children, all runs
	PeakRSSBytes   int64          `json:"peak_rss_bytes"` // of the largest of them so far
	Correctness    *Correctness   `json:"correctness"`
	Notes          string         `json:"notes"`
}

// Run measures a case: subject and peer take turns, so that what else the
// machine does falls on both.
func (c *Case) Run(ctx context.Context, runs int, software string, clock func() time.Time) (*Result, error) {
	r := &Result{Schema: Schema, Software: software, Created: clock().UTC().Format(time.RFC3339), Suite: c.Suite, Case: c.Name, Subject: Party{"tarn", c.SubjectVersion},
		Machine: ThisMachine(), Parameters: c.Parameters, Dataset: c.Dataset, Unit: c.Unit, HigherIsBetter: c.HigherIsBetter, Load: "batch", Target: c.Target, Notes: c.Notes, Runs: []float64{}, PeerRuns: []float64{}}
	before := cpu()
	for range runs {
		value, err := c.Subject(ctx)
		if err != nil {
			return nil, err
		}
		r.Runs = append(r.Runs, value)
		if c.Peer == nil {
			continue
		}
		if value, err = c.Peer(ctx); err != nil {
			return nil, err
		}
		r.PeerRuns = append(r.PeerRuns, value)
	}
	if c.Check != nil {
		checked, equal, err := c.Check(ctx)
		if err != nil {
			return nil, err
		}
		r.Correctness = &Correctness{checked, equal}
	}
	r.CPUS, r.PeakRSSBytes = cpu()-before, peakRSS()
	r.Median, r.Min, r.Max = median(r.Runs), slices.Min(r.Runs), slices.Max(r.Runs)
	reached := r.Median
	if c.Peer != nil {
		party, m := c.PeerParty, median(r.PeerRuns)
		r.Peer, r.PeerMedian = &party, &m
		ratio := r.Median / m
		if !c.HigherIsBetter {
			ratio = m / r.Median
		}
		r.Ratio, reached = &ratio, ratio
		if c.TargetOf != nil {
			target := c.TargetOf(m)
			r.Target = &target
		}
	}
	if r.Target != nil {
		met := reached >= *r.Target
		if c.Peer == nil && !c.HigherIsBetter {
			met = reached <= *r.Target
		}
		r.Met = &met
	}
	return r, nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[n/2] + sorted[(n-1)/2]) / 2
}

func cpu() (seconds float64) {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) == nil {
			seconds += float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
		}
	}
	return seconds
}

func peakRSS() (most int64) {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) == nil {
			most = max(most, u.Maxrss<<10)
		}
	}
	return most
}

// ThisMachine is the one that this process runs on.
func ThisMachine() Machine {
	m := Machine{CPU: runtime.GOARCH, Cores: runtime.NumCPU(), Flags: []string{}, Go: runtime.Version()}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.RAMBytes = info.Totalram * uint64(info.Unit)
	}
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); strings.TrimSpace(name) {
		case "model name":
			m.CPU = value
		case "flags":
			m.Flags = slices.DeleteFunc(strings.Fields(value), func(flag string) bool {
				return !slices.Contains([]string{"aes", "vaes", "sha_ni", "avx2", "avx512f", "avx512_vpopcntdq"}, flag)
			})
			slices.Sort(m.Flags)
		}
	}
	m.Flags = slices.Compact(m.Flags)
	return m
}

// Write writes a result into folder as <suite>-<case>.json.
func (r *Result) Write(folder string) error {
	return WriteDocument(filepath.Join(folder, r.Suite+"-"+r.Case+".json"), r)
}

// WriteDocument writes a result's document, and makes the folder that it lies in.
func WriteDocument(path string, document any) error {
	b, err := keys.Encode(document)
	if err == nil {
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			err = keys.WriteFile(path, b)
		}
	}
	if err != nil {
		return fault.Wrap(fault.Internal, "writing "+path, err, "choose a folder that can be written")
	}
	return nil
}

// WriteTable prints results, one line each.
func WriteTable(w io.Writer, results []*Result) error {
	width := 4
	for _, r := range results {
		width = max(width, len(r.Suite)+1+len(r.Case))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-*s %12s %-12s %12s %9s %9s %s\n", width, "case", "tarn", "unit", "peer", "ratio", "target", "")
	for _, r := range results {
		fmt.Fprintf(&b, "%-*s %12s %-12s %12s %9s %9s %s\n", width, r.Suite+"/"+r.Case, number(&r.Median), r.Unit, number(r.PeerMedian), number(r.Ratio), number(r.Target), verdict(r))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func verdict(r *Result) string {
	said := ""
	if r.Peer != nil {
		said = "beside " + strings.TrimSpace(r.Peer.Name+" "+r.Peer.Version)
	}
	switch {
	case r.Met == nil:
	case *r.Met:
		said = strings.TrimSpace("met, " + said)
	default:
		said = strings.TrimSpace("missed, " + said)
	}
	return strings.TrimSuffix(said, ",")
}

func number(v *float64) string {
	switch {
	case v == nil:
		return "-"
	case *v >= 1000:
		return fmt.Sprintf("%.0f", *v)
	case *v == 0:
		return "0"
	}
	return fmt.Sprintf("%.4g", *v)
}

// Find returns the suites of a pattern: all for an empty one, else the one of
// that name.
func Find[S any](suites map[string]S, name string) (names []string, err error) {
	for known := range suites {
		if name == "" || name == known {
			names = append(names, known)
		}
	}
	if len(names) == 0 {
		all := slices.Sorted(func(yield func(string) bool) {
			for known := range suites {
				if !yield(known) {
					return
				}
			}
		})
		return nil, fault.New(fault.Usage, "finding the benchmark suite", "there is none of this name", "the suites are "+strings.Join(all, ", "))
	}
	slices.SortFunc(names, cmp.Compare)
	return names, nil
}

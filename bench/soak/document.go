package soak

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"

	"tarn/bench/measure"
)

// Schema is the schema member of a report.
const Schema = "tarn.soak/1"

// Report is the document tarn.soak/1: what came of a soak.
type Report struct {
	Schema   string `json:"schema"`
	Software string `json:"software"`
	Created  string `json:"created"`

	Seconds float64 `json:"seconds"` // of load
	Rate    float64 `json:"rate"`    // requests due in a second
	GOGC    int     `json:"gogc"`    // of the services, in percent: in a short soak small, so that they collect

	Requests Counts   `json:"requests"`
	Wrong    []string `json:"wrong"` // what was not as it must be, the first of it

	// Straight is of requests that were answered at their first try, All of every one from
	// when it was due to its answer.
	Straight measure.Latency `json:"latency_ms"`
	All      measure.Latency `json:"latency_all_ms"`

	Projects []ProjectReport `json:"projects"`
	Parts    []Part          `json:"parts"`
	Controls []Control       `json:"controls"`
	Holds    bool            `json:"holds"`
	Machine  measure.Machine `json:"machine"`
}

// ProjectReport is what came of a project and of the service that answers for it.
type ProjectReport struct {
	Name    string  `json:"name"`
	Scheme  string  `json:"scheme"`
	Before  uint32  `json:"epoch_before"`
	After   uint32  `json:"epoch_after"`
	GapS    float64 `json:"gap_s"`   // from the rotation to the first answer of the new epoch
	EndedS  float64 `json:"ended_s"` // from SIGTERM to its end
	ReadyS  float64 `json:"ready_s"` // from its start until it was answered
	Rows    int64   `json:"rows"`    // acknowledged, each request once
	Charged int64   `json:"charged"` // what its client's budget has lost
	Check   Checked `json:"check"`
}

// Part is a time in which nothing was done to the service, of which the first quarter is
// not looked at.
type Part struct {
	Project string `json:"project"`
	When    string `json:"when"` // before what happens to the service, or after
	// Heap is what was live at the last collection: go_memstats_next_gc_bytes without what
	// GOGC adds.
	Heap        Series `json:"heap_bytes"`
	Collections int    `json:"collections"` // in that time
	Resident    Series `json:"resident_bytes"`
	Goroutines  Series `json:"goroutines"`
}

// Control is something that was planted, and must be found.
type Control struct {
	Project string `json:"project"`
	What    string `json:"what"`
	Found   bool   `json:"found"`
	Said    string `json:"said"`
}

// leastCollections are how many collections there must have been in a part for its memory to
// have been looked at.
const leastCollections = 4

// leastMoves are how many requests a soak must have answered to have shown something.
const leastMoves = 100

// Against says what does not hold, a line each.
func (r *Report) Against() (lines []string) {
	say := func(holds bool, format string, values ...any) {
		if !holds {
			lines = append(lines, fmt.Sprintf(format, values...))
		}
	}
	c := &r.Requests
	say(c.Answered >= leastMoves, "%d requests were answered: it has shown nothing", c.Answered)
	say(c.Lost == 0, "%d requests are lost", c.Lost)
	say(c.Wrong == 0, "%d answers or refusals are wrong: %s", c.Wrong, strings.Join(r.Wrong, "; "))
	say(c.Again > 0 && c.Bulk > 0 && c.Packed > 0, "%d were sent again, %d were of a thousand rows, %d were packed: it has not shown each", c.Again, c.Bulk, c.Packed)
	for i := range r.Projects {
		p := &r.Projects[i]
		say(p.After == p.Before+1, "project %s went from epoch %d to %d", p.Name, p.Before, p.After)
		say(p.Rows > 0 && p.Rows == p.Charged, "of project %s %d rows were acknowledged and %d were charged", p.Name, p.Rows, p.Charged)
		say(p.Check.Whole(), "the checker of project %s: %s", p.Name, &p.Check)
	}
	for _, part := range r.Parts {
		say(part.Collections >= leastCollections, "%s %s: %d collections, which show nothing of memory", part.Project, part.When, part.Collections)
		for _, one := range []struct {
			what string
			s    Series
		}{{"heap", part.Heap}, {"resident memory", part.Resident}, {"goroutines", part.Goroutines}} {
			say(one.s.Flat, "%s %s, %s: it grew by %.0f in %.0f s, and %.0f are allowed (%d samples, median %.0f)", part.Project, part.When, one.what, one.s.Growth, one.s.Seconds, one.s.Bound, one.s.Samples, one.s.Median)
		}
	}
	say(len(r.Parts) > 0, "memory was not looked at")
	say(len(r.Controls) > 0, "there is no control")
	for _, control := range r.Controls {
		say(control.Found, "control: %s is not found: %s", control.What, control.Said)
	}
	return lines
}

// Write writes the report into a folder as soak.json.
func (r *Report) Write(folder string) error {
	return measure.WriteDocument(filepath.Join(folder, "soak.json"), r)
}

// Print prints the report for a terminal.
func (r *Report) Print(w io.Writer) error {
	var b strings.Builder
	c := &r.Requests
	fmt.Fprintf(&b, "%.0f s at %.0f requests a second: %d due, %d answered (%d rows), %d again, %d refused with 503, %d of other keys, %d closed; %d lost, %d wrong\n",
		r.Seconds, r.Rate, c.Due, c.Answered, c.Rows, c.Again, c.Refused, c.Changed, c.Closed, c.Lost, c.Wrong)
	for _, l := range []struct {
		what string
		ms   measure.Latency
	}{{"answered at once", r.Straight}, {"with all waiting", r.All}} {
		fmt.Fprintf(&b, "%-17s p50 %.1f ms, p99 %.1f ms, p99.9 %.1f ms, max %.1f ms\n", l.what, l.ms.P50, l.ms.P99, l.ms.P999, l.ms.Max)
	}
	for i := range r.Projects {
		p := &r.Projects[i]
		fmt.Fprintf(&b, "%-8s %-10s epoch %d to %d in %.1f s; SIGTERM: ended after %.1f s, ready %.1f s after its start; %d rows acknowledged, %d charged; %s\n",
			p.Name, p.Scheme, p.Before, p.After, p.GapS, p.EndedS, p.ReadyS, p.Rows, p.Charged, &p.Check)
	}
	for _, p := range r.Parts {
		fmt.Fprintf(&b, "%-8s %-6s %.0f s, %d collections: heap %.1f MB grew by %.2f (may by %.1f), resident %.1f MB by %.2f (%.1f), goroutines %.0f by %.1f (%.0f)\n", p.Project, p.When, p.Heap.Seconds, p.Collections,
			p.Heap.Median/1e6, p.Heap.Growth/1e6, p.Heap.Bound/1e6, p.Resident.Median/1e6, p.Resident.Growth/1e6, p.Resident.Bound/1e6, p.Goroutines.Median, p.Goroutines.Growth, p.Goroutines.Bound)
	}
	for _, line := range r.Against() {
		fmt.Fprintf(&b, "does not hold: %s\n", line)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func latencyOf(h *hdrhistogram.Histogram) measure.Latency { return *measure.LatencyOf(h) }

package demo

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"

	"tarn/keys"
	"tarn/linkage/result"
)

// Schema is the schema member of the document.
const Schema = "tarn.demo/1"

// SummaryFile is the document's name in the folder.
const SummaryFile = "summary.json"

// Document is the document tarn.demo/1. Parts that are not built yet are null.
type Document struct {
	Schema      string       `json:"schema"`
	Software    string       `json:"software"`
	Created     string       `json:"created"`
	OK          bool         `json:"ok"`
	WallS       float64      `json:"wall_s"`
	Steps       []Step       `json:"steps"`
	People      int          `json:"people"` // of each party
	Parties     int          `json:"parties"`
	Tokenise    []Tokenise   `json:"tokenise"`
	Link        *Link        `json:"link"`
	Evaluate    *Evaluate    `json:"evaluate"`
	Served      *Served      `json:"served"`
	Moved       *Moved       `json:"moved"`
	Enumeration *Enumeration `json:"enumeration"`
	Reidentify  *Reidentify  `json:"reidentify"`
	Console     *Console     `json:"console"` // null where there is no browser
	Audit       *Audit       `json:"audit"`
	LeakScan    *LeakScan    `json:"leak_scan"`
	Artefacts   []string     `json:"artefacts"` // relative to the folder
}

// Step is one step. Its detail holds counts and no identifier.
type Step struct {
	Name   string  `json:"name"`
	OK     bool    `json:"ok"`
	WallS  float64 `json:"wall_s"`
	Detail string  `json:"detail"`
}

// Tokenise is what a party's tokeniser did.
type Tokenise struct {
	SourceDataset string   `json:"source_dataset"`
	Rows          int64    `json:"rows"`
	OK            int64    `json:"ok"`
	Refused       int64    `json:"refused"`
	RowsPerS      *float64 `json:"rows_per_s"` // the whole process, its start included
}

// Link is what the linker found, and what it thinks of it without the truth.
type Link struct {
	Links        int64    `json:"links"`
	PrecisionEst *float64 `json:"precision_est"`
	RecallEst    *float64 `json:"recall_est"`
}

// Served is what became of rows that were sent to the tokenise service.
type Served struct {
	Rows  int64   `json:"rows"`
	Equal bool    `json:"equal"` // each cell to what run made
	TookS float64 `json:"took_s"`
}

// Moved is what became of moving tokens to another epoch and another domain.
type Moved struct {
	Tokens int64 `json:"tokens"`
	Equal  bool  `json:"equal"` // to those that the numbers give there
}

// Enumeration is what became of trying one number after another.
type Enumeration struct {
	Numbers     int64   `json:"numbers"`       // that were tried
	Budget      int64   `json:"budget"`        // rows, at which it was stopped
	Alarm       string  `json:"alarm"`         // the rule that was heard of
	AlarmAfterS float64 `json:"alarm_after_s"` // from its start
}

// LeakScan is what was found of people whose every value would be recognised.
type LeakScan struct {
	Canaries int `json:"canaries"`
	Found    int `json:"found"` // values, where none should be
}

// Audit is what an auditor found of the key holder's log, and of a copy in which
// one entry was changed.
type Audit struct {
	Entries          int64  `json:"entries"`
	Verified         bool   `json:"verified"`
	TamperDetectedAt *int64 `json:"tamper_detected_at"` // the entry that was named
}

// Evaluate is the links compared with the truth.
type Evaluate struct {
	Precision    *float64 `json:"precision"`
	Recall       *float64 `json:"recall"`
	F1           *float64 `json:"f1"`
	MaxRecallGap *float64 `json:"max_recall_gap"` // the widest between two groups of one dimension

	widest string // the dimension of MaxRecallGap
}

// IsOutput reports whether Run has written into the folder.
func IsOutput(folder string) bool {
	b, err := os.ReadFile(filepath.Join(folder, SummaryFile))
	if err != nil {
		return false
	}
	var d Document
	return keys.DecodeStrict(b, &d) == nil && d.Schema == Schema
}

// WriteText writes what came of a demonstration that went well, for people to
// read. folder is where it lies.
func WriteText(w io.Writer, d *Document, folder string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s synthetic people in each of %d regions, encoded and linked without reading a name\n", humanize.Comma(int64(d.People)), d.Parties)
	if d.Link != nil && d.Evaluate != nil {
		fmt.Fprintf(&b, "  %-24s %s\n", "linked", humanize.Comma(d.Link.Links)+" pairs of records")
		fmt.Fprintf(&b, "  %-24s %s against the truth; estimated without it: %s\n", "precision", percent(d.Evaluate.Precision), percent(d.Link.PrecisionEst))
		fmt.Fprintf(&b, "  %-24s %s against the truth; estimated without it: %s\n", "recall", percent(d.Evaluate.Recall), percent(d.Link.RecallEst))
		if gap := d.Evaluate.MaxRecallGap; gap != nil {
			fmt.Fprintf(&b, "  %-24s %.1f points of recall, by %s\n", "widest gap", 100**gap, strings.ReplaceAll(d.Evaluate.widest, "_", " "))
		}
	}
	if s := d.Served; s != nil {
		fmt.Fprintf(&b, "  %-24s %s rows over mutual TLS, answered cell by cell as the batch has them; sent again they were charged once\n", "service", humanize.Comma(s.Rows))
	}
	if m := d.Moved; m != nil {
		fmt.Fprintf(&b, "  %-24s %s tokens to the next epoch and to another domain, without the numbers: as the numbers give them there\n", "moved", humanize.Comma(m.Tokens))
	}
	if e := d.Enumeration; e != nil {
		fmt.Fprintf(&b, "  %-24s %s numbers tried one after another: stopped at %s, heard of after %.1f s\n", "enumeration", humanize.Comma(e.Numbers), humanize.Comma(e.Budget), e.AlarmAfterS)
	}
	if l := d.LeakScan; l != nil {
		fmt.Fprintf(&b, "  %-24s %d people who would be recognised anywhere: found nowhere but in the table they came in\n", "leaks", l.Canaries)
	}
	if r := d.Reidentify; r != nil {
		fmt.Fprintf(&b, "  %-24s a patient's own practice was told at once; another waited for an approver, could not approve itself, and was shown the patient once\n", "re-identified")
	}
	if c := d.Console; c != nil {
		fmt.Fprintf(&b, "  %-24s %d pages of the key holder, as people used them in a browser: %s\n", "pages", c.Pages, filepath.Join(folder, picturesFolder))
	}
	if a := d.Audit; a != nil && a.TamperDetectedAt != nil {
		fmt.Fprintf(&b, "  %-24s %d entries, all as recorded; in a copy one was changed, and entry %d was named\n", "log", a.Entries, *a.TamperDetectedAt)
	}
	fmt.Fprintf(&b, "  %-24s %s\n", "keys", "leased from a key holder over mutual TLS; what it recorded is in "+filepath.Join(folder, eventsFile))
	fmt.Fprintf(&b, "  %-24s %s\n  %-24s %s\n", "read", filepath.Join(folder, result.ReportFile), "figures", filepath.Join(folder, SummaryFile))
	fmt.Fprintf(&b, "  %-24s %.1f s\n", "took", d.WallS)
	_, err := io.WriteString(w, b.String())
	return err
}

func percent(v *float64) string {
	if v == nil {
		return "not known"
	}
	return fmt.Sprintf("%.2f%%", 100**v)
}

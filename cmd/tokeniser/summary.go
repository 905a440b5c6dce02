package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"tarn/cmd/internal/boot"
	"tarn/keys"
	"tarn/linkage/cohort"
	"tarn/tokenise"
	"tarn/tokenise/batch"
	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// runSummary is what run prints with --json.
type runSummary struct {
	Schema    string                `json:"schema"`
	Software  string                `json:"software"`
	Created   string                `json:"created"`
	CohortID  *string               `json:"cohort_id"` // null where no cohort was written
	Rows      int64                 `json:"rows"`
	OK        int64                 `json:"ok"`
	Refused   int64                 `json:"refused"`
	Tokens    int64                 `json:"tokens"`
	Encoded   int64                 `json:"encoded"`
	RefusedBy map[reason.Code]int64 `json:"refused_by_code"`
	Warnings  map[reason.Code]int64 `json:"warnings"`
	FixFirst  *fix                  `json:"fix_first"` // null where nothing needs it
	Resumed   int64                 `json:"resumed_rows"`
	Complete  bool                  `json:"complete_before"` // nothing was done: an earlier run had done it
	Outputs   []string              `json:"outputs"`
}

// fix is the field that costs most rows, and how to correct it.
type fix struct {
	Field  string `json:"field"` // "row" where no field is to blame
	Rows   int64  `json:"rows"`
	Advice string `json:"advice"`
}

func writeRunJSON(env *boot.Environment, o *batch.Options, r *tokenise.Result) error {
	s := runSummary{Schema: "tarn.tokenise-summary/1", Software: boot.Software(), Created: env.Clock().Format(time.RFC3339), Rows: r.Rows, OK: r.Rows - r.RefusedRows(), Refused: r.RefusedRows(),
		Tokens: r.Tokens, Encoded: r.Encoded, RefusedBy: r.Refused, Warnings: r.Warned, FixFirst: fixFirst(r), Resumed: r.ResumedRows, Complete: r.Complete, Outputs: []string{}}
	if m := r.Manifest; m != nil {
		s.CohortID, s.OK, s.Outputs = &m.CohortID, m.Rows, outputs(o)
	} else if o.Quarantine != "" {
		s.Outputs = []string{o.Quarantine}
	}
	b, err := keys.Encode(s)
	if err != nil {
		return err
	}
	_, err = env.Stdout.Write(b)
	return err
}

func outputs(o *batch.Options) []string {
	list := []string{o.Out, cohort.ManifestPath(o.Out), batch.CrosswalkPath(o.Out)}
	for _, path := range []string{o.Groups, o.Quarantine, o.Warnings} {
		if path != "" {
			list = append(list, path)
		}
	}
	return list
}

func writeRunText(w io.Writer, o *batch.Options, r *tokenise.Result) error {
	var b strings.Builder
	if r.Complete {
		fmt.Fprintf(&b, "an earlier run had encoded these %s rows already; nothing was changed\n", humanize.Comma(r.Rows))
		fmt.Fprintf(&b, "cohort %s: %s\n", r.Manifest.CohortID, strings.Join(outputs(o), ", "))
		_, err := io.WriteString(w, b.String())
		return err
	}
	fmt.Fprintf(&b, "%s rows read, %s encoded, %s refused\n", humanize.Comma(r.Rows), humanize.Comma(r.Manifest.Rows), humanize.Comma(r.RefusedRows()))
	if r.ResumedRows > 0 {
		fmt.Fprintf(&b, "%s of them had been encoded before the interruption\n", humanize.Comma(r.ResumedRows))
	}
	fmt.Fprintf(&b, "%s have a token, %s have encodings that can be compared\n", humanize.Comma(r.Tokens), humanize.Comma(r.Encoded))
	writeCounts(&b, "refused", r.Refused)
	writeCounts(&b, "warning", r.Warned)
	if r.Rows == 0 {
		b.WriteString("warning: the table has a header and no rows; the cohort is empty\n")
	}
	if f := fixFirst(r); f != nil {
		fmt.Fprintf(&b, "to fix first: %s\n", f)
	}
	if r.Refused[reason.RowEncoding] > 0 && o.Source.Encoding == source.EncodingAuto {
		b.WriteString("rows were refused because they are not UTF-8; if the file is Windows-1252, run again with --encoding windows-1252\n")
	}
	fmt.Fprintf(&b, "cohort %s: %s\n", r.Manifest.CohortID, strings.Join(outputs(o), ", "))
	_, err := io.WriteString(w, b.String())
	return err
}

func writeCounts(b *strings.Builder, label string, counts map[reason.Code]int64) {
	for _, code := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(b, "  %s %-32s %s\n", label, code, humanize.Comma(counts[code]))
	}
}

// String says it to a person.
func (f *fix) String() string {
	if f.Field == "row" {
		return humanize.Comma(f.Rows) + " rows; " + f.Advice
	}
	return f.Field + ", not usable in " + humanize.Comma(f.Rows) + " rows; " + f.Advice
}

// fixFirst returns the field that could not be used in most rows, and what to
// do about its most frequent reason; nil where every field could be used, or
// there is no result.
func fixFirst(r *tokenise.Result) *fix {
	if r == nil {
		return nil
	}
	var worst *fix
	for _, field := range slices.Sorted(maps.Keys(r.WarnedFields)) {
		if n := r.WarnedFields[field]; worst == nil || n > worst.Rows {
			worst = &fix{Field: field, Rows: n}
		}
	}
	if n := r.Refused[reason.RowNothingLinkable]; n > 0 && worst == nil {
		return &fix{Field: "row", Rows: n, Advice: reason.RowNothingLinkable.Advice()}
	}
	if worst == nil {
		return nil
	}
	most := int64(0)
	for _, p := range slices.SortedFunc(maps.Keys(r.WarnedProblems), reason.Compare) {
		if n := r.WarnedProblems[p]; p.Field == worst.Field && n > most {
			most, worst.Advice = n, p.Code.Advice()
		}
	}
	return worst
}

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
	Tokens    *int64                `json:"tokens"`   // null where no cohort was written
	Encoded   *int64                `json:"encoded"`  // likewise
	Escrowed  *int64                `json:"escrowed"` // null where there is no escrow
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
		RefusedBy: r.Refused, Warnings: r.Warned, FixFirst: fixFirst(r), Resumed: r.ResumedRows, Complete: r.Complete, Outputs: []string{}}
	if m := r.Manifest; m != nil {
		s.CohortID, s.OK, s.Outputs, s.Escrowed = &m.CohortID, m.Rows, outputs(o, r), r.Escrowed
		if !r.Complete {
			s.Tokens, s.Encoded = &r.Tokens, &r.Encoded
		}
	} else {
		for _, path := range []string{o.Quarantine, o.Warnings} {
			if path != "" {
				s.Outputs = append(s.Outputs, path)
			}
		}
	}
	return writeJSON(env.Stdout, s)
}

func outputs(o *batch.Options, r *tokenise.Result) []string {
	list := []string{o.Out, cohort.ManifestPath(o.Out), batch.CrosswalkPath(o.Out)}
	if r.Escrowed != nil {
		list = append(list, batch.EscrowPath(o.Out))
	}
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
		fmt.Fprintf(&b, "cohort %s: %s\n", r.Manifest.CohortID, strings.Join(outputs(o, r), ", "))
		_, err := io.WriteString(w, b.String())
		return err
	}
	fmt.Fprintf(&b, "%s rows read, %s encoded, %s refused\n", humanize.Comma(r.Rows), humanize.Comma(r.Manifest.Rows), humanize.Comma(r.RefusedRows()))
	if r.ResumedRows > 0 {
		fmt.Fprintf(&b, "%s of them had been encoded before the interruption\n", humanize.Comma(r.ResumedRows))
	}
	fmt.Fprintf(&b, "%s have a token, %s have encodings that can be compared\n", humanize.Comma(r.Tokens), humanize.Comma(r.Encoded))
	if r.Escrowed != nil {
		fmt.Fprintf(&b, "%s tokens are in the escrow, for the region's store: tokeniser escrow import %s\n", humanize.Comma(*r.Escrowed), batch.EscrowPath(o.Out))
	}
	writeCounts(&b, "refused", r.Refused)
	writeCounts(&b, "warning", r.Warned)
	if r.Rows == 0 {
		b.WriteString("warning: the table has a header and no rows; the cohort is empty\n")
	}
	if f := fixFirst(r); f != nil {
		fmt.Fprintf(&b, "to fix first: %s\n", f)
	}
	if r.Refused[reason.RowEncoding] > 0 && r.Input.Format == source.FormatCSV && r.Input.Encoding == source.EncodingUTF8 && o.Source.Encoding == source.EncodingAuto {
		b.WriteString("rows were refused because they are not UTF-8; if the file is Windows-1252, run again with --encoding windows-1252\n")
	}
	fmt.Fprintf(&b, "cohort %s: %s\n", r.Manifest.CohortID, strings.Join(outputs(o, r), ", "))
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
	if f.Field == wholeRow {
		return humanize.Comma(f.Rows) + " rows; " + f.Advice
	}
	return f.Field + ", not usable in " + humanize.Comma(f.Rows) + " rows; " + f.Advice
}

// blame says which field a refusal is put down to.
var blame = map[reason.Code]string{
	reason.UniqueIDDuplicate: source.UniqueIDField, reason.UniqueIDEmpty: source.UniqueIDField,
	reason.RowMalformed: wholeRow, reason.RowEncoding: wholeRow, reason.RowTooLong: wholeRow,
}

// wholeRow stands for a field where none is to blame.
const wholeRow = "row"

// fixFirst returns the field that could not be used, or for which a row was
// refused, in most rows, and what to do about its most frequent reason; nil
// where there is none, or no result. Rows in which nothing was left to link are
// put down to their fields.
func fixFirst(r *tokenise.Result) *fix {
	if r == nil {
		return nil
	}
	problems := maps.Clone(r.WarnedProblems)
	if problems == nil {
		problems = map[reason.Problem]int64{}
	}
	for code, field := range blame {
		if n := r.Refused[code]; n > 0 {
			problems[reason.Problem{Field: field, Code: code}] += n
		}
	}
	if n := r.Refused[reason.RowNothingLinkable]; n > 0 && len(problems) == 0 {
		problems[reason.Problem{Field: wholeRow, Code: reason.RowNothingLinkable}] = n
	}
	rows := map[string]int64{}
	maps.DeleteFunc(problems, func(p reason.Problem, _ int64) bool { return p.Code.Harmless() })
	for p, n := range problems {
		rows[p.Field] += n
	}
	var worst *fix
	for _, field := range slices.Sorted(maps.Keys(rows)) {
		if n := rows[field]; worst == nil || n > worst.Rows {
			worst = &fix{Field: field, Rows: n}
		}
	}
	if worst == nil {
		return nil
	}
	most := int64(0)
	for _, p := range slices.SortedFunc(maps.Keys(problems), reason.Compare) {
		if n := problems[p]; p.Field == worst.Field && n > most {
			most, worst.Advice = n, p.Code.Advice()
		}
	}
	return worst
}

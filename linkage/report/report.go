// Package report draws what a linkage job did as one HTML file for people who
// did not run it: what was linked, how sure that is, and for whom it works less
// well. The file asks no network for anything and runs no script. Unless pairs
// are asked for, it holds no record: counts under ten are hidden, also where
// they would follow from others, and the rest are rounded to five. summary.json
// and run.json have them exactly.
//
// The same result gives the same bytes. What differs from run to run (times,
// resources used) is left to summary.json.
package report

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
	"path/filepath"
	"strings"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage/result"
)

var (
	//go:embed report.html
	page string
	//go:embed style.css
	style string
)

// Render writes the report. run may be nil, as for a result whose run.json is
// missing; then its sections say so. With pairs the report shows single pairs of
// records, and says so at its head.
func Render(w io.Writer, summary *result.Summary, run *result.Run, software string, pairs ...Pair) error {
	t, err := template.New("report").Funcs(template.FuncMap{"long": long}).Parse(page)
	if err != nil {
		return err
	}
	if run == nil {
		run = &result.Run{}
	}
	v := newView(summary, run, software, pairs)
	v.CSS = template.CSS(style) // #nosec G203 -- our own file
	digest := sha256.Sum256([]byte(style))
	v.StyleHash = "sha256-" + base64.StdEncoding.EncodeToString(digest[:])
	return t.Execute(w, v)
}

// long reports a cell that holds a word, such as a digest, that no narrow screen
// has room for.
func long(cell string) bool {
	for word := range strings.FieldsSeq(cell) {
		if len(word) > 24 {
			return true
		}
	}
	return false
}

// Write writes the report to path, whole or not at all.
func Write(path string, summary *result.Summary, run *result.Run, software string, pairs ...Pair) error {
	var b bytes.Buffer
	if err := Render(&b, summary, run, software, pairs...); err != nil {
		return fault.Wrap(fault.Internal, "drawing the report "+path, err, "")
	}
	if err := keys.WriteFile(path, b.Bytes()); err != nil {
		return fault.Wrap(fault.Internal, "writing "+path, err, "free space on the disk or choose a folder that can be written")
	}
	return nil
}

// Replace draws the report of the result folder dir anew, then writes
// summary.json with the digest of the new report. Each file is replaced whole.
func Replace(dir string, summary *result.Summary, run *result.Run, pairs ...Pair) error {
	if err := Write(filepath.Join(dir, result.ReportFile), summary, run, summary.Software, pairs...); err != nil {
		return err
	}
	drawn, err := result.OutputOf(dir, result.ReportFile)
	if err != nil {
		return err
	}
	for i := range summary.Outputs {
		if summary.Outputs[i].Path == result.ReportFile {
			summary.Outputs[i] = drawn
		}
	}
	return result.WriteDocument(dir, result.SummaryFile, summary)
}

// Options of [Redraw].
type Options struct {
	// RowLevel adds single pairs of records to the report, with their ids.
	RowLevel bool
	// Pairs are the unique_ids of pairs to show, in either order. Empty: a few
	// around the threshold and a few of the surest. Without RowLevel they are
	// refused.
	Pairs [][2]string
}

// Redraw draws report.html of the result folder dir from summary.json, run.json
// and, with RowLevel, links.parquet.
func Redraw(ctx context.Context, dir string, o Options) error {
	if len(o.Pairs) > 0 && !o.RowLevel {
		return fault.New(fault.Policy, "drawing the report of "+dir, "pairs of records are named, and a report with these is row-level data", "add --row-level if such a report may exist where it is going")
	}
	summary, err := result.ReadSummary(dir)
	if err != nil {
		return err
	}
	run, err := result.ReadRun(dir)
	if err != nil {
		return err
	}
	var pairs []Pair
	if o.RowLevel {
		if pairs, err = readPairs(ctx, filepath.Join(dir, result.LinksFile), run, o.Pairs); err != nil {
			return err
		}
	}
	return Replace(dir, summary, run, pairs...)
}

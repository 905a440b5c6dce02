// Package report draws what a linkage job did as one HTML file for people who
// did not run it: what was linked, how sure that is, and for whom it works less
// well. The file needs no network, runs no script and holds no record: counts
// under ten are hidden and the rest rounded to five. summary.json has them
// exactly.
//
// The same summary and run give the same bytes. What differs from run to run
// (times, resources used) is left to summary.json.
package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
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
// missing; then its sections say so.
func Render(w io.Writer, summary *result.Summary, run *result.Run, software string) error {
	t, err := template.New("report").Funcs(template.FuncMap{"long": long}).Parse(page)
	if err != nil {
		return err
	}
	v := newView(summary, run, software)
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
func Write(path string, summary *result.Summary, run *result.Run, software string) error {
	var b bytes.Buffer
	if err := Render(&b, summary, run, software); err != nil {
		return fault.Wrap(fault.Internal, "drawing the report "+path, err, "")
	}
	if err := keys.WriteFile(path, b.Bytes()); err != nil {
		return fault.Wrap(fault.Internal, "writing "+path, err, "free space on the disk or choose a folder that can be written")
	}
	return nil
}

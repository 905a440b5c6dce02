// Package parts writes a cohort as one Parquet file or as a folder of several, none of
// which has its name before all are complete.
package parts

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"tarn/linkage/cohort"
	"tarn/linkage/cohort/outdir"
)

// Writer writes the rows of a cohort. Rows come in the order of [cohort.Layout.Compare].
type Writer struct {
	out      string
	partRows int64
	layout   cohort.Layout
	identity cohort.Identity
	software string
	folder   *outdir.Folder // nil for one file
	current  *cohort.Writer
	rows     int64 // of current
	files    []cohort.ManifestFile
}

// Create begins the cohort at out: a folder whose parts have partRows rows, or one file if
// that is 0. identity and software are as for [cohort.Create].
func Create(out string, partRows int64, layout cohort.Layout, identity cohort.Identity, software string) (w *Writer, err error) {
	w = &Writer{out: out, partRows: partRows, layout: layout, identity: identity, software: software}
	if partRows > 0 {
		if w.folder, err = outdir.Begin(out, isPartsFolder); err != nil {
			return nil, err
		}
	}
	if err := w.begin(); err != nil {
		w.Abort()
		return nil, err
	}
	return w, nil
}

// isPartsFolder reports whether a folder holds nothing but parts of a cohort.
func isPartsFolder(folder string) bool {
	entries, err := os.ReadDir(folder)
	return err == nil && !slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		matched, err := filepath.Match("part-[0-9][0-9][0-9][0-9][0-9].parquet", e.Name())
		return !matched || err != nil
	})
}

// path returns where the current file is written.
func (w *Writer) path() string {
	if w.folder == nil {
		return w.out
	}
	return filepath.Join(w.folder.Path(), w.name())
}

func (w *Writer) name() string { return fmt.Sprintf("part-%05d.parquet", len(w.files)) }

func (w *Writer) begin() (err error) {
	w.rows = 0
	w.current, err = cohort.Create(w.path(), w.layout, w.identity, w.software)
	return err
}

// Append writes one row.
func (w *Writer) Append(row *cohort.Row) error {
	if w.folder != nil && w.rows == w.partRows {
		if err := w.end(); err != nil {
			return err
		}
		if err := w.begin(); err != nil {
			return err
		}
	}
	w.rows++
	return w.current.Append(row)
}

// end finishes the current file. A part gets its name at once, in a folder that
// has not got its own.
func (w *Writer) end() error {
	file, err := w.current.Finish()
	if err != nil {
		return err
	}
	path := filepath.Base(w.out)
	if w.folder != nil {
		path += "/" + w.name()
		if _, err := w.current.Commit(); err != nil {
			return err
		}
	}
	w.files = append(w.files, cohort.ManifestFile{Path: path, SHA256: file.SHA256, Rows: file.Rows})
	return nil
}

// Finish ends the cohort, not yet under its name. What can fail for want of space fails
// here.
func (w *Writer) Finish() error { return w.end() }

// Files returns the files that are finished, as a manifest beside them names them.
func (w *Writer) Files() []cohort.ManifestFile { return w.files }

// Commit puts the cohort under its name, after Finish.
func (w *Writer) Commit() error {
	if w.folder != nil {
		return w.folder.Commit()
	}
	_, err := w.current.Commit()
	return err
}

// Abort removes what was written; after Commit it does nothing.
func (w *Writer) Abort() {
	if w.current != nil {
		w.current.Abort()
	}
	if w.folder != nil {
		w.folder.Abort()
	}
}

package tokenise

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"golang.org/x/sync/errgroup"

	"tarn/keys/fault"
	"tarn/linkage/cohort"
	"tarn/linkage/cohort/outdir"
	"tarn/linkage/cohort/table"
	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// outputs are the files of a run, none of which has its name before commit.
type outputs struct {
	*setting
	crosswalk  *table.Writer
	groupTable *table.Writer
	quarantine *source.QuarantineWriter
	warnings   *source.QuarantineWriter
	cohort     *cohortFiles
	chainEnd   []byte
}

// checkOutputs refuses to replace what is not an earlier output of this
// command.
func (s *setting) checkOutputs() error {
	if s.PartRows > 0 {
		return nil // beginning the folder checks it
	}
	doing := "writing " + s.Out
	f, err := os.Open(s.Out)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fault.Wrap(fault.Usage, doing, err, "name another file with --out")
	}
	defer func() { _ = f.Close() }() // opened for reading
	var magic [4]byte
	if n, _ := f.Read(magic[:]); n == 0 || string(magic[:n]) != "PAR1" {
		return fault.New(fault.Usage, doing, "it exists and is not a Parquet file", "name another file with --out")
	}
	return nil
}

// unfinished matches what renameio and outdir append to the name of a file or
// folder until it is complete.
var unfinished = regexp.MustCompile(`^(\d+|\.partial-[0-9a-f]+)$`)

// removeUnfinished removes what a run that was killed left beside its outputs.
// The checkpoint's lock says that no run is writing them now.
func (s *setting) removeUnfinished() {
	for _, path := range []string{s.Out, cohort.ManifestPath(s.Out), s.Crosswalk, s.Groups, s.Options.Quarantine, s.Options.Warnings} {
		if path == "" {
			continue
		}
		folder, prefix := filepath.Dir(path), "."+filepath.Base(path)
		entries, err := os.ReadDir(folder)
		if err != nil {
			continue // creating the output will say so
		}
		for _, e := range entries {
			if rest, ok := strings.CutPrefix(e.Name(), prefix); ok && unfinished.MatchString(rest) {
				_ = os.RemoveAll(filepath.Join(folder, e.Name())) // nothing depends on it
			}
		}
	}
}

func (o *outputs) openTables(chainEnd []byte) (err error) {
	o.chainEnd = chainEnd
	o.crosswalk, err = table.Create(o.Crosswalk, arrow.NewSchema([]arrow.Field{
		table.Constant("source_dataset", o.SourceDataset), table.String("source_id", false, false), table.ID("unique_id")}, nil), o.Software)
	if err != nil || len(o.groups) == 0 {
		return err
	}
	columns := []arrow.Field{table.ID("unique_id")}
	for _, g := range o.groups {
		columns = append(columns, table.String(g.name, true, true))
	}
	o.groupTable, err = table.Create(o.Groups, arrow.NewSchema(columns, nil), o.Software)
	return err
}

// addEntry adds a row to the crosswalk and the groups. texts are the source id
// and the groups' values.
func (o *outputs) addEntry(id, texts []byte) error {
	sourceID, rest := takeText(texts)
	b := o.crosswalk.Builder()
	b.Field(0).(*array.StringBuilder).BinaryBuilder.Append(sourceID)
	b.Field(1).(*array.StringBuilder).BinaryBuilder.Append(id)
	if err := o.crosswalk.EndRow(); err != nil || o.groupTable == nil {
		return err
	}
	b = o.groupTable.Builder()
	b.Field(0).(*array.StringBuilder).BinaryBuilder.Append(id)
	for i := range o.groups {
		var value []byte
		if value, rest = takeText(rest); len(value) == 0 {
			b.Field(1 + i).AppendNull()
		} else {
			b.Field(1 + i).(*array.StringBuilder).BinaryBuilder.Append(value)
		}
	}
	return o.groupTable.EndRow()
}

func (o *outputs) finishTables() error {
	if _, err := o.crosswalk.Finish(o.runMetadata(o.chainEnd)); err != nil {
		return err
	}
	if o.groupTable == nil {
		return nil
	}
	_, err := o.groupTable.Finish()
	return err
}

func (o *outputs) openQuarantines() (err error) {
	if o.Options.Quarantine != "" {
		if o.quarantine, err = source.CreateQuarantine(o.Options.Quarantine); err != nil {
			return err
		}
	}
	if o.Options.Warnings != "" {
		o.warnings, err = source.CreateQuarantine(o.Options.Warnings)
	}
	return err
}

func (o *outputs) eachQuarantine(do func(*source.QuarantineWriter) error) error {
	for _, q := range []*source.QuarantineWriter{o.quarantine, o.warnings} {
		if q == nil {
			continue
		}
		if err := do(q); err != nil {
			return err
		}
	}
	return nil
}

func (o *outputs) finishQuarantines() error {
	return o.eachQuarantine((*source.QuarantineWriter).Finish)
}

func (o *outputs) commitQuarantines() error {
	return o.eachQuarantine((*source.QuarantineWriter).Commit)
}

func (o *outputs) openCohort(identity cohort.Identity) (err error) {
	o.cohort, err = newCohortFiles(o.setting, identity)
	return err
}

// rowsInBatch is the number of packed rows that pass from the merge to the
// writer at a time.
const rowsInBatch = 4096

// writeCohort writes the rows that next gives until io.EOF. Merging and writing
// run side by side.
func (o *outputs) writeCohort(ctx context.Context, next func() ([]byte, error)) error {
	group, ctx := errgroup.WithContext(ctx)
	full, empty := make(chan []byte, 2), make(chan []byte, 4)
	for range 4 {
		empty <- make([]byte, 0, rowsInBatch*o.packer.width)
	}
	group.Go(func() (err error) {
		defer fault.Contain(&err)
		defer close(full)
		for ended := false; !ended; {
			var batch []byte
			select {
			case batch = <-empty:
			case <-ctx.Done():
				return ctx.Err()
			}
			for batch = batch[:0]; len(batch) < cap(batch); {
				packed, err := next()
				if ended = errors.Is(err, io.EOF); ended {
					break
				}
				if err != nil {
					return err
				}
				batch = append(batch, packed...)
			}
			select {
			case full <- batch:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	group.Go(func() (err error) {
		defer fault.Contain(&err)
		var row cohort.Row
		for batch := range full {
			for rest := batch; len(rest) > 0; rest = rest[o.packer.width:] {
				o.packer.unpack(rest[:o.packer.width], &row)
				if err := o.cohort.append(&row); err != nil {
					return err
				}
			}
			empty <- batch // has room for all there are
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	return o.cohort.finish()
}

func (o *outputs) manifestFiles() []cohort.ManifestFile { return o.cohort.files }

// commit puts all files under their names, the manifest last.
func (o *outputs) commit(manifest *cohort.Manifest) error {
	if err := o.commitQuarantines(); err != nil {
		return err
	}
	for _, w := range []*table.Writer{o.crosswalk, o.groupTable} {
		if w == nil {
			continue
		}
		if _, err := w.Commit(); err != nil {
			return err
		}
	}
	if err := o.cohort.commit(); err != nil {
		return err
	}
	return cohort.WriteManifest(cohort.ManifestPath(o.Out), manifest)
}

// abort removes whatever is not committed.
func (o *outputs) abort() {
	for _, w := range []*table.Writer{o.crosswalk, o.groupTable} {
		if w != nil {
			w.Abort()
		}
	}
	_ = o.eachQuarantine(func(q *source.QuarantineWriter) error { q.Abort(); return nil })
	if o.cohort != nil {
		o.cohort.abort()
	}
}

func countsText(codes map[reason.Code]int64) string {
	names := make([]reason.Code, 0, len(codes))
	for code := range codes {
		names = append(names, code)
	}
	slices.SortFunc(names, func(a, b reason.Code) int { return cmp.Or(cmp.Compare(codes[b], codes[a]), cmp.Compare(a, b)) })
	var texts []string
	for _, code := range names {
		texts = append(texts, fmt.Sprintf("%s %d", code, codes[code]))
	}
	return strings.Join(texts, ", ")
}

// cohortFiles are the Parquet file of a cohort, or the folder of its parts.
type cohortFiles struct {
	*setting
	identity cohort.Identity
	folder   *outdir.Folder // nil for one file
	current  *cohort.Writer
	rows     int64 // of current
	files    []cohort.ManifestFile
}

func newCohortFiles(s *setting, identity cohort.Identity) (c *cohortFiles, err error) {
	c = &cohortFiles{setting: s, identity: identity}
	if s.PartRows > 0 {
		if c.folder, err = outdir.Begin(s.Out, isPartsFolder); err != nil {
			return nil, err
		}
	}
	return c, c.begin()
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
func (c *cohortFiles) path() string {
	if c.folder == nil {
		return c.Out
	}
	return filepath.Join(c.folder.Path(), c.name())
}

func (c *cohortFiles) name() string { return fmt.Sprintf("part-%05d.parquet", len(c.files)) }

func (c *cohortFiles) begin() (err error) {
	c.rows = 0
	c.current, err = cohort.Create(c.path(), c.layout, c.identity, c.Software)
	return err
}

func (c *cohortFiles) append(row *cohort.Row) error {
	if c.folder != nil && c.rows == c.PartRows {
		if err := c.end(); err != nil {
			return err
		}
		if err := c.begin(); err != nil {
			return err
		}
	}
	c.rows++
	return c.current.Append(row)
}

// end finishes the current file. A part gets its name at once, in a folder that
// has not got its own.
func (c *cohortFiles) end() error {
	file, err := c.current.Finish()
	if err != nil {
		return err
	}
	path := filepath.Base(c.Out)
	if c.folder != nil {
		path += "/" + c.name()
		if _, err := c.current.Commit(); err != nil {
			return err
		}
	}
	c.files = append(c.files, cohort.ManifestFile{Path: path, SHA256: file.SHA256, Rows: file.Rows})
	return nil
}

func (c *cohortFiles) finish() error { return c.end() }

func (c *cohortFiles) commit() error {
	if c.folder != nil {
		return c.folder.Commit()
	}
	_, err := c.current.Commit()
	return err
}

func (c *cohortFiles) abort() {
	c.current.Abort()
	if c.folder != nil {
		c.folder.Abort()
	}
}

package tokenise

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"golang.org/x/sync/errgroup"

	"tarn/keys/fault"
	"tarn/keys/outfile"
	"tarn/linkage/cohort"
	"tarn/linkage/cohort/parts"
	"tarn/linkage/cohort/table"
	"tarn/tokenise/escrow/escrowfile"
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
	cohort     *parts.Writer
	escrow     *escrowOutput
	chainEnd   []byte
}

// checkOutputs refuses to replace what is not an earlier output of this
// command.
func (s *setting) checkOutputs() error {
	if s.recipient != nil {
		others := []outfile.Input{{Flag: "--quarantine", Path: s.Options.Quarantine}, {Flag: "--warnings", Path: s.Options.Warnings}, {Flag: "--groups", Path: s.Groups}}
		err := outfile.Check("encoding a table", others, []outfile.Output{{Flag: "--out (its escrow)", Path: s.Escrow, Kind: "an escrow file",
			Earlier: func(start []byte) bool { return bytes.HasPrefix(start, []byte(escrowfile.Magic)) }}})
		if err != nil {
			return err
		}
	}
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

// removeUnfinished removes what a run that was killed left beside its outputs.
// The checkpoint's lock says that no run is writing them now.
func (s *setting) removeUnfinished() {
	outfile.RemoveUnfinished(s.Out, cohort.ManifestPath(s.Out), s.Crosswalk, s.Groups, s.Escrow, s.Options.Quarantine, s.Options.Warnings)
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
	o.cohort, err = parts.Create(o.Out, o.PartRows, o.layout, identity, o.Software)
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
				if err := o.cohort.Append(&row); err != nil {
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
	return o.cohort.Finish()
}

func (o *outputs) manifestFiles() []cohort.ManifestFile { return o.cohort.Files() }

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
	if o.escrow != nil {
		if err := o.escrow.commit(o.Escrow); err != nil {
			return err
		}
	}
	if err := o.cohort.Commit(); err != nil {
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
	if o.escrow != nil {
		o.escrow.abort()
	}
	_ = o.eachQuarantine(func(q *source.QuarantineWriter) error { q.Abort(); return nil })
	if o.cohort != nil {
		o.cohort.Abort()
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

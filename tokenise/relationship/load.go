package relationship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/tokenise/reason"
	"tarn/tokenise/relationship/table"
	"tarn/tokenise/source"
	"tarn/tokenise/spill"
)

// DefaultSortRows is how many rows are sorted in memory at a time, some 30 MB.
const DefaultSortRows = 1 << 19

// LoadOptions are the settings of a load.
type LoadOptions struct {
	In         string // CSV, NDJSON or Parquet, plain or compressed; "-" is Source.Stdin
	Source     source.Options
	Dir        string // the folder of the tables
	Quarantine string // where refused rows are listed; may be empty
	// MaxRefused is the share of rows that may be refused, 0 to 1. More, and the tables
	// stay as they were.
	MaxRefused float64
	// DropEpochs are token epochs of the same schemes and domains whose tables count no
	// more when the new ones do.
	DropEpochs []uint16
	DryRun     bool // read and count only
	Threads    int
	SortRows   int // 0 is DefaultSortRows
	Software   string
	Clock      func() time.Time // of what is written down
	Wall       func() time.Time // which day it is
	Progress   func(done, total int64)
}

// Loaded is what came of a load.
type Loaded struct {
	Input    source.Input
	Rows     int64                 // read
	Used     int64                 // in the new tables
	Ended    int64                 // left out because they ended before the day of the load
	Repeated int64                 // left out because they are there already; 0 with DryRun
	Refused  map[reason.Code]int64 // by their first reason
	Tables   []LoadedTable         // by scheme, domain and epoch
	Dropped  []table.Entry
}

// LoadedTable is one table that a load replaces. With DryRun it has no File, no Digest and
// no time, and counts repeated rows.
type LoadedTable struct {
	table.Entry
	Before *int64 // rows of the one before; nil where there was none
}

func (l *Loaded) refused() (n int64) {
	for _, count := range l.Refused {
		n += count
	}
	return n
}

const loading = "loading relationships"

// Load replaces the tables of those schemes, domains and epochs of which the input has
// tokens, all at once, or none. Other tables stay, but those of DropEpochs. A result comes
// with the error of more refused rows than are allowed, too.
func Load(ctx context.Context, o LoadOptions) (*Loaded, error) {
	l := &loader{o: o, counts: map[table.Key]int64{}, result: &Loaded{Refused: map[reason.Code]int64{}}}
	if l.o.SortRows == 0 {
		l.o.SortRows = DefaultSortRows
	}
	// A row that ended yesterday may still be asked for where clocks differ.
	l.oldest = table.DayOf(o.Wall()) - 1
	return l.load(ctx)
}

type loader struct {
	o          LoadOptions
	columns    columns
	oldest     table.Day // rows that ended before it are not kept
	rows       source.Reader
	quarantine *source.QuarantineWriter // nil: none
	sorting    *sorter                  // nil with DryRun
	counts     map[table.Key]int64      // rows of each table
	result     *Loaded
}

func (l *loader) load(ctx context.Context) (result *Loaded, err error) {
	if l.rows, err = source.Open(l.o.In, l.o.Source); err != nil {
		return nil, err
	}
	defer func() { _ = l.rows.Close() }() // opened for reading
	if l.columns, err = findColumns(l.rows.Header()); err != nil {
		return nil, err
	}
	if l.o.Quarantine != "" {
		if l.quarantine, err = source.CreateQuarantine(l.o.Quarantine); err != nil {
			return nil, err
		}
		defer l.quarantine.Abort()
	}
	if l.o.DryRun {
		return l.dryRun(ctx)
	}
	update, err := table.Begin(l.o.Dir)
	if err != nil {
		return nil, err
	}
	defer update.Close()
	scratch, err := update.Scratch()
	if err != nil {
		return nil, err
	}
	l.sorting = &sorter{folder: scratch, buffer: make([]table.Record, 0, l.o.SortRows)}
	if err := l.read(ctx); err != nil {
		return l.result, err
	}
	if err := l.write(ctx, update); err != nil {
		return nil, err
	}
	if l.quarantine != nil {
		if err := l.quarantine.Commit(); err != nil {
			return nil, err
		}
	}
	if err := update.Commit(l.o.Software, l.o.Clock()); err != nil {
		return nil, err
	}
	return l.result, nil
}

// dryRun reads and counts.
func (l *loader) dryRun(ctx context.Context) (*Loaded, error) {
	if err := l.read(ctx); err != nil {
		return l.result, err
	}
	var before []table.Entry
	switch document, err := table.Read(l.o.Dir); {
	case err == nil:
		before = document.Tables
	case !errors.Is(err, table.ErrNone):
		return nil, fault.Wrap(fault.Internal, loading, err, "see: tokeniser relationships list")
	}
	for key, rows := range l.counts {
		e := table.Entry{Scheme: keys.SchemeName(key.Scheme), DomainNo: key.DomainNo, TokenEpoch: key.TokenEpoch, Rows: rows}
		l.result.Tables = append(l.result.Tables, LoadedTable{Entry: e, Before: rowsOf(before, key)})
	}
	slices.SortFunc(l.result.Tables, func(a, b LoadedTable) int { return compareKeys(keyOf(&a.Entry), keyOf(&b.Entry)) })
	l.result.Dropped = l.dropped(before)
	if l.quarantine != nil {
		return l.result, l.quarantine.Commit()
	}
	return l.result, nil
}

func keyOf(e *table.Entry) table.Key {
	k, _ := e.Key() // what a document or a load has is one
	return k
}

func compareKeys(a, b table.Key) int {
	return slices.Compare([]uint32{uint32(a.Scheme), a.DomainNo, uint32(a.TokenEpoch)}, []uint32{uint32(b.Scheme), b.DomainNo, uint32(b.TokenEpoch)})
}

func rowsOf(tables []table.Entry, key table.Key) *int64 {
	for i := range tables {
		if keyOf(&tables[i]) == key {
			return &tables[i].Rows
		}
	}
	return nil
}

// dropped returns the tables of DropEpochs, of the schemes and domains of the input.
func (l *loader) dropped(before []table.Entry) (dropped []table.Entry) {
	for i := range before {
		k := keyOf(&before[i])
		if _, loaded := l.counts[k]; loaded || !slices.Contains(l.o.DropEpochs, k.TokenEpoch) {
			continue
		}
		for of := range l.counts {
			if of.Scheme == k.Scheme && of.DomainNo == k.DomainNo {
				dropped = append(dropped, before[i])
				break
			}
		}
	}
	return dropped
}

// read reads and judges all rows, and leaves those that count with the sorter.
func (l *loader) read(ctx context.Context) error {
	var batch source.Batch
	var judged []row
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := l.rows.Read(&batch)
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		judged = append(judged[:0], make([]row, len(batch.Rows))...)
		if err := l.judge(batch.Rows, judged); err != nil {
			return err
		}
		for i := range judged {
			if err := l.take(&judged[i]); err != nil {
				return err
			}
		}
		if l.o.Progress != nil {
			l.o.Progress(l.rows.Position())
		}
	}
	l.result.Input = l.rows.Input()
	return l.enough()
}

// judge reads rows, on several cores: most of the time goes into the tokens' checksums.
func (l *loader) judge(rows []source.Row, into []row) error {
	var work errgroup.Group
	share := (len(rows) + max(1, l.o.Threads) - 1) / max(1, l.o.Threads)
	for from := 0; from < len(rows); from += share {
		to := min(from+share, len(rows))
		work.Go(fault.Contained(func() error {
			for i := from; i < to; i++ {
				into[i] = l.columns.read(&rows[i])
			}
			return nil
		}))
	}
	return work.Wait()
}

// take counts a row, and keeps it where it counts.
func (l *loader) take(r *row) error {
	l.result.Rows++
	if len(r.problems) > 0 {
		l.result.Refused[r.problems[0].Code]++
		if l.quarantine == nil {
			return nil
		}
		for _, p := range r.problems {
			if err := l.quarantine.Append(r.number, "", p.Field, p.Code); err != nil {
				return err
			}
		}
		return nil
	}
	if _, known := l.counts[r.key]; !known && len(l.counts) == table.MaxTables {
		return fault.New(fault.Usage, loading, fmt.Sprintf("there are tokens of more than %d schemes, domains and epochs", table.MaxTables), "load those of one domain")
	}
	if r.row.To < l.oldest {
		l.result.Ended++
		l.counts[r.key] += 0 // its table is replaced all the same
		return nil
	}
	l.counts[r.key]++
	if l.sorting == nil {
		l.result.Used++
		return nil
	}
	return l.sorting.add(table.RecordOf(r.key, &r.row))
}

// enough refuses input with too many refused rows, or with none that counts. What was refused
// is listed all the same.
func (l *loader) enough() error {
	refused := l.result.refused()
	many := float64(refused) > l.o.MaxRefused*float64(l.result.Rows)
	if !many && len(l.counts) > 0 {
		return nil
	}
	next := "correct the table"
	if many {
		next += ", or allow more with --max-refused"
	}
	if l.quarantine != nil {
		if err := l.quarantine.Commit(); err != nil {
			return err
		}
		next = "read " + l.o.Quarantine + " for rows and reasons, then " + next
	}
	if many {
		return fault.New(fault.RowsRefused, loading, fmt.Sprintf("%d of %d rows were refused (%s), more than the %.3g%% allowed, so nothing is replaced",
			refused, l.result.Rows, countsText(l.result.Refused), 100*l.o.MaxRefused), next)
	}
	if refused > 0 {
		return fault.New(fault.Usage, loading, "none of its rows can be used, so nothing is replaced", next)
	}
	return fault.New(fault.Usage, loading, "it has no row, so nothing is replaced", "give a table with rows; tokeniser relationships drop removes the table of an epoch")
}

func countsText(counts map[reason.Code]int64) string {
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", code, counts[code]))
	}
	return strings.Join(parts, ", ")
}

// write merges the sorted rows into tables.
func (l *loader) write(ctx context.Context, update *table.Update) error {
	before := update.Tables()
	sorted, err := l.sorting.merge(ctx)
	if err != nil {
		return err
	}
	defer sorted.Close()
	next := func() (*table.Record, error) {
		b, err := sorted.Next()
		if errors.Is(err, io.EOF) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
		if len(b) != table.RecordSize {
			return nil, spill.ErrDamaged
		}
		r := table.Record(b)
		return &r, nil
	}
	record, err := next()
	if err != nil {
		return err
	}
	for _, key := range slices.SortedFunc(maps.Keys(l.counts), compareKeys) {
		w, err := update.Create(key, l.counts[key])
		if err != nil {
			return err
		}
		defer w.Abort()
		for record != nil {
			of, r := record.Split()
			if of != key {
				break
			}
			fresh, err := w.Append(&r)
			if err != nil {
				return err
			}
			if !fresh {
				l.result.Repeated++
			}
			if record, err = next(); err != nil {
				return err
			}
		}
		e, err := update.Put(w, l.o.Clock())
		if err != nil {
			return err
		}
		l.result.Used += e.Rows
		l.result.Tables = append(l.result.Tables, LoadedTable{Entry: e, Before: rowsOf(before, key)})
	}
	if record != nil {
		return fault.New(fault.Internal, loading, "a sorted row is in no table", "please report it")
	}
	l.result.Dropped = l.dropped(before)
	for i := range l.result.Dropped {
		update.Drop(keyOf(&l.result.Dropped[i]))
	}
	return nil
}

// sorter sorts rows in bounded memory: pieces of them are sorted, kept on disk, and merged.
type sorter struct {
	folder string
	buffer []table.Record
	chunks []*spill.Chunk
}

func (s *sorter) add(r table.Record) error {
	if s.buffer = append(s.buffer, r); len(s.buffer) < cap(s.buffer) {
		return nil
	}
	return s.flush()
}

func (s *sorter) flush() error {
	slices.SortFunc(s.buffer, func(a, b table.Record) int { return bytes.Compare(a[:], b[:]) })
	path := filepath.Join(s.folder, fmt.Sprintf("chunk-%06d", len(s.chunks)))
	w, err := spill.Create(path)
	if err != nil {
		return sorting(err)
	}
	defer w.Abort()
	w.Begin()
	for i := range s.buffer {
		if err := w.Append(s.buffer[i][:]); err != nil {
			return sorting(err)
		}
	}
	if err := w.Commit(nil); err != nil {
		return sorting(err)
	}
	c, err := spill.Open(path)
	if err != nil {
		return sorting(err)
	}
	s.chunks, s.buffer = append(s.chunks, c), s.buffer[:0]
	return nil
}

func (s *sorter) merge(ctx context.Context) (*spill.Merger, error) {
	if err := s.flush(); err != nil {
		return nil, err
	}
	s.buffer = nil // its memory is for the merge
	m, err := spill.Merge(ctx, s.chunks, 0, s.folder)
	if err != nil {
		return nil, sorting(err)
	}
	return m, nil
}

func sorting(err error) error {
	return fault.Wrap(fault.Internal, "sorting relationships", err, "free space on the disk of the tables' folder, about 60 bytes a row, then load again")
}

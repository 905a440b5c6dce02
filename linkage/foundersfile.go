package linkage

import (
	"context"
	"math"
	"path/filepath"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"tarn/keys/fault"
	"tarn/linkage/cohort"
	"tarn/linkage/cohort/table"
)

// The table of founders: every record that the jobs of a state have seen, by
// data set and unique_id. Records that a party's cohort does not have any more
// are forgotten; those of a party that a job leaves out are carried on.
var foundersColumns = []string{"source_dataset", "unique_id", "founder_dataset", "founder_id", "first_run"}

func foundersSchema() *arrow.Schema {
	const width = len(cohort.ID{})
	return arrow.NewSchema([]arrow.Field{
		table.String(foundersColumns[0], false, true), table.Fixed(foundersColumns[1], width, false),
		table.String(foundersColumns[2], true, true), table.Fixed(foundersColumns[3], width, true), // null where the record is its own
		table.Int32(foundersColumns[4], false),
	}, nil)
}

// foundersRun is the metadata key of the run that left the table.
const foundersRun = "tarn.run_id"

// founderRow is one row of the table.
type founderRow struct {
	record  reference
	founder reference // the record itself, if it is its own
	first   int32
}

// openFounders opens the table that the last run has left. An id must not change
// because a file was lost, so that it is an error where it is not there.
func (j *job) openFounders() (r *table.Reader, damaged, err error) {
	path := filepath.Join(j.State, foundersFile(j.earlier))
	damaged = fault.New(fault.Usage, "reading the linker's state "+shownState(path), "it is damaged or not there", "restore it, or name another folder with --state for new cluster ids")
	r, err = table.Open(path)
	if err != nil {
		return nil, damaged, damaged
	}
	if run, _ := r.Metadata(foundersRun); run != j.earlier {
		_ = r.Close() // opened for reading
		return nil, damaged, damaged
	}
	return r, damaged, nil
}

// checkFounders refuses a state without its table before any work is done.
func (j *job) checkFounders() error {
	if j.earlier == "" {
		return nil
	}
	r, _, err := j.openFounders()
	if err == nil {
		err = r.Close()
	}
	return err
}

// scanFounders calls f with each row of the table that the last run has left.
func (j *job) scanFounders(ctx context.Context, f func(*founderRow) error) error {
	r, damaged, err := j.openFounders()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // opened for reading
	var last reference
	started := false
	return r.Scan(ctx, foundersColumns, func(batch arrow.RecordBatch) error {
		var row founderRow
		records, err := j.references(batch, 0)
		if err != nil {
			return damaged
		}
		own, err := j.references(batch, 2)
		first, ok := batch.Column(4).(*array.Int32)
		if err != nil || !ok {
			return damaged
		}
		for i := range int(batch.NumRows()) {
			whole := true
			if row.record, whole = records(i); !whole || started && (row.record.source == last.source && row.record.id.Compare(last.id) <= 0) {
				return damaged
			}
			last, started = row.record, true
			if row.founder, ok = own(i); !ok {
				row.founder = row.record
			}
			if row.first = first.Value(i); row.first < 1 {
				return damaged
			}
			if err := f(&row); err != nil {
				return err
			}
		}
		return nil
	})
}

// references reads two columns, a data set and an id. The function returns
// false for null.
func (j *job) references(batch arrow.RecordBatch, at int) (func(i int) (reference, bool), error) {
	names, err := table.Strings(batch.Column(at), foundersColumns[at])
	if err != nil {
		return nil, err
	}
	ids, err := table.Bytes(batch.Column(at+1), foundersColumns[at+1], len(cohort.ID{}))
	if err != nil {
		return nil, err
	}
	last := reference{}
	return func(i int) (reference, bool) {
		name, ok := names(i)
		id, err := ids(i)
		if !ok || id == nil || err != nil {
			return reference{}, false
		}
		if j.founders.sources[last.source] != name {
			last.source = j.founders.source(name)
		}
		last.id = cohort.ID(id)
		return last, true
	}, nil
}

// source returns the number of a data set.
func (f *founders) source(name string) uint16 {
	at := slices.Index(f.sources, name)
	if at < 0 {
		at = len(f.sources)
		f.sources = append(f.sources, name)
	}
	return uint16(at)
}

// readFounders reads what the last run has left of the job's records.
func (j *job) readFounders(ctx context.Context) error {
	f := &j.founders
	f.sources = nil
	for _, p := range j.cohorts {
		f.sources = append(f.sources, p.SourceDataset())
	}
	if j.earlier == "" {
		return nil
	}
	j.orderRows()
	f.bearer, f.first = make([]int32, j.people.Total()), make([]uint16, j.people.Total())
	for i := range f.bearer {
		f.bearer[i] = -1
	}
	var claims []absentFounder
	find, next := j.newFinder(), make([]int, len(j.cohorts))
	err := j.scanFounders(ctx, func(row *founderRow) error {
		number := int32(-1)
		if source := int(row.record.source); source < len(j.cohorts) {
			// Both are in order: what comes before the row is new.
			p, at := j.cohorts[source], next[source]
			for at < len(p.byID) && p.ids[p.byID[at]].Compare(row.record.id) < 0 {
				at++
			}
			if next[source] = at; at == len(p.byID) || p.ids[p.byID[at]] != row.record.id {
				return nil // the party has it no more
			}
			number = j.people.Number(source, p.byID[at])
			f.first[number] = uint16(min(row.first, math.MaxUint16))
		} else {
			f.others = true
		}
		founder := number
		if row.founder != row.record {
			founder = find.find(row.founder)
		}
		switch {
		case founder >= 0:
			// A founder that is here again bears the id that was borne for it.
			f.bearer[founder] = founder
			if number >= 0 && f.bearer[number] != number {
				f.bearer[number] = founder
			}
		case number >= 0 && f.bearer[number] != number:
			claims = append(claims, absentFounder{row.founder, number})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range f.first {
		if f.first[i] == 0 {
			f.first[i] = uint16(min(j.number, math.MaxUint16))
		}
	}
	claims = slices.DeleteFunc(claims, func(c absentFounder) bool { return f.bearer[c.bearer] >= 0 })
	j.assignAbsent(claims)
	return nil
}

// writeFounders writes the table that the run leaves, and the state with it.
func (j *job) writeFounders(ctx context.Context, c *clusters) error {
	w, err := table.Create(filepath.Join(j.State, foundersFile(j.runID)), foundersSchema(), j.Software)
	if err != nil {
		return err
	}
	defer w.Abort()
	f := &j.founders
	put := func(row *founderRow) error {
		b := w.Builder()
		b.Field(0).(*array.StringBuilder).Append(f.sources[row.record.source])
		b.Field(1).(*array.FixedSizeBinaryBuilder).Append(row.record.id[:])
		if row.founder == row.record {
			b.Field(2).AppendNull()
			b.Field(3).AppendNull()
		} else {
			b.Field(2).(*array.StringBuilder).Append(f.sources[row.founder.source])
			b.Field(3).(*array.FixedSizeBinaryBuilder).Append(row.founder.id[:])
		}
		b.Field(4).(*array.Int32Builder).Append(row.first)
		return w.EndRow()
	}
	// The job's own parties and those that are carried on come in one order.
	next := 0
	own := func(until string) error {
		for ; next < len(j.cohorts) && (until == "" || f.sources[next] < until); next++ {
			if err := j.founderRows(c, next, put); err != nil {
				return err
			}
		}
		return nil
	}
	if f.others {
		find := j.newFinder()
		err := j.scanFounders(ctx, func(row *founderRow) error {
			if int(row.record.source) < len(j.cohorts) {
				return nil
			}
			if bearer := f.bearerOf(find, row.founder); bearer >= 0 {
				row.founder = j.founderOf(c.Founder[bearer]) // where its cluster is merged into another, so is it
			}
			if err := own(f.sources[row.record.source]); err != nil {
				return err
			}
			return put(row)
		})
		if err != nil {
			return err
		}
	}
	if err := own(""); err != nil {
		return err
	}
	if _, err := w.Commit(table.KeyValue{Key: foundersRun, Value: j.runID}); err != nil {
		return err
	}
	return j.state.leave(stateRun{Job: j.jobID, RunID: j.runID, Number: j.number})
}

// founderRows calls put with the rows of one of the job's parties.
func (j *job) founderRows(c *clusters, source int, put func(*founderRow) error) error {
	p := j.cohorts[source]
	row := founderRow{first: int32(min(j.number, math.MaxUint16))}
	for _, at := range p.byID {
		number := j.people.Number(source, at)
		row.record = reference{uint16(source), p.ids[at]}
		row.founder = j.founderOf(c.Founder[number])
		if j.founders.bearer != nil {
			row.first = int32(j.founders.first[number])
		}
		if err := put(&row); err != nil {
			return err
		}
	}
	return nil
}

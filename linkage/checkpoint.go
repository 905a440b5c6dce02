package linkage

import (
	"context"
	"os"
	"path/filepath"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"tarn/keys/fault"
	"tarn/linkage/cohort/table"
	"tarn/linkage/compare"
)

// CheckpointFile, in the checkpoint folder, is what comparing found: all that later stages need of the
// encodings. What comes before it is read again, which also shows that the
// inputs are still the same; what comes after it takes less time than to read
// how far it had come.
const CheckpointFile = "compare.parquet"

// Metadata keys: the run's identity, and the version that compared, since
// another may keep other pairs.
const (
	checkpointRun      = "tarn.run_id"
	checkpointSoftware = "tarn.software"
)

// Kinds of row in a checkpoint.
const (
	rowCross   = iota // index is the stratum, a the pattern, b the count
	rowWithin         // index is the side, a the pattern, b the count
	rowPresent        // index is the side, a the field, b the records that have it
	rowEmpty          // index is the side, b the records without anything
	rowPass           // index is the pass, b the pairs it compared
	rowKept           // index is the stratum, a left<<32 | right, b the pattern
)

var checkpointSchema = arrow.NewSchema([]arrow.Field{table.Int8("kind", false), table.Int32("index", false), table.Int64("a", false), table.Int64("b", false)}, nil)

// writeCheckpoint keeps what comparing found, for a job that goes on later.
func (j *job) writeCheckpoint() error {
	if j.Checkpoint == "" {
		return nil
	}
	w, err := table.Create(filepath.Join(j.Checkpoint, CheckpointFile), checkpointSchema, j.Software)
	if err != nil {
		return err
	}
	defer w.Abort()
	err = j.checkpointRows(func(kind int8, index int32, a, b int64) error {
		x := w.Builder()
		x.Field(0).(*array.Int8Builder).Append(kind)
		x.Field(1).(*array.Int32Builder).Append(index)
		x.Field(2).(*array.Int64Builder).Append(a)
		x.Field(3).(*array.Int64Builder).Append(b)
		return w.EndRow()
	})
	if err != nil {
		return err
	}
	f, err := w.Commit(table.KeyValue{Key: checkpointRun, Value: j.runID}, table.KeyValue{Key: checkpointSoftware, Value: j.Software})
	if err != nil {
		return err
	}
	j.disk.add(f.Bytes)
	return nil
}

func (j *job) checkpointRows(row func(kind int8, index int32, a, b int64) error) error {
	counts := func(kind int8, index int, h []int64) error {
		for code, n := range h {
			if n != 0 {
				if err := row(kind, int32(index), int64(code), n); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for i := range j.found.Cross {
		if err := counts(rowCross, i, j.found.Cross[i].Counts); err != nil {
			return err
		}
		for p := range j.found.Cross[i].Kept.All() {
			if err := row(rowKept, int32(i), int64(p.Left)<<32|int64(p.Right), int64(p.Code)); err != nil {
				return err
			}
		}
	}
	for pass, n := range j.found.Passes {
		if err := row(rowPass, int32(pass), 0, n); err != nil {
			return err
		}
	}
	for side := range j.found.Within {
		if err := counts(rowWithin, side, j.found.Within[side]); err != nil {
			return err
		}
		if err := counts(rowPresent, side, j.found.Census[side].Present); err != nil {
			return err
		}
		if err := row(rowEmpty, int32(side), 0, j.found.Census[side].Empty); err != nil {
			return err
		}
	}
	return nil
}

// readCheckpoint reads what comparing found, and reports whether there is such
// a thing of this very job. One that is not whole is as good as none.
func (j *job) readCheckpoint(ctx context.Context) (bool, error) {
	path := filepath.Join(j.Checkpoint, CheckpointFile)
	if _, err := os.Stat(path); j.Checkpoint == "" || err != nil {
		return false, nil
	}
	r, err := table.Open(path)
	if err != nil {
		j.note("what an earlier run had kept cannot be read; the work begins again")
		return false, nil
	}
	defer func() { _ = r.Close() }() // opened for reading
	run, _ := r.Metadata(checkpointRun)
	if software, _ := r.Metadata(checkpointSoftware); run != j.runID || software != j.Software {
		j.note("what an earlier run had kept is of another job (cohorts, parameters, state or version differ); the work begins again")
		return false, nil
	}
	found := j.comparison(j.keep, "compare").NewOutcome()
	damaged := fault.New(fault.Usage, "going on from "+j.Checkpoint, "it is damaged", "leave out --resume to begin anew")
	err = r.Scan(ctx, []string{"kind", "index", "a", "b"}, func(batch arrow.RecordBatch) error {
		kind, index := batch.Column(0).(*array.Int8), batch.Column(1).(*array.Int32)
		a, b := batch.Column(2).(*array.Int64), batch.Column(3).(*array.Int64)
		for i := range int(batch.NumRows()) {
			if !j.restore(found, kind.Value(i), int(index.Value(i)), a.Value(i), b.Value(i)) {
				return damaged
			}
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	if len(found.Passes) != len(j.passes) {
		return false, damaged
	}
	j.found = found
	j.note("pairs had been compared before the interruption; going on from there")
	return true, nil
}

// restore adds one row to an outcome and reports whether the outcome has a
// place for it.
func (j *job) restore(found *compare.Outcome, kind int8, index int, a, b int64) bool {
	at := func(h []int64) bool {
		if a < 0 || a >= int64(len(h)) {
			return false
		}
		h[a] = b
		return true
	}
	places := len(found.Within)
	switch kind {
	case rowCross, rowKept:
		places = len(found.Cross)
	case rowPass:
		places = len(j.passes)
	}
	if index < 0 || index >= places || b < 0 {
		return false
	}
	switch kind {
	case rowCross:
		return at(found.Cross[index].Counts)
	case rowWithin:
		return at(found.Within[index])
	case rowPresent:
		return at(found.Census[index].Present)
	case rowEmpty:
		found.Census[index].Empty = b
		return true
	case rowPass:
		found.Passes = append(found.Passes, b)
		return index == len(found.Passes)-1 // they come in order
	case rowKept:
		t, s := &found.Cross[index], &j.strata[index]
		left, right := a>>32, a&(1<<32-1)
		t.Kept.Append(compare.Pair{Left: int32(left), Right: int32(right), Code: uint32(b)})
		return left >= 0 && left < int64(s.left.Rows()) && right < int64(s.right.Rows()) && b < int64(len(t.Counts))
	}
	return false
}

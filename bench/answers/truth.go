// Package answers holds what the tokenise service answered to what tokeniser run made of the
// same people, cell by cell, whatever form the answer came in.
package answers

import (
	"context"
	"encoding/hex"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"tarn/keys/fault"
	"tarn/linkage/cohort"
	"tarn/linkage/cohort/table"
	"tarn/tokenise/batch"
)

// Truth is what tokeniser run made of the people, by the ids of their table. Who is not
// in it was refused.
type Truth struct {
	Epoch  uint32 // of tokens
	layout cohort.Layout
	rows   map[string]*cohort.Row
}

// ReadTruth reads a cohort with its crosswalk.
func ReadTruth(ctx context.Context, path string) (*Truth, error) {
	ids := map[string]string{}
	r, err := table.Open(batch.CrosswalkPath(path))
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // opened for reading
	err = r.Scan(ctx, []string{"source_id", "unique_id"}, func(b arrow.RecordBatch) error {
		source, err := table.Strings(b.Column(0), "source_id")
		if err != nil {
			return err
		}
		unique, err := table.Strings(b.Column(1), "unique_id")
		if err != nil {
			return err
		}
		for i := range int(b.NumRows()) {
			s, _ := source(i)
			u, _ := unique(i)
			ids[strings.Clone(u)] = strings.Clone(s) // they share the batch's memory
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	f, err := cohort.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	records, err := f.Records()
	if err != nil {
		return nil, err
	}
	t := &Truth{Epoch: f.Manifest.TokenEpoch, layout: f.Layout, rows: make(map[string]*cohort.Row, f.Rows())}
	for {
		rows := make([]cohort.Row, 1000)
		n, err := records.Read(rows)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		for i := range rows[:n] {
			id, known := ids[hex.EncodeToString(rows[i].UniqueID[:])]
			if !known {
				return nil, fault.New(fault.Internal, "reading what a run made", "a record is not in the crosswalk", "")
			}
			t.rows[id] = &rows[i]
		}
	}
	if len(t.rows) == 0 {
		return nil, fault.New(fault.Internal, "reading what a run made", "it has no records", "")
	}
	return t, nil
}

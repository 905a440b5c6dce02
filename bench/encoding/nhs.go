package encoding

import (
	"context"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"tarn/keys/secret"
	"tarn/tokenise"
	"tarn/tokenise/demographics"
	"tarn/tokenise/encode"
	"tarn/tokenise/reason"
)

// encodeRate returns the records per second at which a profile's encoder turns
// raw values into encodings: normalised, and then encoded by date of birth in
// chunks, as tokeniser run does it. Keys and tables are made anew.
func encodeRate(ctx context.Context, preset string, table *rawTable, threads int) (float64, error) {
	profile, err := encode.LoadProfile(preset, "")
	if err != nil {
		return 0, err
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads)) // the collector's work counts too
	debug.FreeOSMemory()
	start := time.Now()
	encoder, err := encode.NewEncoder(profile, secret.New([secret.Size]byte{1}), "bench", 1)
	if err != nil {
		return 0, err
	}
	for from := 0; from < table.len(); from += tokenise.DefaultChunkRows {
		if err := encodeChunk(encoder, profile, table, from, min(from+tokenise.DefaultChunkRows, table.len()), threads); err != nil {
			return 0, err
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
	}
	return float64(table.len()) / time.Since(start).Seconds(), nil
}

type waiting struct {
	date   uint32
	record string
}

// encodeChunk encodes the rows from first to end.
func encodeChunk(encoder *encode.Encoder, profile *encode.Profile, table *rawTable, first, end, threads int) error {
	records := make([]waiting, end-first)
	err := inParallel(len(records), threads, func(from, to int) error {
		normaliser := profile.NewNormaliser(demographics.Date{Year: 2026, Month: 1, Day: 1})
		var record encode.Record
		var values []string
		raw := func(field string) string {
			if i, ok := table.columns[field]; ok {
				return values[i]
			}
			return ""
		}
		var arena []byte
		ends := make([]int, 0, to-from)
		for i := from; i < to; i++ {
			values = table.row(first+i, values)
			normaliser.Normalise(raw, &record, func(string, reason.Code) {})
			records[i].date = record.DateOfBirth.Ordinal()
			arena = record.Append(arena)
			ends = append(ends, len(arena))
		}
		text, at := string(arena), 0
		for i, end := range ends {
			records[from+i].record = text[at:end]
			at = end
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(records, func(a, b waiting) int { return int(a.date) - int(b.date) })
	return inParallel(len(records), threads, func(from, to int) error {
		worker := encoder.NewWorker()
		var record encode.Record
		var out encode.Encoded
		for _, w := range records[from:to] {
			record.Read(w.record, len(profile.Encoding.Fields))
			if err := worker.Encode(&record, &out); err != nil {
				return err
			}
		}
		return nil
	})
}

// inParallel divides 0..n among threads.
func inParallel(n, threads int, do func(from, to int) error) error {
	errs := make([]error, threads)
	var group sync.WaitGroup
	for i := range threads {
		group.Go(func() { errs[i] = do(n*i/threads, n*(i+1)/threads) })
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// allocations returns the allocations a record of a worker that has seen the
// record's date.
func allocations(preset string, table *rawTable) (float64, error) {
	profile, err := encode.LoadProfile(preset, "")
	if err != nil {
		return 0, err
	}
	encoder, err := encode.NewEncoder(profile, secret.New([secret.Size]byte{1}), "bench", 1)
	if err != nil {
		return 0, err
	}
	table = table.first(2000)
	normaliser, records := profile.NewNormaliser(demographics.Date{Year: 2026, Month: 1, Day: 1}), make([]encode.Record, table.len())
	for i := range records {
		row := table.row(i, nil)
		normaliser.Normalise(func(field string) string {
			if at, ok := table.columns[field]; ok {
				return row[at]
			}
			return ""
		}, &records[i], func(string, reason.Code) {})
		for j := range records[i].Values {
			records[i].Values[j].Parts = slices.Clone(records[i].Values[j].Parts)
		}
	}
	worker, out := encoder.NewWorker(), encode.Encoded{}
	encodeAll := func() {
		for i := range records {
			if e := worker.Encode(&records[i], &out); e != nil {
				err = e
			}
		}
	}
	encodeAll()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	encodeAll()
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / float64(len(records)), err
}

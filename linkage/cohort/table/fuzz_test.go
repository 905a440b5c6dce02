package table

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"

	"tarn/keys/fault"
)

// fuzzRows is as far as a damaged table is read.
const fuzzRows = 20_000

// fuzzTable is a whole table, for seeds.
func fuzzTable(t testing.TB, properties ...parquet.WriterProperty) []byte {
	kinds := []columnKind{columnKinds[0], columnKinds[4], columnKinds[5], columnKinds[6], columnKinds[7]}
	var rows [][]value
	nullable := make([]bool, len(kinds))
	for i := range 40 {
		var row []value
		for k := range kinds {
			nullable[k] = k%2 == 0
			if v := someValues[(i+k)%len(someValues)]; kinds[k].all || nullable[k] && i%3 == 0 {
				row = append(row, value{})
			} else {
				row = append(row, v)
			}
		}
		rows = append(rows, row)
	}
	return encodeTable(t, kinds, nullable, rows, 30, properties...)
}

// readAll opens a table and reads all of it by cursors and by Scan, whatever
// type its columns say that they have.
func readAll(ctx context.Context, path string) []error {
	r, err := Open(path)
	if err != nil {
		return []error{err}
	}
	defer func() { _ = r.Close() }()
	errs := []error{nil}
	rows := int(min(r.Rows(), fuzzRows))
	for _, field := range r.Schema().Fields() {
		for _, text := range []bool{true, false} {
			c, err := r.Cursor(field.Name)
			if err == nil {
				_, err = readPieces(c, text, rows, func() int { return 1000 })
			}
			errs = append(errs, err)
		}
		r.SoleText(field.Name)
		r.Rounded(field.Name)
	}
	if rows < fuzzRows {
		errs = append(errs, r.Scan(ctx, []string{"text", "int64"}, func(arrow.RecordBatch) error { return nil }))
	}
	return errs
}

// checkDamaged reads a table that may be damaged in any way: that is an error
// of the user's, not a panic, and takes no memory that the file is not worth.
func checkDamaged(t testing.TB, path string, b []byte) {
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, err := range readAll(t.Context(), path) {
		if err != nil && fault.KindOf(err) != fault.Usage {
			t.Errorf("got %v", err)
		}
	}
	runtime.ReadMemStats(&after)
	if err := os.Remove(path); err != nil { // to write over a file waits for the disk
		t.Fatal(err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 256<<20 {
		t.Errorf("reading %d bytes took %d bytes of memory", len(b), used)
	}
}

// FuzzDamaged reads files that are damaged.
func FuzzDamaged(f *testing.F) {
	for _, whole := range damagedSeeds(f) {
		f.Add(whole)
		f.Add(whole[:len(whole)/2])
		for i := 0; i < len(whole); i += len(whole)/10 + 1 {
			b := append([]byte{}, whole...)
			b[i] ^= 1 << (i % 8)
			f.Add(b)
		}
	}
	path := filepath.Join(f.TempDir(), "t.parquet")
	f.Fuzz(func(t *testing.T, b []byte) { checkDamaged(t, path, b) })
}

func damagedSeeds(t testing.TB) [][]byte {
	return [][]byte{
		fuzzTable(t, parquet.WithDictionaryDefault(false), parquet.WithCompression(compress.Codecs.Uncompressed)),
		fuzzTable(t, parquet.WithDictionaryDefault(true), parquet.WithCompression(compress.Codecs.Snappy), parquet.WithDataPageVersion(parquet.DataPageV2)),
		fuzzTable(t, parquet.WithDictionaryDefault(true), parquet.WithCompression(compress.Codecs.Zstd)),
	}
}

// damageStep is how many bytes lie between those that are damaged: with 1, which
// was tried, it takes minutes.
const damageStep = 41

// TestDamagedAndCutShort damages small tables in single bits, and cuts them.
func TestDamagedAndCutShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.parquet")
	for k, whole := range damagedSeeds(t) {
		for i := k; i < len(whole); i += damageStep {
			b := append([]byte{}, whole...)
			b[i] ^= 1 << ((i + k) % 8)
			checkDamaged(t, path, b)
			if i%3 == 0 {
				checkDamaged(t, path, whole[:i])
			}
			if t.Failed() {
				t.Fatalf("table %d, byte %d of %d", k, i, len(whole))
			}
		}
	}
}

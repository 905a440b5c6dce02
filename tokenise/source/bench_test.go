package source_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tarn/tokenise/source"
)

// benchTables are 50,000 rows of ten columns in each form.
func benchTables(b *testing.B) map[string][]byte {
	names := strings.Split("unique_id,nhs_number,given_name,family_name,date_of_birth,sex,postcode,ethnic_group,imd_decile,practice", ",")
	var plain, quoted, json bytes.Buffer
	plain.WriteString(strings.Join(names, ",") + "\n")
	quoted.WriteString(strings.Join(names, ",") + "\n")
	for i := range 50_000 {
		cells := []string{fmt.Sprintf("A%07d", i), fmt.Sprintf("9%09d", i), "Quetzalina", "Xylander", "1973-10-22", "2", "SW1A 2AA", "A", "4", "Y00001"}
		plain.WriteString(strings.Join(cells, ",") + "\n")
		quoted.WriteString(`"` + strings.Join(cells, `","`) + "\"\n")
		for c, cell := range cells {
			json.WriteString(map[bool]string{true: "{", false: ","}[c == 0] + `"` + names[c] + `":"` + cell + `"`)
		}
		json.WriteString("}\n")
	}
	all := map[string][]byte{"plain.csv": plain.Bytes(), "quoted.csv": quoted.Bytes(), "rows.ndjson": json.Bytes()}
	all["plain.csv.gz"], all["plain.csv.zst"] = packed(b, "gzip", all["plain.csv"]), packed(b, "zstd", all["plain.csv"])
	all["rows.parquet"] = asParquet(b, names, all["plain.csv"])
	return all
}

// BenchmarkRead reads tables from files; rows/s is of one core.
func BenchmarkRead(b *testing.B) {
	folder := b.TempDir()
	for name, text := range benchTables(b) {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			b.Fatal(err)
		}
		for _, encoding := range []string{source.EncodingUTF8, source.EncodingAuto} {
			b.Run(name+"/"+encoding, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(text)))
				rows := 0
				var batch source.Batch
				for b.Loop() {
					r, err := source.Open(path, source.Options{Encoding: encoding})
					if err != nil {
						b.Fatal(err)
					}
					for {
						if err := r.Read(&batch); errors.Is(err, io.EOF) {
							break
						} else if err != nil {
							b.Fatal(err)
						}
						rows += len(batch.Rows)
					}
					if err := r.Close(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}

// TestReadingNeedsLittleMemory: reading CSV allocates for a batch, not for a
// row, quoted or not.
func TestReadingNeedsLittleMemory(t *testing.T) {
	for name, line := range map[string]string{"plain": "1,Quetzalina,Xylander,1973-10-22\n", "quoted": "\"1\",\"Quetz \"\"al\"\" ina\",\"Xy\nlander\",\"1973-10-22\"\n"} {
		text := "a,b,c,d\n" + strings.Repeat(line, 50_000)
		var batch source.Batch
		n := testing.AllocsPerRun(3, func() {
			r, err := source.Open("-", source.Options{Stdin: strings.NewReader(text)})
			if err != nil {
				t.Fatal(err)
			}
			for err == nil {
				err = r.Read(&batch)
			}
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		})
		if n > 150 {
			t.Errorf("%s: %g allocations for 50,000 rows", name, n)
		}
	}
}

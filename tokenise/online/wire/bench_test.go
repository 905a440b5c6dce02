package wire_test

import (
	"testing"

	"tarn/tokenise/online/wire"
)

// BenchmarkDecode reads a thousand rows of seven fields in each form.
func BenchmarkDecode(b *testing.B) {
	const rows = 1000
	columns := map[string][]string{}
	for name, text := range map[string]string{
		"unique_id": "A0000017", "nhs_number": "9990000018", "given_name": "Quetzalina", "family_name": "Xylander", "date_of_birth": "1973-10-22", "sex": "2", "postcode": "SW1A 2AA",
	} {
		for range rows {
			columns[name] = append(columns[name], text)
		}
	}
	bodies := map[wire.Format][]byte{wire.Arrow: stream(b, rows, columns)}
	bodies[wire.JSON], bodies[wire.NDJSON], bodies[wire.CSV] = written(columns, rows)
	for _, f := range wire.Formats {
		b.Run(f.MediaType(), func(b *testing.B) {
			d := wire.NewDecoder()
			b.ReportAllocs()
			b.SetBytes(int64(len(bodies[f])))
			for b.Loop() {
				if r, err := d.Decode(f, bodies[f], rows); err != nil || len(r.Rows) != rows {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

package jsonlines_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"tarn/tokenise/source/jsonlines"
	"tarn/tokenise/source/stream"
)

func BenchmarkScan(b *testing.B) {
	line := `{"unique_id":"A0000017","nhs_number":9434765919,"given_name":"Quetzalina","family_name":"Xylander","date_of_birth":"1973-10-22","sex":"2","postcode":"SW1A 2AA","ethnic_group":"A","imd_decile":4,"practice":"Y00001"}` + "\n"
	text := strings.Repeat(line, 10000)
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	var r jsonlines.Record
	rows := 0
	for b.Loop() {
		s := jsonlines.New(stream.NewWindow(strings.NewReader(text)), 1<<20)
		for {
			if err := s.Next(&r); errors.Is(err, io.EOF) {
				break
			} else if err != nil || r.Problem != "" {
				b.Fatal(err, r.Problem)
			}
			rows++
		}
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
}

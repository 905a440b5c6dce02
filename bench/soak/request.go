package soak

import (
	"bytes"

	"github.com/klauspost/compress/gzip"

	"tarn/bench/load"
	"tarn/keys/fault"
	"tarn/tokenise/online/wire"
)

// What requests have.
const (
	bulkRows = 1000
	singles  = 200 // people who come by themselves
)

// template is a request that is sent, under many ids, in a form.
type template struct {
	number int
	format wire.Format
	ids    []string // of its rows
	plain  load.Request
	packed load.Request // the same, and its answer asked for packed
}

// templates are the requests of a table of people: the same for the same table. The first
// of them are of one person each, the others of a thousand.
type templates struct {
	all   []*template
	small int
}

func newTemplates(header []string, rows [][]string) (*templates, error) {
	t := &templates{}
	column := -1
	for c, name := range header {
		if name == "unique_id" {
			column = c
		}
	}
	if column < 0 || len(rows) < bulkRows {
		return nil, fault.New(fault.Internal, "making requests", "the table has no ids, or fewer than a thousand people", "")
	}
	add := func(rows [][]string) error {
		for _, f := range wire.Formats {
			body, err := load.Body(f, header, rows)
			if err != nil {
				return fault.New(fault.Internal, "making requests", "rows cannot be written", "")
			}
			one := &template{number: len(t.all), format: f}
			for _, row := range rows {
				one.ids = append(one.ids, row[column])
			}
			one.plain = load.Request{Media: f.MediaType(), Body: body, Rows: len(rows)}
			one.packed = one.plain
			one.packed.Header = map[string]string{"Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
			if one.packed.Body, err = packed(body); err != nil {
				return err
			}
			t.all = append(t.all, one)
		}
		return nil
	}
	for i := range singles {
		if err := add(rows[i : i+1]); err != nil {
			return nil, err
		}
	}
	t.small = len(t.all)
	for from := 0; from+bulkRows <= len(rows); from += bulkRows {
		if err := add(rows[from : from+bulkRows]); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func packed(body []byte) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(body)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fault.New(fault.Internal, "making requests", "a body cannot be packed", "")
	}
	return b.Bytes(), nil
}

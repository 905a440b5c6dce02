package load

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"os"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"tarn/tokenise/online"
	"tarn/tokenise/online/wire"
)

// ReadRows reads the first rows of a party's table, of the columns that requests have.
func ReadRows(path string, most int) (header []string, rows [][]string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }() // opened for reading
	r := csv.NewReader(f)
	names, err := r.Read()
	if err != nil {
		return nil, nil, err
	}
	var at []int
	for i, name := range names {
		if _, known := online.FieldOf(name); known {
			header, at = append(header, name), append(at, i)
		}
	}
	for len(rows) < most {
		record, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		row := make([]string, len(at))
		for i, c := range at {
			row[i] = record[c]
		}
		rows = append(rows, row)
	}
	return header, rows, nil
}

func csvBody(header []string, rows [][]string) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.Write(header); err != nil {
		return nil, err
	}
	err := w.WriteAll(rows)
	return b.Bytes(), err
}

func arrowBody(header []string, rows [][]string) ([]byte, error) {
	var fields []arrow.Field
	for _, name := range header {
		fields = append(fields, arrow.Field{Name: name, Type: arrow.BinaryTypes.String, Nullable: true})
	}
	schema := arrow.NewSchema(fields, nil)
	builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for _, row := range rows {
		for c, value := range row {
			column := builder.Field(c).(*array.StringBuilder)
			if value == "" {
				column.AppendNull()
			} else {
				column.Append(value)
			}
		}
	}
	record := builder.NewRecordBatch()
	defer record.Release()
	var b bytes.Buffer
	w := ipc.NewWriter(&b, ipc.WithSchema(schema))
	if err := w.Write(record); err != nil {
		return nil, err
	}
	err := w.Close()
	return b.Bytes(), err
}

// Body makes a request's body in a form.
func Body(f wire.Format, header []string, rows [][]string) ([]byte, error) {
	switch f {
	case wire.CSV:
		return csvBody(header, rows)
	case wire.Arrow:
		return arrowBody(header, rows)
	}
	var b bytes.Buffer
	if f == wire.JSON {
		b.WriteString(`{"rows":[`)
	}
	for i, row := range rows {
		if f == wire.JSON && i > 0 {
			b.WriteByte(',')
		}
		object := map[string]string{}
		for c, value := range row {
			if value != "" {
				object[header[c]] = value
			}
		}
		line, err := json.Marshal(object)
		if err != nil {
			return nil, err
		}
		b.Write(line)
		if f == wire.NDJSON {
			b.WriteByte('\n')
		}
	}
	if f == wire.JSON {
		b.WriteString(`]}`)
	}
	return b.Bytes(), nil
}

package wire

import (
	"bytes"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"tarn/tokenise/online"
	"tarn/tokenise/source"
	"tarn/tokenise/source/arrowframe"
)

// arrow reads an Arrow IPC stream of one schema, whose columns are of any type that has
// a text: strings, numbers, dates.
func (d *Decoder) arrow(body []byte) (err error) {
	const next = "send an uncompressed Arrow IPC stream, without dictionaries: pyarrow.ipc.new_stream"
	broken := malformed("", "it is no whole Arrow stream", next)
	if !arrowframe.Stream(body) {
		return broken
	}
	defer func() {
		if recover() != nil { // offsets within a record are looked at when they are used
			err = broken
		}
	}()
	reader, err := ipc.NewReader(bytes.NewReader(body))
	if err != nil {
		return broken
	}
	defer reader.Release()
	fields := make([]online.Field, 0, len(online.Fields))
	var seen uint32
	for _, f := range reader.Schema().Fields() {
		at, known := online.FieldOf(f.Name)
		switch {
		case !known:
			return unknownColumn("")
		case seen>>at&1 == 1:
			return malformed("", "two of its columns have the same name", "name every column once")
		case !source.Readable(f.Type):
			return malformed("", "a column's type has no text", "send strings, numbers or dates")
		}
		seen |= 1 << at
		fields = append(fields, at)
	}
	if seen>>online.UniqueID&1 == 0 {
		return noUniqueID()
	}
	for reader.Next() {
		if err := d.record(reader.RecordBatch(), fields); err != nil {
			return err
		}
	}
	if reader.Err() != nil { // it repeats what is in the stream
		return broken
	}
	return nil
}

// record adds the rows of a record, column by column.
func (d *Decoder) record(record arrow.RecordBatch, fields []online.Field) error {
	from := len(d.request.Rows)
	if record.NumRows() > int64(d.limit) { // before memory is made for what is only said
		return tooMany()
	}
	for range record.NumRows() {
		if _, err := d.next(); err != nil {
			return err
		}
	}
	for c, at := range fields {
		column := record.Column(c)
		text, err := source.ColumnText(column)
		if err != nil {
			return malformed("", "a column's type has no text", "send strings, numbers or dates")
		}
		for i := range column.Len() {
			if column.IsNull(i) {
				continue
			}
			start := len(d.arena)
			d.arena = text(d.arena, i)
			set(&d.request.Rows[from+i], at, d.arena[start:len(d.arena):len(d.arena)])
		}
	}
	return nil
}

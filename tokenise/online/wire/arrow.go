package wire

import (
	"bytes"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"tarn/tokenise/online"
	"tarn/tokenise/reason"
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
		case !source.Readable(f.Type) || endless(f.Type):
			return malformed("", "a column's type has no text", "send strings, numbers or dates")
		}
		seen |= 1 << at
		fields = append(fields, at)
	}
	if seen>>online.UniqueID&1 == 0 {
		return noUniqueID()
	}
	texts := mostText*len(body) + maxRow
	for reader.Next() {
		if err := d.record(reader.RecordBatch(), fields, texts); err != nil {
			return err
		}
	}
	if reader.Err() != nil { // it repeats what is in the stream
		return broken
	}
	return nil
}

// mostText is how many bytes of text a byte of a stream may stand for. Views share their
// bytes, so that a short stream could stand for more text than there is memory.
const mostText = 8

// endless reports whether values of a type may have texts of any length: decimals of a
// scale that no decimal of 256 bits has.
func endless(t arrow.DataType) bool {
	d, ok := t.(arrow.DecimalType)
	return ok && (d.GetScale() < 0 || d.GetScale() > 76)
}

// record adds the rows of a record, column by column. All texts together may have so many
// bytes.
func (d *Decoder) record(record arrow.RecordBatch, fields []online.Field, texts int) error {
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
			if d.arena = text(d.arena, i); len(d.arena) > texts {
				return malformed("", "its columns have more text than the stream has bytes", "send strings, not views that share theirs")
			}
			if len(d.arena)-start > maxRow {
				d.request.Rows[from+i].Problem = reason.RowTooLong
				continue
			}
			set(&d.request.Rows[from+i], at, d.arena[start:len(d.arena):len(d.arena)])
		}
	}
	return nil
}

package table

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"tarn/keys/fault"
)

// Cursor reads one column from its first row to its last, some rows at a time,
// straight from the file's pages: several times as fast as [Reader.Scan], for
// tables that are larger than memory. Cursors of one Reader may be used by
// several goroutines, each by one.
type Cursor struct {
	reader *Reader
	name   string
	column int // among the file's leaves
	group  int // the next row group
	left   int64
	null   bool // whether a value may be missing
	chunk  file.ColumnChunkReader

	present  []int16
	bytes    []parquet.ByteArray
	fixed    []parquet.FixedLenByteArray
	integers []int64
	doubles  []float64
}

// cursorRows bounds the values that are decoded at a time.
const cursorRows = 4096

// Cursor returns a cursor at the first row of the named column, which is flat.
func (r *Reader) Cursor(name string) (c *Cursor, err error) {
	defer recoverInto(&err, "reading "+r.path, fault.Usage, damagedNext)
	leaves := r.reader.ParquetReader().MetaData().Schema
	at := leaves.ColumnIndexByName(name)
	if at < 0 {
		return nil, fault.New(fault.Usage, "reading "+r.path, "it has no single column "+name, "give a file of the format docs/formats.md describes")
	}
	column := leaves.Column(at)
	if column.MaxRepetitionLevel() > 0 || column.MaxDefinitionLevel() > 1 {
		return nil, fault.New(fault.Usage, "reading "+r.path, "its column "+name+" is nested", "give a file of the format docs/formats.md describes")
	}
	return &Cursor{reader: r, name: name, column: at, null: column.MaxDefinitionLevel() > 0, present: make([]int16, cursorRows)}, nil
}

const damagedNext = "give a whole Parquet file; if it was copied, copy it again"

func (c *Cursor) damaged() error {
	return fault.New(fault.Usage, "reading "+c.reader.path, "its data are damaged", damagedNext)
}

// open makes the next row group's chunk ready. It is an error if there is none.
func (c *Cursor) open() error {
	raw := c.reader.reader.ParquetReader()
	for c.left == 0 {
		if c.group >= raw.NumRowGroups() {
			return c.damaged() // a column ends before the rows do
		}
		group := raw.RowGroup(c.group)
		c.group++
		chunk, err := group.Column(c.column)
		if err != nil || group.NumRows() < 0 {
			return c.damaged()
		}
		c.chunk, c.left = chunk, group.NumRows()
	}
	return nil
}

// Bytes calls f with the next n values of a column of text or bytes, i counting
// from 0; a missing value is nil. The value is valid only during the call.
func (c *Cursor) Bytes(n int, f func(i int, value []byte) error) (err error) {
	return c.read(n, func(rows, from int) (int, error) {
		switch chunk := c.chunk.(type) {
		case *file.ByteArrayColumnChunkReader:
			if c.bytes == nil {
				c.bytes = make([]parquet.ByteArray, cursorRows)
			}
			total, values, err := chunk.ReadBatchInPage(int64(rows), c.bytes, c.present, nil)
			return each(c, total, values, err, c.bytes, func(i int, value parquet.ByteArray, ok bool) error { return f(from+i, bytesOf(value, ok)) })
		case *file.FixedLenByteArrayColumnChunkReader:
			if c.fixed == nil {
				c.fixed = make([]parquet.FixedLenByteArray, cursorRows)
			}
			total, values, err := chunk.ReadBatchInPage(int64(rows), c.fixed, c.present, nil)
			return each(c, total, values, err, c.fixed, func(i int, value parquet.FixedLenByteArray, ok bool) error { return f(from+i, bytesOf(value, ok)) })
		}
		return c.absent(rows, func(i int) error { return f(from+i, nil) }, "bytes")
	})
}

// Int64s calls f with the next n values of a column of 64-bit integers. A
// column that arrives as floating point, as pandas writes integers with nulls,
// holds only the 53 leading bits of each value: see [Reader.Rounded].
func (c *Cursor) Int64s(n int, f func(i int, value int64, ok bool) error) (err error) {
	return c.read(n, func(rows, from int) (int, error) {
		switch chunk := c.chunk.(type) {
		case *file.Int64ColumnChunkReader:
			if c.integers == nil {
				c.integers = make([]int64, cursorRows)
			}
			total, values, err := chunk.ReadBatchInPage(int64(rows), c.integers, c.present, nil)
			return each(c, total, values, err, c.integers, func(i int, value int64, ok bool) error { return f(from+i, value, ok) })
		case *file.Float64ColumnChunkReader:
			return c.rounded(chunk, rows, from, f)
		}
		return c.absent(rows, func(i int) error { return f(from+i, 0, false) }, "64-bit integers")
	})
}

func (c *Cursor) rounded(chunk *file.Float64ColumnChunkReader, rows, from int, f func(i int, value int64, ok bool) error) (int, error) {
	if c.doubles == nil {
		c.doubles = make([]float64, cursorRows)
	}
	total, values, err := chunk.ReadBatchInPage(int64(rows), c.doubles, c.present, nil)
	return each(c, total, values, err, c.doubles, func(i int, value float64, ok bool) error {
		if !ok || math.IsNaN(value) {
			return f(from+i, 0, false)
		}
		return f(from+i, saturate(value), true)
	})
}

// absent serves a column without values, to which tools that infer types give
// any type at all; a column of another type that has values is an error.
func (c *Cursor) absent(rows int, f func(i int) error, want string) (int, error) {
	if !c.null || !c.reader.allNull(c.column) {
		return 0, fault.New(fault.Usage, "reading column "+c.name, fmt.Sprintf("its type is %s where %s are expected", c.chunk.Type(), want),
			"give a file of the format docs/formats.md describes")
	}
	for i := range rows {
		if err := f(i); err != nil {
			return 0, stopped{err}
		}
	}
	return rows, nil
}

// allNull reports whether the file says that no row has a value in the column:
// by its type, of which there are no statistics, or by its statistics.
func (r *Reader) allNull(column int) bool {
	raw := r.reader.ParquetReader()
	if raw.MetaData().Schema.Column(column).LogicalType().Equals(schema.NullLogicalType{}) {
		return true
	}
	for g := range raw.NumRowGroups() {
		meta := raw.MetaData().RowGroup(g)
		chunk, err := meta.ColumnChunk(column)
		if err != nil {
			return false
		}
		stats, err := chunk.Statistics()
		if err != nil || stats == nil || !stats.HasNullCount() || stats.NullCount() != meta.NumRows() {
			return false
		}
	}
	return true
}

// Rounded reports whether a column of integers is stored as floating point and
// has values.
func (r *Reader) Rounded(name string) bool {
	leaves := r.reader.ParquetReader().MetaData().Schema
	at := leaves.ColumnIndexByName(name)
	return at >= 0 && leaves.Column(at).PhysicalType() == parquet.Types.Double && !r.allNull(at)
}

// HoldsBytes reports whether a column holds bytes, of one width or of any, that are not
// text.
func (r *Reader) HoldsBytes(name string) bool {
	leaves := r.reader.ParquetReader().MetaData().Schema
	at := leaves.ColumnIndexByName(name)
	if at < 0 {
		return false
	}
	column := leaves.Column(at)
	switch column.PhysicalType() {
	case parquet.Types.FixedLenByteArray, parquet.Types.ByteArray:
		return column.LogicalType().Equals(schema.NoLogicalType{})
	}
	return false
}

// SoleText returns the text that every row of the named column has, where the
// file's own statistics say so.
func (r *Reader) SoleText(name string) (string, bool) {
	raw := r.reader.ParquetReader()
	at := raw.MetaData().Schema.ColumnIndexByName(name)
	text := ""
	for g := range raw.NumRowGroups() {
		if at < 0 {
			return "", false
		}
		chunk, err := raw.MetaData().RowGroup(g).ColumnChunk(at)
		if err != nil {
			return "", false
		}
		stats, err := chunk.Statistics()
		bounds, ok := stats.(*metadata.ByteArrayStatistics)
		if err != nil || !ok || !bounds.HasMinMax() || !bounds.HasNullCount() || bounds.NullCount() > 0 || !bytes.Equal(bounds.Min(), bounds.Max()) {
			return "", false
		}
		if g > 0 && text != string(bounds.Min()) {
			return "", false
		}
		text = string(bounds.Min())
	}
	return text, true
}

// read calls decode, which reads up to so many rows of the open chunk and
// returns how many it read, until n rows are read.
func (c *Cursor) read(n int, decode func(rows, from int) (int, error)) (err error) {
	defer recoverInto(&err, "reading "+c.reader.path, fault.Usage, damagedNext)
	for from := 0; from < n; {
		if err := c.open(); err != nil {
			return err
		}
		rows, err := decode(int(min(int64(n-from), cursorRows, c.left)), from)
		if err != nil {
			var callers stopped
			var known *fault.Error
			switch {
			case errors.As(err, &callers):
				return callers.error
			case errors.As(err, &known):
				return err
			}
			return c.damaged()
		}
		if rows <= 0 {
			return c.damaged()
		}
		from += rows
		c.left -= int64(rows)
	}
	return nil
}

// stopped is an error of the function that takes the values, which its caller
// gets back as it is.
type stopped struct{ error }

// each calls f with the rows of a batch that was decoded, from the first on, and
// returns how many there are. Only values that are there are among the decoded.
func each[T any](c *Cursor, total int64, values int, err error, decoded []T, f func(i int, value T, ok bool) error) (int, error) {
	if err != nil {
		return 0, err
	}
	next := 0
	for i := range int(total) {
		var value T
		ok := !c.null || c.present[i] != 0
		if ok {
			if next >= values {
				return 0, c.damaged()
			}
			value = decoded[next]
			next++
		}
		if err := f(i, value, ok); err != nil {
			return 0, stopped{err}
		}
	}
	return int(total), nil
}

// bytesOf returns a value, nil only where it is missing.
func bytesOf(value []byte, ok bool) []byte {
	if ok && value == nil {
		return empty
	}
	return value
}

// empty is a value of no bytes, which is not a missing one.
var empty = []byte{}

package leak

import (
	"bytes"
	"fmt"
	"iter"
	"math"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// parquetParts gives, of each column of a Parquet file, its pages as they are
// decompressed, dictionaries included, and its values as text, one a line. Of a file
// that is damaged it gives what can be read.
func parquetParts(data []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		reader, err := file.NewParquetReader(bytes.NewReader(data))
		if err != nil {
			return
		}
		defer func() { _ = reader.Close() }()
		leaves := reader.MetaData().Schema
		for group := range reader.NumRowGroups() {
			for column := range leaves.NumColumns() {
				name := fmt.Sprintf("parquet column %s", leaves.Column(column).Name())
				if inner := pages(reader.RowGroup(group), column); len(inner) > 0 && !yield(name+" pages", inner) {
					return
				}
				if inner := values(reader.RowGroup(group), leaves.Column(column), column); len(inner) > 0 && !yield(name, inner) {
					return
				}
			}
		}
	}
}

func pages(group *file.RowGroupReader, column int) (inner []byte) {
	defer func() { _ = recover() }() // the library panics at damage: what was read before counts
	reader, err := group.GetColumnPageReader(column)
	if err != nil {
		return nil
	}
	for reader.Next() {
		inner = append(append(inner, reader.Page().Data()...), '\n')
	}
	return inner
}

// longer is a number of more digits than an NHS number has.
const longer = 10_000_000_000

// batch is how many values are read at a time.
const batch = 4096

func values(group *file.RowGroupReader, leaf *schema.Column, column int) (inner []byte) {
	defer func() { _ = recover() }() // as in pages
	chunk, err := group.Column(column)
	if err != nil {
		return nil
	}
	_, days := leaf.LogicalType().(schema.DateLogicalType)
	definition, repetition := make([]int16, batch), make([]int16, batch)
	line := func(text []byte) { inner = append(append(inner, text...), '\n') }
	// A tag is a random number of 19 digits, of which some ten are somebody's now and
	// then: what has more digits than any number that is looked for is none.
	whole := func(v int64) {
		if v > -longer && v < longer {
			line(strconv.AppendInt(nil, v, 10))
		}
	}
	for chunk.HasNext() {
		switch c := chunk.(type) {
		case *file.ByteArrayColumnChunkReader:
			read(c.ReadBatch, definition, repetition, func(v parquet.ByteArray) { line(v) })
		case *file.FixedLenByteArrayColumnChunkReader:
			read(c.ReadBatch, definition, repetition, func(v parquet.FixedLenByteArray) { line(v) })
		case *file.Int64ColumnChunkReader:
			read(c.ReadBatch, definition, repetition, whole)
		case *file.Int32ColumnChunkReader:
			read(c.ReadBatch, definition, repetition, func(v int32) {
				if days {
					line(time.Unix(int64(v)*86400, 0).UTC().AppendFormat(nil, time.DateOnly))
				} else {
					whole(int64(v))
				}
			})
		case *file.Float64ColumnChunkReader:
			read(c.ReadBatch, definition, repetition, func(v float64) {
				if math.Abs(v) < longer {
					line(strconv.AppendFloat(nil, v, 'f', 0, 64))
				}
			})
		default:
			return inner // truth values, and kinds that hold no text: the pages count
		}
	}
	return inner
}

func read[T any](batched func(int64, []T, []int16, []int16) (int64, int, error), definition, repetition []int16, each func(T)) {
	some := make([]T, len(definition))
	total, n, err := batched(int64(len(some)), some, definition, repetition)
	for _, v := range some[:n] {
		each(v)
	}
	if err != nil || total == 0 {
		panic("leak: a column ends early")
	}
}

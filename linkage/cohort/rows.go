package cohort

import (
	"encoding/binary"
	"math/bits"
)

// Rows are some records of a cohort, laid out for comparing: field by field in
// the order of a [Comparison], whose field i is bit i of Present.
type Rows struct {
	// Number is each record's place in the cohort, counting from 0.
	Number []int32
	// Key is each record's block key; records without one are not among rows that
	// were asked for by key.
	Key []int64
	// Present has bit i set where field i is there.
	Present []uint64
	// Filters are each record's filters end to end, missing ones all zero.
	Filters []uint64
	// Tags are the values of each field that is a tag, 0 where it is missing; nil
	// for fields that are filters.
	Tags [][]int64
}

// Len returns the number of records.
func (r *Rows) Len() int { return len(r.Present) }

// Shape says how the records of a cohort are laid out in Rows.
type Shape struct {
	Fields []FieldComparison
	Words  []int // the width of each field's filter in 64-bit words, 0 for tags
	total  int
}

// Shape returns the layout of a comparison's fields, whose columns the file
// has.
func (f *File) Shape(c Comparison) *Shape {
	s := &Shape{Fields: c.Fields}
	for _, field := range c.Fields {
		words := 0
		if field.Measure != MeasureEqual {
			words = f.FilterWidth(field.Column) / 8
		}
		s.Words = append(s.Words, words)
		s.total += words
	}
	return s
}

// RowWords is the number of 64-bit words of all filters of one record.
func (s *Shape) RowWords() int { return s.total }

// RowBytes is about what one record takes in Rows.
func (s *Shape) RowBytes() int64 {
	n := int64(4 + 8 + 8 + 8*s.total)
	for _, words := range s.Words {
		if words == 0 {
			n += 8
		}
	}
	return n
}

// Reset makes room for n records, all of whose fields are missing.
func (r *Rows) Reset(s *Shape, n int) {
	r.Number, r.Key = resized(r.Number, n), resized(r.Key, n)
	r.Present, r.Filters = resized(r.Present, n), resized(r.Filters, n*s.total)
	clear(r.Present)
	clear(r.Filters)
	if r.Tags == nil {
		r.Tags = make([][]int64, len(s.Fields))
	}
	for i, words := range s.Words {
		if words == 0 {
			r.Tags[i] = resized(r.Tags[i], n)
			clear(r.Tags[i])
		}
	}
}

func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/8)
	}
	return s[:n]
}

// Stream reads the records of a cohort in file order.
type Stream struct {
	shape   *Shape
	rounded bool
	columns []*column
	next    int32
}

// Stream returns a stream at the first record. rounded is as for
// [File.ReadTags].
func (f *File) Stream(shape *Shape, rounded bool) *Stream {
	s := &Stream{shape: shape, rounded: rounded}
	for _, field := range shape.Fields {
		s.columns = append(s.columns, f.column(field.Column))
	}
	return s
}

// Read fills rows with the next n records, which there must be, but for their
// keys.
func (s *Stream) Read(rows *Rows, n int) error {
	rows.Reset(s.shape, n)
	for i := range n {
		rows.Number[i] = s.next + int32(i)
	}
	s.next += int32(n)
	at := 0
	for f, words := range s.shape.Words {
		bit := uint64(1) << f
		var err error
		if words == 0 {
			tags := rows.Tags[f]
			err = s.columns[f].int64s(n, func(i int, value int64, ok bool) error {
				if !ok {
					return nil
				}
				if s.rounded {
					value = Round(value)
				}
				tags[i] = value
				rows.Present[i] |= bit
				return nil
			})
		} else {
			err = s.filters(rows, f, at, n)
		}
		if err != nil {
			return err
		}
		at += words
	}
	return nil
}

func (s *Stream) filters(rows *Rows, f, at, n int) error {
	words, total, bit := s.shape.Words[f], s.shape.total, uint64(1)<<f
	return s.columns[f].bytes(n, func(i int, value []byte) error {
		if value == nil {
			return nil
		}
		if len(value) != 8*words {
			return wrongWidth(s.shape.Fields[f].Column, len(value), 8*words)
		}
		rows.Present[i] |= bit
		row := rows.Filters[i*total+at : i*total+at+words]
		for w := range row {
			row[w] = binary.LittleEndian.Uint64(value[8*w:])
		}
		return nil
	})
}

// PopCount returns the number of bits that are set.
func PopCount(filter []uint64) (n uint32) {
	for _, word := range filter {
		n += uint32(bits.OnesCount64(word))
	}
	return n
}

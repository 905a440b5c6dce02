package wire

import (
	"bytes"
	"errors"
	"io"
	"unicode/utf8"

	"tarn/tokenise/online"
	"tarn/tokenise/reason"
	"tarn/tokenise/source/delimited"
	"tarn/tokenise/source/stream"
)

// csvTable is what reading CSV needs beside the rows.
type csvTable struct {
	record  delimited.Record
	columns []online.Field
}

var byteOrderMark = []byte("\ufeff")

// csv reads CSV (RFC 4180) with commas and a header of canonical names.
func (d *Decoder) csv(body []byte) error {
	const next = "send UTF-8 with a header row, fields divided by commas"
	t := &d.table
	body = bytes.TrimPrefix(body, byteOrderMark)
	scanner := delimited.New(stream.NewWindow(bytes.NewReader(body)), ',', maxRow)
	for {
		if err := scanner.Next(0, &t.record); errors.Is(err, io.EOF) {
			return malformed("", "it has no header row", next)
		} else if err != nil {
			return malformed("", "it cannot be read", next)
		}
		if !t.record.Blank {
			break
		}
	}
	if t.record.Problem != "" {
		return malformed("", "its first row is no header: "+string(t.record.Problem), next)
	}
	if err := t.header(); err != nil {
		return err
	}
	for {
		if err := scanner.Next(len(t.columns), &t.record); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return malformed("", "it cannot be read", next)
		}
		if t.record.Blank {
			continue
		}
		row, err := d.next()
		if err != nil {
			return err
		}
		switch raw := t.record.Raw; {
		case t.record.Problem != "":
			row.Problem = t.record.Problem
		case bytes.IndexByte(raw, 0) >= 0:
			row.Problem = reason.RowMalformed
		case !utf8.Valid(raw):
			row.Problem = reason.RowEncoding
		}
		if row.Problem != "" {
			continue
		}
		for i := range t.record.Fields {
			set(row, t.columns[i], d.cell(&t.record.Fields[i]))
		}
	}
}

// cell returns a field's text. The window's memory is moved and used again, so it is
// copied.
func (d *Decoder) cell(f *delimited.Field) []byte {
	from := len(d.arena)
	d.arena = f.Append(d.arena, d.table.record.Raw)
	return d.arena[from:len(d.arena):len(d.arena)]
}

// header takes the columns of the first row.
func (t *csvTable) header() error {
	t.columns = t.columns[:0]
	var seen uint32
	var name []byte
	for i := range t.record.Fields {
		name = bytes.TrimSpace(t.record.Fields[i].Append(name[:0], t.record.Raw))
		at, known := online.FieldOf(name)
		if !known {
			return unknownColumn("")
		}
		if seen>>at&1 == 1 {
			return malformed("", "two columns of its header have the same name", "name every column once")
		}
		seen |= 1 << at
		t.columns = append(t.columns, at)
	}
	if seen>>online.UniqueID&1 == 0 {
		return noUniqueID()
	}
	return nil
}

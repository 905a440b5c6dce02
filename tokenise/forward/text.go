package forward

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// cellRow is a row as it was read.
type cellRow struct {
	number  int64
	problem reason.Code
	text    []byte // of the cell
	payload []byte // the row without it
}

// noCell stands for the place of a cell that a row has not got, as an object of NDJSON may
// lack a member.
const noCell = 1<<32 - 1

// textTable reads CSV or NDJSON. A row's payload is the place of its cell, u32, and its
// bytes without the cell's.
type textTable struct {
	records *source.Records
	csv     bool
	piece   source.Piece
	before  []byte
	ending  string // of the lines so far
	row     cellRow
}

func openText(ctx context.Context, path, column string, o source.Options) (*textTable, error) {
	records, err := source.OpenRecordsContext(ctx, path, column, o)
	if err != nil || records == nil {
		return nil, err
	}
	return &textTable{records: records, csv: records.Input().Format == source.FormatCSV}, nil
}

func (t *textTable) input() source.Input           { return t.records.Input() }
func (t *textTable) position() (done, total int64) { return t.records.Position() }
func (t *textTable) close() error                  { return t.records.Close() }
func (t *textTable) preamble() []byte              { return t.before }

func (t *textTable) next() (*cellRow, error) {
	p, r := &t.piece, &t.row
	for {
		if err := t.records.Next(p); err != nil {
			return nil, err
		}
		switch {
		case bytes.HasSuffix(p.Bytes, []byte("\r\n")):
			t.ending = "\r\n"
		case bytes.HasSuffix(p.Bytes, []byte("\n")):
			t.ending = "\n"
		}
		if p.Number > 0 {
			break
		}
		if r.number == 0 { // blank lines between rows are left out: rows arrive in another order
			t.before = append(t.before, p.Bytes...)
		}
	}
	r.number, r.problem, r.text = p.Number, p.Problem, p.Value
	end := ""
	switch b := p.Bytes; { // the last row may not arrive as the last
	case p.Problem != "" || bytes.HasSuffix(b, []byte("\n")):
	case bytes.HasSuffix(b, []byte("\r")):
		end = "\n"
	default:
		end = cmp.Or(t.ending, "\n")
	}
	// What reads the table that arrives may take it for two lines, and the recipient refuses it.
	if t.csv && p.Problem == "" && bareReturn(append(slices.Clip(p.Bytes), end...)) {
		r.problem = reason.RowMalformed
	}
	if r.problem != "" {
		return r, nil
	}
	place := uint32(noCell)
	r.payload = binary.BigEndian.AppendUint32(r.payload[:0], place)
	if p.HasCell {
		binary.BigEndian.PutUint32(r.payload, uint32(p.Start))
		r.payload = append(append(r.payload, p.Bytes[:p.Start]...), p.Bytes[p.End:]...)
	} else {
		r.payload = append(r.payload, p.Bytes...)
	}
	r.payload = append(r.payload, end...)
	return r, nil
}

// errRow says that what arrived is no row of the parcel's format.
var errRow = errors.New("a row is not of the form that its sender names")

// textWriter writes what a textTable read.
type textWriter struct {
	to   io.Writer
	form *rowForm // nil where the preamble is none
}

func (w *textWriter) begin(preamble []byte) error {
	if w.form == nil {
		return errRow
	}
	_, err := w.to.Write(preamble)
	return err
}

func (w *textWriter) write(tokens []string, payloads [][]byte) error {
	lines := make([]line, len(payloads))
	for i, payload := range payloads {
		if len(payload) < 4 {
			return errRow
		}
		at, rest := binary.BigEndian.Uint32(payload), payload[4:]
		cell := tokens[i]
		there := at != noCell
		switch {
		case !there && cell != "" || there && int(at) > len(rest):
			return errRow
		case !there:
			at = 0
		case w.form.json && cell == "":
			cell = "null"
		case w.form.json:
			cell = `"` + cell + `"`
		}
		lines[i] = line{bytes: slices.Concat(rest[:at], []byte(cell), rest[at:]), hasCell: there, start: int(at), end: int(at) + len(cell)}
	}
	if !w.form.hold(lines) {
		return errRow
	}
	for i := range lines {
		if _, err := w.to.Write(lines[i].bytes); err != nil {
			return err
		}
	}
	return nil
}

func (w *textWriter) end() error { return nil }

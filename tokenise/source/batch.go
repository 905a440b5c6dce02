package source

import (
	"bytes"
	"unicode"

	"tarn/tokenise/reason"
)

// Batch is some consecutive rows. Its rows and their values belong to the batch
// until it is read into again. A value that is kept keeps the text of all the
// batch in memory: clone it.
type Batch struct {
	Rows []Row

	text  []byte   // of all cells, one after another
	spans []span   // of all cells of rows without a problem, in text
	cells []string // the same as texts

	verbatim bool // as Options.Verbatim
}

type span struct{ start, end int }

// Bounds of a batch, in rows and in bytes of its cells.
const (
	batchRows  = 1024
	batchBytes = 1 << 20
)

func (b *Batch) reset(verbatim bool) {
	b.Rows, b.text, b.spans, b.verbatim = b.Rows[:0], b.text[:0], b.spans[:0], verbatim
}

func (b *Batch) full() bool { return len(b.Rows) >= batchRows || len(b.text) >= batchBytes }

// add adds a row: without a problem, the cells of spans that were added since
// the row before.
func (b *Batch) add(number int64, problem reason.Code) {
	b.Rows = append(b.Rows, Row{Number: number, Problem: problem})
}

// cell adds the bytes of text from start on as a cell.
func (b *Batch) cell(start int) { b.spans = append(b.spans, b.span(start, len(b.text))) }

// span returns where the cell in text[start:end] lies.
func (b *Batch) span(start, end int) span {
	if b.verbatim {
		return span{start, end}
	}
	return trim(b.text, start, end)
}

// drop takes back what was added since.
func (b *Batch) drop(spans, text int) { b.spans, b.text = b.spans[:spans], b.text[:text] }

// finish gives every row its values, width each. One string holds them all.
func (b *Batch) finish(width int) {
	text := string(b.text)
	if cap(b.cells) < len(b.spans) {
		b.cells = make([]string, len(b.spans))
	}
	b.cells = b.cells[:len(b.spans)]
	for i, s := range b.spans {
		b.cells[i] = text[s.start:s.end]
	}
	at := 0
	for i := range b.Rows {
		if b.Rows[i].Problem == "" {
			b.Rows[i].Values = b.cells[at : at+width : at+width]
			at += width
		}
	}
}

// trim returns where text[start:end] without white space around it lies.
func trim(text []byte, start, end int) span {
	for start < end && blank(text[start]) {
		start++
	}
	for start < end && blank(text[end-1]) {
		end--
	}
	if start < end && (text[start] >= 0x80 || text[end-1] >= 0x80) {
		left := bytes.TrimLeftFunc(text[start:end], unicode.IsSpace)
		start = end - len(left)
		end = start + len(bytes.TrimRightFunc(left, unicode.IsSpace))
	}
	return span{start, end}
}

func blank(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"tarn/tokenise/reason"
	"tarn/tokenise/source/jsonlines"
)

// The columns of NDJSON are the members of the objects within these bounds.
const (
	headLines = 1000
	headBytes = 1 << 20
)

// ndjsonReader reads one JSON object a line. The header is the members of the
// first 1,000 lines, or of those in the first MiB, in the order in which they
// first appear. A member whose value is an object or an array in one of these
// is left out. A later line is refused as row_malformed if it has a member that
// is neither in the header nor left out, and not null, or an object or an array
// where the header has a column: nothing is lost unsaid.
type ndjsonReader struct {
	*text
	scanner *jsonlines.Scanner
	header  []string
	leftOut []string
	columns map[string]int // by name, unescaped; outside for those left out
	names   [][]byte       // of the header, as the first line with them wrote them
	record  jsonlines.Record
	scratch []byte
	number  int64
}

// outside is the column of what is left out.
const outside = -1

func (r *ndjsonReader) readHeader() error {
	if bytes.HasPrefix(bytes.TrimSpace(r.window.Bytes()), []byte("[")) {
		return r.fault("it is a JSON array", "write one object a line: jq -c '.[]'")
	}
	if err := r.fill(func(b []byte) bool { return len(b) >= headBytes || bytes.Count(b, []byte("\n")) >= headLines }); err != nil {
		return err
	}
	r.columns = map[string]int{}
	var all []string // names in order of first appearance
	head := r.window.Bytes()
	if !r.ended {
		head = head[:bytes.LastIndexByte(head, '\n')+1]
	}
	written := map[string][]byte{}
	for at, lines := 0, 0; at < len(head) && lines < headLines; lines++ {
		at = r.scanner.Peek(at, &r.record)
		for _, m := range r.record.Members {
			raw := r.record.Raw[m.Name:m.NameEnd]
			name := string(jsonlines.AppendText(nil, raw))
			if _, seen := r.columns[name]; !seen {
				all = append(all, name)
				r.columns[name], written[name] = 0, bytes.Clone(raw)
			}
			if m.Nested() {
				r.columns[name] = outside
			}
		}
	}
	if len(all) == 0 {
		return r.fault("none of its first lines is a JSON object with members", "write one object a line, in UTF-8")
	}
	for _, name := range all {
		if r.columns[name] == outside {
			r.leftOut = append(r.leftOut, name)
			continue
		}
		r.columns[name] = len(r.header)
		r.header = append(r.header, strings.TrimSpace(name))
		r.names = append(r.names, written[name])
	}
	for i, name := range slices.Concat(r.header, r.leftOut) {
		if isNHSNumber(name) {
			return r.fault(fmt.Sprintf("member %d of its objects has an NHS number for a name", i+1), "write one person a line, with the same members in each")
		}
	}
	if len(r.header) == 0 {
		return r.fault("all its members are objects or lists", "write text, numbers or dates as members of each line's object")
	}
	return r.checkNames(r.header)
}

func (r *ndjsonReader) Header() []string { return r.header }

func (r *ndjsonReader) Input() Input {
	i := r.input()
	i.HasHeader, i.LeftOut = true, slices.Clone(r.leftOut)
	return i
}

// Read implements Reader.
func (r *ndjsonReader) Read(b *Batch) error {
	b.reset(r.options.Verbatim)
	for !b.full() {
		if err := r.scanner.Next(&r.record); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return r.wrap(err)
		}
		if r.record.Blank {
			continue
		}
		problem := r.record.Problem
		if problem == "" {
			problem = r.cells(b)
		}
		r.number++
		b.add(r.number, problem)
	}
	if len(b.Rows) == 0 {
		return io.EOF
	}
	b.finish(len(r.header))
	return nil
}

// cells adds the cells of the current line, or says why it cannot.
func (r *ndjsonReader) cells(b *Batch) reason.Code {
	base, start := len(b.spans), len(b.text)
	b.spans = append(b.spans, make([]span, len(r.header))...)
	raw := r.record.Raw
	for i := range r.record.Members {
		m := &r.record.Members[i]
		column, known := r.column(raw[m.Name:m.NameEnd], i)
		switch {
		case known && column == outside, m.Kind == 'n':
			continue
		case !known || m.Nested():
			b.drop(base, start)
			return reason.RowMalformed
		}
		from := len(b.text)
		b.text = jsonlines.AppendText(b.text, raw[m.Start:m.End])
		b.spans[base+column] = b.span(from, len(b.text))
	}
	switch text := b.text[start:]; {
	case bytes.IndexByte(text, 0) >= 0:
		b.drop(base, start)
		return reason.RowMalformed
	case r.decoder.encoding != EncodingUTF8 && r.decoder.check(raw) != "":
		b.drop(base, start)
		return reason.RowEncoding
	}
	return ""
}

// column returns the column of a name as it is written. Most lines write their
// members in the header's order.
func (r *ndjsonReader) column(raw []byte, expected int) (at int, known bool) {
	if expected < len(r.names) && bytes.Equal(raw, r.names[expected]) {
		return expected, true
	}
	r.scratch = jsonlines.AppendText(r.scratch[:0], raw)
	at, known = r.columns[string(r.scratch)]
	return at, known
}

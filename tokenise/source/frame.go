package source

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"tarn/tokenise/reason"
)

// framer cuts a CSV stream into records before any of it is parsed. A record
// is a line, or several where a quoted field holds line ends. Where a quote is
// never closed - nothing closes it within the limits, or what results is no
// row - its first line alone is refused and reading goes on with the line after
// it, so that one bad character costs one row.
type framer struct {
	in        *bufio.Reader
	delimiter byte
	limit     int
	read      int64    // bytes taken from the stream
	pending   [][]byte // lines read ahead in search of a closing quote, not yet used
	ahead     [][]byte // lines of the last record after its first
	tooLong   bool     // the line after pending was too long
	line      []byte
}

// maxQuotedLines bounds the lines of one record.
const maxQuotedLines = 1000

func newFramer(in io.Reader, delimiter byte, limit int) *framer {
	return &framer{in: bufio.NewReaderSize(in, 1<<16), delimiter: delimiter, limit: limit}
}

// next returns the next record without its line end, valid until the following
// call, or a record's problem, or io.EOF.
func (f *framer) next() (record []byte, problem reason.Code, err error) {
	f.ahead = nil
	for {
		line, tooLong, err := f.nextLine()
		if err != nil {
			return nil, "", err
		}
		if tooLong {
			return nil, reason.RowTooLong, nil
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if bytes.IndexByte(line, '"') >= 0 {
			quotes := quoteScanner{delimiter: f.delimiter, start: true}
			if quotes.scan(line); quotes.open {
				return f.quoted(line, quotes)
			}
		}
		return trimEnd(line), "", nil
	}
}

// quoted reads on until the quote that is open at the end of first is closed.
func (f *framer) quoted(first []byte, quotes quoteScanner) ([]byte, reason.Code, error) {
	record := bytes.Clone(first)
	for len(record) <= f.limit && len(f.ahead) < maxQuotedLines {
		line, tooLong, err := f.nextLine()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, "", err
		}
		if f.tooLong = tooLong; err != nil || tooLong {
			break
		}
		f.ahead = append(f.ahead, bytes.Clone(line))
		record = append(record, line...)
		if quotes.scan(line); !quotes.open {
			return trimEnd(record), "", nil
		}
	}
	f.giveBack()
	return nil, reason.RowMalformed, nil
}

// giveBack makes the lines after the first of the last record records of their
// own, and reports whether there were any.
func (f *framer) giveBack() bool {
	lines := f.ahead
	f.ahead = nil
	f.pending = append(lines, f.pending...)
	return len(lines) > 0
}

// nextLine returns the next line with its line end. A line past the limit is
// skipped to its end and reported.
func (f *framer) nextLine() (line []byte, tooLong bool, err error) {
	if len(f.pending) > 0 {
		line, f.pending = f.pending[0], f.pending[1:]
		return line, false, nil
	}
	if f.tooLong {
		f.tooLong = false
		return nil, true, nil
	}
	f.line = f.line[:0]
	for {
		part, err := f.in.ReadSlice('\n')
		f.read += int64(len(part))
		if !tooLong && len(f.line)+len(part) <= f.limit+2 {
			f.line = append(f.line, part...)
		} else {
			tooLong = true
		}
		switch {
		case err == nil:
			return f.line, tooLong, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			if len(f.line) == 0 && !tooLong {
				return nil, false, io.EOF
			}
			return f.line, tooLong, nil
		default:
			return nil, false, err
		}
	}
}

func trimEnd(record []byte) []byte {
	record = bytes.TrimSuffix(record, []byte("\n"))
	return bytes.TrimSuffix(record, []byte("\r"))
}

// quoteScanner follows whether a quoted field is open. A field is quoted if
// its first character after white space is a quote; in it two quotes are one.
type quoteScanner struct {
	delimiter   byte
	start, open bool
}

func (q *quoteScanner) scan(line []byte) {
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case q.open:
			if c == '"' {
				if i+1 < len(line) && line[i+1] == '"' {
					i++
				} else {
					q.open = false
				}
			}
		case c == q.delimiter:
			q.start = true
		case q.start && c == '"':
			q.open, q.start = true, false
		case c != ' ' && c != '\t':
			q.start = false
		}
	}
}

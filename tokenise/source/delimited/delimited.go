// Package delimited cuts a stream of CSV (RFC 4180, any single-byte delimiter)
// into records and fields, and says where each lies, so that a program may read
// a table or write it again with every other byte untouched.
//
// Nothing is lost and nothing ends early: every byte of the stream is in one
// record, and what is no record of the table is handed on with its reason. It
// reads what encoding/csv reads, and is held to that by its tests.
package delimited

import (
	"bytes"
	"io"

	"tarn/tokenise/reason"
	"tarn/tokenise/source/stream"
)

// Record is one record, or a blank line, valid until the next is read.
type Record struct {
	Raw     []byte  // with its line end; empty where it is too long
	Fields  []Field // empty where there is a problem
	Blank   bool    // white space only: no record
	Problem reason.Code
}

// Scanner reads one record after another.
//
// A record is a line, or several where a quoted field holds line ends. Where a
// quote is never closed - nothing closes it within the limits, or what results
// is no record of the table - its first line alone is refused, and reading goes
// on with the line after it: one bad character costs one record. The work is
// linear in the bytes read, however many quotes are left open.
type Scanner struct {
	window    *stream.Window
	delimiter byte
	limit     int
	scratch   []Field
	worked    int64 // bytes that were looked at for quotes, for the test of the promise
}

// maxQuotedLines bounds the lines of one record.
const maxQuotedLines = 1000

// New returns a scanner of the records that are left in the window, of at most
// limit bytes each.
func New(window *stream.Window, delimiter byte, limit int) *Scanner {
	return &Scanner{window: window, delimiter: delimiter, limit: limit}
}

// Next reads the next record or blank line, or returns io.EOF. A record whose
// number of fields is not width is [reason.RowMalformed]; a width of 0 is any.
func (s *Scanner) Next(width int, r *Record) error {
	r.Fields, r.Blank, r.Problem = r.Fields[:0], false, ""
	end, ok, err := s.window.LineAt(0, s.limit+2)
	if err != nil {
		return err
	}
	if !ok {
		r.Raw, r.Problem = nil, reason.RowTooLong
		return s.window.SkipLine()
	}
	if end == 0 {
		return io.EOF
	}
	line := s.window.Bytes()[:end]
	quote := bytes.IndexByte(line, '"')
	switch {
	case quote >= 0:
		return s.quoted(width, line, r)
	case s.blank(line):
		r.Blank = true
	default:
		if r.Fields = splitPlain(r.Fields, trimLineEnd(line), s.delimiter); width > 0 && len(r.Fields) != width {
			r.Problem = reason.RowMalformed
		}
	}
	s.take(r, end)
	return nil
}

// take takes a record from the window; its bytes stay where they are until
// the window is added to.
func (s *Scanner) take(r *Record, end int) {
	r.Raw = s.window.Bytes()[:end]
	if r.Problem != "" {
		r.Fields = r.Fields[:0]
	}
	s.window.Take(end)
}

// blank reports whether a line is white space and no delimiter.
func (s *Scanner) blank(line []byte) bool {
	if line[0] > ' ' && line[0] < 0x80 {
		return false
	}
	return len(bytes.TrimSpace(line)) == 0 && bytes.IndexByte(line, s.delimiter) < 0
}

// quoted reads a record whose first line has a quote.
func (s *Scanner) quoted(width int, line []byte, r *Record) error {
	s.worked += int64(len(line))
	fields, state := split(r.Fields, line, s.delimiter, false)
	r.Fields = fields
	end := len(line)
	if state == open {
		more, err := s.follow(end, len(fields), width)
		if err != nil {
			return err
		}
		if more > 0 {
			end = more
			s.worked += int64(end)
			r.Fields, state = split(r.Fields[:0], s.window.Bytes()[:end], s.delimiter, false)
		}
	}
	if state != whole || width > 0 && len(r.Fields) != width {
		r.Problem = reason.RowMalformed
	}
	s.take(r, end)
	return nil
}

// follow returns where in the window the record ends whose first line ends at
// from within a quoted field, after so many complete fields; 0 where it is no
// record.
//
// It walks to the next line with an odd number of quotes at most, since each
// quote leads into or out of quotes. A line that leaves a quote open has an odd
// number too, so no walk goes past the beginning of another.
func (s *Scanner) follow(from, fields, width int) (int, error) {
	for end, lines, state := from, 1, open; ; lines++ {
		switch {
		case end > s.limit+2:
			return 0, nil
		case state == whole && (width == 0 || fields == width):
			return end, nil
		case state != open || lines > maxQuotedLines:
			return 0, nil
		}
		next, ok, err := s.window.LineAt(end, s.limit+2)
		if err != nil || !ok || next == end {
			return 0, err
		}
		s.worked += int64(next - end)
		s.scratch, state = split(s.scratch[:0], s.window.Bytes()[end:next], s.delimiter, true)
		fields += len(s.scratch)
		end = next
	}
}

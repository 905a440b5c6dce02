// Package csvfile reads small CSV tables with a header, such as truth and group
// files, record by record. Its errors name the file, the line and the sort of
// mistake, and never the content of a cell.
package csvfile

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"tarn/keys/fault"
)

// Reader reads one file.
type Reader struct {
	Header []string // without a byte order mark, blanks trimmed

	doing, next string
	file        *os.File
	csv         *csv.Reader
}

// Open opens the file at path and reads its header. what names the file in
// errors ("truth file"), next says what to give instead.
func Open(path, what, next string) (*Reader, error) {
	r := &Reader{doing: "reading the " + what + " " + path, next: next}
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, r.doing, err, next)
	}
	r.file = f
	buffered := bufio.NewReaderSize(f, 1<<16)
	if mark, err := buffered.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = buffered.Discard(3) // just peeked
	}
	r.csv = csv.NewReader(buffered)
	r.csv.ReuseRecord = true
	header, err := r.csv.Read()
	if err != nil {
		_ = f.Close() // opened for reading
		if errors.Is(err, io.EOF) {
			return nil, fault.New(fault.Usage, r.doing, "it is empty", next)
		}
		return nil, r.describe(err)
	}
	for _, name := range header {
		name = strings.TrimSpace(name)
		if slices.Contains(r.Header, name) {
			_ = f.Close()
			return nil, fault.New(fault.Usage, r.doing, "two of its columns have the same name", next)
		}
		r.Header = append(r.Header, strings.Clone(name))
	}
	return r, nil
}

// Column returns the index of a column, or -1.
func (r *Reader) Column(name string) int { return slices.Index(r.Header, name) }

// Next returns the next record, as long as the header, and io.EOF at the end.
// The slice is reused by the next call; its strings are not.
func (r *Reader) Next() ([]string, error) {
	record, err := r.csv.Read()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, r.describe(err)
	}
	for _, cell := range record {
		if !utf8.ValidString(cell) {
			line, _ := r.csv.FieldPos(0)
			return nil, r.Fault(line, "it is not valid UTF-8")
		}
	}
	return record, nil
}

// Line returns the line on which the last record began, counted from 1.
func (r *Reader) Line() int {
	line, _ := r.csv.FieldPos(0)
	return line
}

// Fault makes an error about a line of the file. wrong holds no cell content.
func (r *Reader) Fault(line int, wrong string) error {
	return fault.New(fault.Usage, r.doing, fmt.Sprintf("line %d: %s", line, wrong), r.next)
}

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

func (r *Reader) describe(err error) error {
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return r.Fault(parse.Line, parse.Err.Error())
	}
	return fault.Wrap(fault.Internal, r.doing, err, r.next)
}

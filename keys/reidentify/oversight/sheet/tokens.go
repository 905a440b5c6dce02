package sheet

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"tarn/keys"
	"tarn/keys/fault"
)

// MaxBytes is how long a list of tokens may be.
const MaxBytes = 1 << 20

// maxRow is the largest number of a row that a request may have.
const maxRow = 1_000_000_000

// maxTold is how many lines one refusal tells.
const maxTold = 10

// Row is one token of a list.
type Row struct {
	Line  int    // of the file, from 1
	Row   int    // what the column row says; the line where there is no such column
	Token string // its text, in small letters
}

const readingTokens = "reading a list of tokens"

// Tokens reads a list of tokens: one a line, or CSV (UTF-8, commas) with a header that has a
// column token, nhs_token or pseudonym, in whatever letters, and perhaps a column row. Blank
// lines are passed over. It is at most 1 MiB long and has at most so many rows.
//
// Nothing comes out of it but tokens whose text is right, so that the file of something else
// goes no further. A token that is there twice is there twice. The error is of kind
// [fault.Usage], names lines, and repeats nothing of the file.
func Tokens(r io.Reader, most int) ([]Row, error) {
	document, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, fault.New(fault.Internal, readingTokens, "the file could not be read", "send it again")
	}
	text, err := plainText(document)
	if err != nil {
		return nil, err
	}
	records, err := split(text)
	if err != nil {
		return nil, err
	}
	if len(records) == 0 {
		return nil, wrong("it is empty", "give one token a line")
	}
	columns, err := header(&records[0])
	if err != nil {
		return nil, err
	}
	if columns.named {
		records = records[1:]
	}
	switch {
	case len(records) == 0:
		return nil, wrong("there is nothing below its header", "give one token a line")
	case len(records) > most:
		return nil, wrong(fmt.Sprintf("it has more than %d tokens", most), "ask for fewer patients at once")
	}
	return columns.rows(records)
}

func wrong(what, next string) error { return fault.New(fault.Usage, readingTokens, what, next) }

// plainText returns a file's text without its mark of UTF-8, and refuses what is none.
func plainText(document []byte) ([]byte, error) {
	const saveAs = "save it as CSV UTF-8 (comma delimited)"
	switch text := bytes.TrimPrefix(document, []byte("\xef\xbb\xbf")); {
	case len(document) > MaxBytes:
		return nil, wrong("it has more than 1 MiB", "give the tokens only")
	case bytes.HasPrefix(document, []byte("\xff\xfe")), bytes.HasPrefix(document, []byte("\xfe\xff")), bytes.IndexByte(document, 0) >= 0:
		return nil, wrong("it is in UTF-16, or is no text", saveAs)
	case !utf8.Valid(document):
		return nil, wrong("it is not in UTF-8, or is no text", saveAs)
	default:
		return text, nil
	}
}

// record is one line of the file that is not blank.
type record struct {
	line   int
	fields []string // without blanks around them
}

func split(text []byte) (all []record, err error) {
	in := csv.NewReader(bytes.NewReader(text))
	in.FieldsPerRecord = -1
	for {
		fields, err := in.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if parse := (*csv.ParseError)(nil); errors.As(err, &parse) {
			return nil, wrong(fmt.Sprintf("line %d has a quotation mark where none can be, or one that is not closed", parse.StartLine), "save it as CSV again, or write one token a line")
		}
		if err != nil {
			return nil, wrong("it cannot be read as CSV", "save it as CSV again, or write one token a line")
		}
		line, _ := in.FieldPos(0)
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		if slices.ContainsFunc(fields, func(f string) bool { return f != "" }) {
			all = append(all, record{line, fields})
		}
	}
}

// columns are where a record has what is read.
type columns struct {
	named      bool // by a header
	token, row int  // row is -1 where there is none
}

// header looks whether the first record is one.
func header(first *record) (columns, error) {
	c := columns{token: -1, row: -1}
	for i, name := range first.fields {
		at := &c.token
		switch strings.ToLower(name) {
		case "token", "nhs_token", "pseudonym":
		case "row":
			at = &c.row
		default:
			continue
		}
		if *at >= 0 {
			return c, wrong(fmt.Sprintf("line %d names two columns of which one is meant", first.line), "leave one column of tokens, and one of row numbers")
		}
		*at = i
	}
	switch {
	case c.token >= 0:
		c.named = true
	case len(first.fields) > 1 || c.row >= 0:
		return c, wrong(fmt.Sprintf("line %d is no header with a column token", first.line), "name the column of the tokens token, or write one token a line")
	default:
		c.token = 0
	}
	return c, nil
}

func (c columns) rows(records []record) ([]Row, error) {
	var rows []Row
	var told []string
	refused := 0
	for i := range records {
		row, err := c.read(&records[i])
		if err == nil {
			rows = append(rows, row)
			continue
		}
		if refused++; refused > maxTold {
			continue
		}
		if errors.Is(err, keys.ErrToken) { // to find out why takes a while
			err = keys.ExplainToken(records[i].field(c.token))
		}
		told = append(told, fmt.Sprintf("line %d: %s", records[i].line, err))
	}
	if refused > maxTold {
		told = append(told, fmt.Sprintf("and %d lines more", refused-maxTold))
	}
	if told != nil {
		return nil, wrong(strings.Join(told, "; "), "correct these lines, and give tokens only")
	}
	return rows, nil
}

// field returns a field, which is empty where a line is shorter.
func (r *record) field(i int) string {
	if i < len(r.fields) {
		return r.fields[i]
	}
	return ""
}

// read reads one row. Its error repeats nothing of it.
func (c columns) read(r *record) (row Row, err error) {
	text := r.field(c.token)
	switch {
	case text == "":
		return row, errors.New("there is no token")
	case !c.named && len(r.fields) > 1:
		return row, errors.New("there is more than one column, and no header says which has the tokens")
	}
	token, err := keys.ParseToken(text)
	if err != nil {
		return row, err
	}
	row = Row{Line: r.line, Row: r.line, Token: token.String()}
	if c.row < 0 {
		return row, nil
	}
	row.Row, err = strconv.Atoi(r.field(c.row))
	if err != nil || row.Row < 0 || row.Row > maxRow {
		return row, errors.New("its row is no number from 0 to 1,000,000,000")
	}
	return row, nil
}

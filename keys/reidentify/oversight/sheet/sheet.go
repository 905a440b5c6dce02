// Package sheet writes counts as CSV for spreadsheets, and reads lists of tokens that people
// bring as CSV. It is the one place of the key holder that knows this format: it has no
// reader for a data set, and this is none, since what is read is tokens and nothing else.
//
// What is written is RFC 4180: commas, CRLF, quotes where they are needed. No cell is a
// formula for a spreadsheet.
package sheet

import (
	"encoding/csv"
	"errors"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Write writes rows of cells. A text that a spreadsheet could run gets an apostrophe before
// it, which spreadsheets do not show; a plain number stays one. The error is of writing.
func Write(w io.Writer, rows [][]string) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = Harmless(cell)
		}
		if err := out.Write(cells); err != nil {
			return errors.New("sheet: a row cannot be written")
		}
	}
	out.Flush()
	if out.Error() != nil {
		return errors.New("sheet: the rows cannot be written")
	}
	return nil
}

// plainNumber is what stays as it is: digits, with a sign and decimals.
var plainNumber = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)

// starts are the characters by which a spreadsheet takes a cell for a formula; some take
// the wide ones for them, too.
const starts = "=+-@＝＋－＠"

// Harmless returns a text as a cell that no spreadsheet runs. Spreadsheets pass over blanks,
// and some over what cannot be seen, before they look.
func Harmless(text string) string {
	if plainNumber.MatchString(text) || !dangerous(text) {
		return text
	}
	return "'" + text
}

func dangerous(text string) bool {
	if strings.HasPrefix(text, "\t") || strings.HasPrefix(text, "\r") || strings.HasPrefix(text, "\n") {
		return true
	}
	text = strings.TrimLeftFunc(text, passedOver)
	first, size := utf8.DecodeRuneInString(text)
	return size > 0 && strings.ContainsRune(starts, first)
}

// passedOver reports whether a character may be passed over at the beginning of a cell.
func passedOver(c rune) bool {
	return unicode.IsSpace(c) || unicode.IsControl(c) || unicode.In(c, unicode.Cf, unicode.Zs)
}

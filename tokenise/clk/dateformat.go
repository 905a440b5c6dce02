package clk

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// dateFormat reads dates as Python's datetime.strptime does in the C locale.
// The directives %Z (the names depend on the machine) and those that Python
// does not know are refused.
type dateFormat struct {
	expression *regexp.Regexp
	directives []byte // of its groups, in order
}

// dateDirectives are Python's own expressions (Lib/_strptime.py of 3.11),
// without their groups; \d is a digit of any script. What matches is found
// leftmost-first in both languages, so the order of alternatives matters.
var dateDirectives = map[rune]string{
	'd': `3[0-1]|[1-2]\d|0[1-9]|[1-9]| [1-9]`,
	'f': `[0-9]{1,6}`,
	'H': `2[0-3]|[0-1]\d|\d`,
	'I': `1[0-2]|0[1-9]|[1-9]`,
	'G': `\d\d\d\d`,
	'j': `36[0-6]|3[0-5]\d|[1-2]\d\d|0[1-9]\d|00[1-9]|[1-9]\d|0[1-9]|[1-9]`,
	'm': `1[0-2]|0[1-9]|[1-9]`,
	'M': `[0-5]\d|\d`,
	'S': `6[0-1]|[0-5]\d|\d`,
	'U': `5[0-3]|[0-4]\d|\d`,
	'W': `5[0-3]|[0-4]\d|\d`,
	'w': `[0-6]`,
	'u': `[1-7]`,
	'V': `5[0-3]|0[1-9]|[1-4]\d|\d`,
	'y': `\d\d`,
	'Y': `\d\d\d\d`,
	'z': `[+-]\d\d:?[0-5]\d(?::?[0-5]\d(?:\.\d{1,6})?)?|(?-i:Z)`,
	'A': `wednesday|thursday|saturday|tuesday|monday|friday|sunday`,
	'a': `mon|tue|wed|thu|fri|sat|sun`,
	'B': `september|february|november|december|january|october|august|march|april|june|july|may`,
	'b': `jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec`,
	'p': `am|pm`,
}

// dateShorthands are directives that stand for others.
var dateShorthands = map[rune]string{'c': "%a %b %d %H:%M:%S %Y", 'x': "%m/%d/%y", 'X': "%H:%M:%S"}

func newDateFormat(format string) (*dateFormat, error) {
	f := &dateFormat{}
	var b strings.Builder
	b.WriteString(`(?i)\A(?:`)
	if err := f.write(&b, format); err != nil {
		return nil, err
	}
	b.WriteString(")")
	var err error
	if f.expression, err = regexp.Compile(b.String()); err != nil {
		return nil, errors.New("is not a format of dates that is understood here")
	}
	return f, nil
}

func (f *dateFormat) write(b *strings.Builder, format string) error {
	directive, space := false, false
	for _, r := range format {
		switch {
		case directive:
			directive = false
			if err := f.writeDirective(b, r); err != nil {
				return err
			}
		case r == '%':
			directive, space = true, false
		case unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f:
			if !space { // any white space in the format matches any in the text
				b.WriteString("[" + classSpace + "]+")
			}
			space = true
		case r == 'i' || r == 'I':
			b.WriteString(`[iI\x{130}\x{131}]`) // Python's IGNORECASE, wider than Go's
			space = false
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
			space = false
		}
	}
	if directive {
		return errors.New("ends in a single %")
	}
	return nil
}

func (f *dateFormat) writeDirective(b *strings.Builder, r rune) error {
	if shorthand, ok := dateShorthands[r]; ok {
		return f.write(b, shorthand)
	}
	expression, ok := dateDirectives[r]
	switch {
	case r == '%':
		b.WriteString("%")
		return nil
	case r == 'Z':
		return errors.New("has the directive %Z, whose meaning depends on the machine")
	case !ok:
		return errors.New("has a directive that strptime does not know")
	case strings.IndexByte(string(f.directives), byte(r)) >= 0:
		return fmt.Errorf("has the directive %%%c twice", r)
	}
	f.directives = append(f.directives, byte(r))
	b.WriteString("(" + strings.ReplaceAll(expression, `\d`, classDigitEscape) + ")")
	return nil
}

const classDigitEscape = `[` + classDigit + `]`

// parse returns the date of a text.
func (f *dateFormat) parse(text string) (date, bool) {
	found := f.expression.FindStringSubmatchIndex(text)
	if found == nil || found[1] != len(text) {
		return date{}, false
	}
	d := newDateParts()
	for i, directive := range f.directives {
		if !d.set(directive, text[found[2*i+2]:found[2*i+3]]) {
			return date{}, false
		}
	}
	return d.date()
}

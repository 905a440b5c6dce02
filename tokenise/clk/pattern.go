package clk

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Classes of Python's re for text, as the inside of a Go character class.
const (
	classDigit = `\p{Nd}`
	classWord  = `\p{L}\p{N}_`
	classSpace = `\t-\r\x1c-\x20\x{85}\p{Z}`
)

// compilePattern returns a regular expression of Go that matches a whole text
// exactly where Python's re.fullmatch matches the pattern. What cannot be
// translated without changing its meaning is refused: look-around, references,
// flags, \b, and $ anywhere but at the end.
func compilePattern(pattern string) (*regexp.Regexp, error) {
	t := translator{rest: pattern}
	if err := t.translate(); err != nil {
		return nil, err
	}
	compiled, err := regexp.Compile(`\A(?:` + t.out.String() + `)\z`)
	if err != nil {
		return nil, errors.New("is not a regular expression that is understood here")
	}
	return compiled, nil
}

type translator struct {
	rest  string
	out   strings.Builder
	depth int // of open groups
}

// take returns the next character.
func (t *translator) take() string {
	_, n := utf8.DecodeRuneInString(t.rest)
	c := t.rest[:n]
	t.rest = t.rest[n:]
	return c
}

func (t *translator) translate() error {
	for t.rest != "" {
		switch c := t.take(); c {
		case `\`:
			if err := t.escape(false); err != nil {
				return err
			}
		case "[":
			if err := t.class(); err != nil {
				return err
			}
		case "(":
			t.depth++
			if err := t.group(); err != nil {
				return err
			}
		case ")":
			if t.depth--; t.depth < 0 {
				return errors.New("has a ) that closes nothing")
			}
			t.out.WriteString(c)
		case "{":
			t.repetition()
		case "$":
			// Python's $ also matches before a last line feed.
			if t.depth > 0 || t.rest != "" && t.rest[0] != '|' {
				return errors.New("has a $ that is not at the end")
			}
		default:
			t.out.WriteString(c)
		}
	}
	return nil
}

// escape translates what follows a backslash.
func (t *translator) escape(inClass bool) error {
	if t.rest == "" {
		return errors.New("ends in a backslash")
	}
	c := t.take()
	classes := map[string]string{"d": classDigit, "w": classWord, "s": classSpace, "D": classDigit, "W": classWord, "S": classSpace}
	inside, isClass := classes[c]
	switch {
	case isClass && strings.ToLower(c) == c && inClass:
		t.out.WriteString(inside)
	case isClass && strings.ToLower(c) == c:
		t.out.WriteString("[" + inside + "]")
	case isClass && !inClass:
		t.out.WriteString("[^" + inside + "]")
	case strings.Contains("afnrtv", c):
		t.out.WriteString(`\` + c)
	case c == "x" || c == "u" || c == "U":
		return t.hexadecimal(map[string]int{"x": 2, "u": 4, "U": 8}[c])
	case c == "A" && !inClass:
		t.out.WriteString(`\A`)
	case c == "Z" && !inClass:
		t.out.WriteString(`\z`)
	case len(c) == 1 && (c >= "0" && c <= "9" || c >= "A" && c <= "Z" || c >= "a" && c <= "z"):
		return fmt.Errorf("has the escape \\%s, which cannot be used here", c)
	case c == "-":
		t.out.WriteString(`\-`)
	default:
		t.out.WriteString(regexp.QuoteMeta(c))
	}
	return nil
}

// hexadecimal translates the digits of \x41, \u0041 or \U00000041.
func (t *translator) hexadecimal(digits int) error {
	if len(t.rest) < digits {
		return errors.New("has a hexadecimal escape that is too short")
	}
	for _, c := range t.rest[:digits] {
		if !strings.ContainsRune("0123456789abcdefABCDEF", c) {
			return errors.New("has a hexadecimal escape that is too short")
		}
	}
	t.out.WriteString(`\x{` + t.rest[:digits] + `}`)
	t.rest = t.rest[digits:]
	return nil
}

// class translates the inside of [..].
func (t *translator) class() error {
	t.out.WriteString("[")
	if strings.HasPrefix(t.rest, "^") {
		t.out.WriteString(t.take())
	}
	for first := true; ; first = false {
		if t.rest == "" {
			return errors.New("has a [ that is not closed")
		}
		c := t.take()
		switch {
		case c == "]" && !first:
			t.out.WriteString(c)
			return nil
		case c == `\`:
			if err := t.escape(true); err != nil {
				return err
			}
		case c == "-":
			t.out.WriteString(c)
		case c == "[" && strings.HasPrefix(t.rest, ":"):
			return errors.New("has a class [:..:], which Python does not know")
		default:
			t.out.WriteString(regexp.QuoteMeta(c))
		}
	}
}

// group translates what follows an opening parenthesis.
func (t *translator) group() error {
	switch {
	case strings.HasPrefix(t.rest, "?:"):
		t.rest = t.rest[2:]
	case strings.HasPrefix(t.rest, "?P<"):
		_, after, ok := strings.Cut(t.rest, ">")
		if !ok {
			return errors.New("has a group whose name does not end")
		}
		t.rest = after
	case strings.HasPrefix(t.rest, "?"):
		return errors.New("has a group (?..) other than (?:..) and (?P<name>..), which cannot be used here")
	}
	t.out.WriteString("(?:") // which text a group matched is never asked
	return nil
}

// repetition translates what follows an opening brace: {,n} is {0,n}, and what
// is no repetition stands for itself.
func (t *translator) repetition() {
	inside, _, closed := strings.Cut(t.rest, "}")
	low, high, comma := strings.Cut(inside, ",")
	digits := func(s string) bool { return strings.Trim(s, "0123456789") == "" }
	switch {
	case !closed || !digits(low) || !digits(high) || low == "" && !comma:
		t.out.WriteString(`\{`)
	case low == "":
		t.out.WriteString("{0")
	default:
		t.out.WriteString("{")
	}
}

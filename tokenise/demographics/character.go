package demographics

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Kinds of characters. A kind from '0' on is the digit or lower-case letter
// that the character stands for.
const (
	dropped   byte = iota // no letter and nothing known: dropped, divides nothing
	space                 // divides words
	hyphen                // divides words, and the parts of a date
	divider               // divides words
	invisible             // as if it were not there
)

// character is what is known of a character beyond ASCII.
type character struct {
	kind    byte
	letters string // what it becomes, of the letter map
}

// alphabet is the tables characters and letter_map.
type alphabet struct {
	ascii [utf8.RuneSelf]byte
	wide  map[rune]character
}

var letters = loadAlphabet()

func loadAlphabet() *alphabet {
	a := &alphabet{wide: map[rune]character{}}
	for c := byte('a'); c <= 'z'; c++ {
		a.ascii[c], a.ascii[c-'a'+'A'] = c, c
	}
	for c := byte('0'); c <= '9'; c++ {
		a.ascii[c] = c
	}
	kinds := map[string]byte{"space": space, "hyphen": hyphen, "divider": divider, "invisible": invisible}
	for _, line := range lines(TableCharacters) {
		fields := strings.Fields(line)
		if len(fields) < 2 || kinds[fields[1]] == dropped {
			bad(TableCharacters, line)
		}
		first, last, ranged := strings.Cut(fields[0], "..")
		if !ranged {
			last = first
		}
		from := tableNumber(TableCharacters, line, strings.TrimPrefix(first, "U+"), 16)
		to := tableNumber(TableCharacters, line, strings.TrimPrefix(last, "U+"), 16)
		for r := from; r <= to; r++ {
			a.set(rune(r), character{kind: kinds[fields[1]]})
		}
	}
	for _, line := range lines(TableLetterMap) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			bad(TableLetterMap, line)
		}
		for _, from := range fields[:len(fields)-1] {
			r, _ := utf8.DecodeRuneInString(from)
			a.set(r, character{letters: fields[len(fields)-1]})
		}
	}
	return a
}

func (a *alphabet) set(r rune, c character) {
	if r < utf8.RuneSelf {
		a.ascii[r] = c.kind
	} else {
		a.wide[r] = c
	}
}

// kind returns what a character is where only blanks, hyphens and ASCII count.
// Full-width forms of ASCII are what they are forms of.
func (a *alphabet) kind(r rune) (kind byte, ascii rune) {
	if r >= utf8.RuneSelf {
		if c, ok := a.wide[r]; ok && c.kind != divider {
			return c.kind, r
		}
		if r < '！' || r > '～' {
			return dropped, r
		}
		r -= '！' - '!'
	}
	return a.ascii[r], r
}

// blank reports whether a text shows nothing.
func blank(text string) bool {
	for _, r := range text {
		if kind, _ := letters.kind(r); kind != space && kind != invisible {
			return false
		}
	}
	return true
}

// plain appends the text of a date or code to dst, as far as dst has room: in
// lower-case ASCII, without invisible characters, with one space for blanks of
// every kind and - for hyphens of every kind, and without blanks around it. It
// reports false for anything longer or not ASCII.
func plain(dst []byte, text string) ([]byte, bool) {
	pending := false
	for i := 0; i < len(text); {
		var kind byte
		r := rune(text[i])
		if r < utf8.RuneSelf {
			kind = letters.ascii[r]
			i++
		} else {
			var size int
			r, size = utf8.DecodeRuneInString(text[i:])
			kind, r = letters.kind(r)
			i += size
		}
		switch {
		case kind == invisible:
			continue
		case kind == space:
			pending = len(dst) > 0
			continue
		case kind == hyphen:
			r = '-'
		case kind >= '0':
			r = rune(kind)
		case r >= utf8.RuneSelf:
			return dst, false
		}
		if pending {
			if len(dst) == cap(dst) {
				return dst, false
			}
			dst, pending = append(dst, ' '), false
		}
		if len(dst) == cap(dst) {
			return dst, false
		}
		dst = append(dst, byte(r))
	}
	return dst, true
}

// words is a text as words of lower-case letters a to z, and of digits where
// they are kept. Its methods return the words that they make, in the same
// memory as far as it goes: that keeps the memory of a caller off the heap.
type words struct {
	text  []byte // the words one after another
	spans []span
}

// span is a word in the text, and what it is in the tables of names.
type span struct {
	start, end int
	is         wordIs
}

func (w words) word(s span) []byte { return w.text[s.start:s.end] }

// fold splits a text into words. Letters of the letter map are replaced;
// others are decomposed, and letters a to z and letters of the map are kept of
// what comes of it. Decomposing one character at a time gives the same as NFKD
// of the whole text, which only reorders the accents that are dropped.
func (w words) fold(raw string, digits bool) words {
	text, spans, start := w.text[:0], w.spans[:0], 0
	for i := 0; i < len(raw); {
		var kind byte
		size := 1
		if c := raw[i]; c < utf8.RuneSelf {
			kind = letters.ascii[c]
			if kind >= 'a' || kind >= '0' && digits {
				text = append(text, kind)
			}
		} else {
			var r rune
			r, size = utf8.DecodeRuneInString(raw[i:])
			text, kind = appendWide(text, r, raw[i:i+size], digits)
		}
		if divides := kind == space || kind == hyphen || kind == divider; divides && len(text) > start {
			spans = append(spans, span{start: start, end: len(text)})
			start = len(text)
		}
		i += size
	}
	if len(text) > start {
		spans = append(spans, span{start: start, end: len(text)})
	}
	return words{text, spans}
}

// appendWide appends what a character beyond ASCII becomes, and returns its
// kind.
func appendWide(text []byte, r rune, raw string, digits bool) ([]byte, byte) {
	if c, ok := letters.wide[r]; ok {
		return append(text, c.letters...), c.kind
	}
	for _, d := range string(norm.NFKD.PropertiesString(raw).Decomposition()) {
		if d >= utf8.RuneSelf {
			text = append(text, letters.wide[d].letters...)
		} else if kind := letters.ascii[d]; kind >= 'a' || kind >= '0' && digits {
			text = append(text, kind)
		}
	}
	return text, dropped
}

// appendTo appends the words to dst. They share one string.
func (w words) appendTo(dst []string) []string {
	text := string(w.text)
	for _, s := range w.spans {
		dst = append(dst, text[s.start:s.end])
	}
	return dst
}

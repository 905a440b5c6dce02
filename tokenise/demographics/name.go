// Package demographics normalises what systems hold of people - names, dates,
// postcodes, sex - and judges each field: usable, missing, or not to be used
// and why. It never guesses between two readings and never makes two different
// people's fields equal by a rule that is not written in its tables.
//
// No function returns, logs or wraps any part of what it was given in an
// error; the reason codes are all that is said.
package demographics

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"tarn/tokenise/reason"
)

// Name returns the parts of a personal name: lower case a to z, each once, in
// ascending order, because the order in which systems hold them says nothing.
//
// Letters that do not decompose are mapped by the letter map (ø o, ß ss, ..),
// then NFKD takes accents off. Apostrophes of every kind join, hyphens and
// spaces of every kind split, everything else is dropped. Junk ("baby",
// "unknown") is dropped; titles are dropped where another part is left, so
// that a person called Lord or Major keeps that name.
//
// Nothing given is nil and no code; only junk is name_junk; something given of
// which nothing is left, as of a name in another script, is name_empty.
func Name(raw string) (parts []string, code reason.Code) {
	parts = split(raw)
	if len(parts) == 0 {
		if strings.TrimFunc(raw, blank) == "" {
			return nil, ""
		}
		return nil, reason.NameEmpty
	}
	parts = names.withoutJunk(parts)
	if len(parts) == 0 {
		return nil, reason.NameJunk
	}
	slices.Sort(parts)
	return slices.Compact(parts), ""
}

// Text returns the words of any text: lower case letters a to z and digits,
// each once, in ascending order. For fields of a profile file, such as an
// address.
func Text(raw string) []string {
	words := splitFold(raw, true)
	slices.Sort(words)
	return slices.Compact(words)
}

// Code returns an identifier in one form: upper case, letters A to Z and
// digits only, accents taken off. Empty is missing. For fields of a profile
// file, such as a foreign postcode.
func Code(raw string) string {
	words := splitFold(raw, true)
	return strings.ToUpper(strings.Join(words, ""))
}

func split(raw string) []string {
	if parts, ok := splitASCII(raw); ok {
		return parts
	}
	return splitFold(raw, false)
}

// splitASCII is splitFold for text of ASCII letters, spaces, hyphens and
// apostrophes, which nearly every name is.
func splitASCII(raw string) (parts []string, ok bool) {
	var word [64]byte
	n := 0
	flush := func() {
		if n > 0 {
			parts = append(parts, string(word[:n]))
			n = 0
		}
	}
	for i := range len(raw) {
		switch c := raw[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			if n == len(word) {
				return nil, false
			}
			word[n] = c | 0x20
			n++
		case c == ' ', c == '-':
			flush()
		case c == '\'':
		default:
			return nil, false
		}
	}
	flush()
	return parts, true
}

// splitFold splits any text into words of a to z, and of digits where they are
// kept.
func splitFold(raw string, digits bool) (words []string) {
	var mapped strings.Builder
	for _, r := range raw {
		// Lower case first: the letter map has lower-case forms. Some letters
		// become two runes and are handled by the decomposition.
		r = unicode.ToLower(r)
		if replacement, ok := names.letters[r]; ok {
			mapped.WriteString(replacement)
		} else {
			mapped.WriteRune(r)
		}
	}
	var word strings.Builder
	flush := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
			word.Reset()
		}
	}
	for _, r := range norm.NFKD.String(mapped.String()) {
		r = unicode.ToLower(r)
		switch {
		case r >= 'a' && r <= 'z', digits && r >= '0' && r <= '9':
			word.WriteRune(r)
		case splits(r, digits):
			flush()
		default:
			// A decomposition may give letters of the map once more.
			if replacement, ok := names.letters[r]; ok {
				word.WriteString(replacement)
			}
		}
	}
	flush()
	return words
}

// splits reports whether a character divides two parts. In names only spaces,
// hyphens and what is written for "or" or "and" do; full stops do not, so
// that "St.John" stays one part as "St John" does not: the field is what it is.
func splits(r rune, text bool) bool {
	switch {
	case unicode.IsSpace(r), unicode.Is(unicode.Pd, r), unicode.Is(unicode.Zs, r), r == '\u2212', r == '\u00ad', r == '_', r == '/', r == ',', r == '&', r == '+', r == '(', r == ')':
		return true
	}
	return text && (unicode.IsPunct(r) || unicode.IsSymbol(r)) && !apostrophe(r)
}

func apostrophe(r rune) bool {
	switch r {
	case '\'', '\u2018', '\u2019', '\u02bc', '\u02bb', '\u02b9', '`', '\u00b4', '\uff07', '\u2032':
		return true
	}
	return false
}

func blank(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) || r == '\u00a0' }

// withoutJunk drops junk words and phrases, then titles if something else is
// left.
func (t *nameTables) withoutJunk(parts []string) []string {
	if len(parts) > 1 {
		parts = t.withoutPhrases(parts)
	}
	parts = slices.DeleteFunc(parts, func(p string) bool { return t.words[p] })
	named := 0
	for _, p := range parts {
		if !t.titles[p] {
			named++
		}
	}
	if named == 0 {
		return parts
	}
	return slices.DeleteFunc(parts, func(p string) bool { return t.titles[p] })
}

func (t *nameTables) withoutPhrases(parts []string) []string {
	for _, phrase := range t.phrases {
		for i := 0; i+len(phrase) <= len(parts); i++ {
			if slices.Equal(parts[i:i+len(phrase)], phrase) {
				parts = slices.Delete(parts, i, i+len(phrase))
				i--
			}
		}
	}
	return parts
}

// Package demographics normalises what systems hold of people - names, dates,
// postcodes, sex - and judges each field: usable, missing, or not to be used
// and why. It never guesses between two readings and never makes two different
// people's fields equal by a rule that is not written in its tables.
//
// Normalising what a normaliser gave changes nothing. No function returns, logs
// or wraps any part of what it was given in an error; the reason codes are all
// that is said. What each field becomes, by example, is in
// docs/normalisation.md and, case by case, in testdata/golden.csv.
package demographics

import (
	"bytes"

	"tarn/tokenise/reason"
)

// Name returns the parts of a personal name: lower case a to z, each once, in
// ascending order, because the order in which systems hold them says nothing.
//
// Letters that do not decompose are mapped by the table letter_map (ø o, ß ss,
// ..), and NFKD takes accents off others. Blanks, hyphens and punctuation of the
// table characters divide parts; apostrophes and everything else are dropped
// and divide nothing. Junk and titles are dropped by the tables junk_names and
// titles; a title that is also a name (Lord) stays where nothing else is left.
//
// Nothing given is nil and no code; only junk and titles is name_junk;
// something given of which nothing is left, as of a name in another script, is
// name_empty.
func Name(raw string) (parts []string, code reason.Code) {
	var text [64]byte
	var spans [8]span
	w, code := words{text[:0], spans[:0]}.name(raw)
	if len(w.spans) == 0 {
		return nil, code
	}
	return w.appendTo(make([]string, 0, len(w.spans))), ""
}

// mostMet bounds what a Names remembers: more than there are different words
// in the names of a region, and some ten megabytes.
const mostMet = 1 << 17

// Names is Name for many names: it remembers the words it has met, so that
// names made of them need no memory. The zero Names is ready; it serves one
// goroutine.
type Names struct {
	words words
	met   map[string]string
}

// Append appends the parts of a name to dst, as Name returns them. The parts
// appended stay valid.
func (n *Names) Append(dst []string, raw string) ([]string, reason.Code) {
	var code reason.Code
	n.words, code = n.words.name(raw)
	for _, s := range n.words.spans {
		dst = append(dst, n.known(n.words.word(s)))
	}
	return dst, code
}

// Forget forgets the words that were met where they are more than so many.
func (n *Names) Forget(most int) {
	if len(n.met) > most {
		n.met = nil // to clear a map keeps its memory
	}
}

func (n *Names) known(word []byte) string {
	if text, ok := n.met[string(word)]; ok {
		return text
	}
	if n.met == nil {
		n.met = map[string]string{}
	}
	if len(n.met) == mostMet {
		clear(n.met)
	}
	text := string(word)
	n.met[text] = text
	return text
}

// name returns the parts of a name, and the code if nothing is left.
func (w words) name(raw string) (words, reason.Code) {
	w = w.fold(raw, false)
	switch {
	case len(w.spans) == 0 && blank(raw):
		return w, ""
	case len(w.spans) == 0:
		return w, reason.NameEmpty
	case len(w.text) <= names.letters && names.field(raw):
		w.spans = w.spans[:0]
		return w, reason.NameJunk
	}
	w = w.sortUnique().withoutJunk(names)
	if len(w.spans) == 0 {
		return w, reason.NameJunk
	}
	return w, ""
}

// Text returns the words of any text: lower case letters a to z and digits,
// each once, in ascending order. For fields of a profile file, such as an
// address.
func Text(raw string) []string {
	return words{}.fold(raw, true).sortUnique().appendTo(nil)
}

// Code returns an identifier in one form: upper case, letters A to Z and
// digits only, accents taken off. Empty is missing. For fields of a profile
// file, such as a foreign postcode.
func Code(raw string) string {
	return string(bytes.ToUpper(words{}.fold(raw, true).text))
}

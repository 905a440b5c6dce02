package demographics

import (
	"bytes"
	"slices"
	"strings"
)

// wordIs says what the tables titles and junk_names know of a word.
type wordIs uint8

const (
	title     wordIs = 1 << iota // a title and nobody's name
	titleName                    // a title that is also a name
	junkWord                     // junk wherever it stands
	junkAlone                    // junk where nothing else is left
	inPhrase                     // a word of a phrase of junk
)

// nameTables is titles and junk_names.
type nameTables struct {
	words    map[string]wordIs
	phrases  [][]string // longest first
	prefixes []string
	fields   map[string]bool // whole fields
	letters  int             // of the longest of fields
}

var names = loadNames()

func loadNames() *nameTables {
	t := &nameTables{words: map[string]wordIs{}, fields: map[string]bool{}}
	for _, line := range lines(TableTitles) {
		switch word, also, _ := strings.Cut(line, " "); also {
		case "":
			t.words[word] |= title
		case "name":
			t.words[word] |= titleName
		default:
			bad(TableTitles, line)
		}
	}
	for _, line := range lines(TableJunkNames) {
		fields := strings.Fields(line)
		switch {
		case fields[0] == "=" && len(fields) == 2:
			t.fields[fields[1]] = true
			t.letters = max(t.letters, len(fields[1]))
		case fields[0] == "?" && len(fields) == 2:
			t.words[fields[1]] |= junkAlone
		case len(fields) > 1:
			t.phrases = append(t.phrases, fields)
			for _, word := range fields {
				t.words[word] |= inPhrase
			}
		case strings.HasSuffix(line, "*"):
			t.prefixes = append(t.prefixes, strings.TrimSuffix(line, "*"))
		default:
			t.words[line] |= junkWord
		}
	}
	slices.SortStableFunc(t.phrases, func(a, b []string) int { return len(b) - len(a) })
	return t
}

// of returns what a word is.
func (t *nameTables) of(word []byte) wordIs {
	is := t.words[string(word)]
	for _, prefix := range t.prefixes {
		if len(word) >= len(prefix) && string(word[:len(prefix)]) == prefix {
			is |= junkWord
		}
	}
	return is
}

// field reports whether a text is a whole field of junk, such as n/a.
func (t *nameTables) field(text string) bool {
	var memory [16]byte
	s, ok := plain(memory[:0], text)
	return ok && t.fields[string(s)]
}

// sortUnique brings the words into ascending order, each once.
func (w words) sortUnique() words {
	if len(w.spans) < 2 {
		return w
	}
	text := w.text
	slices.SortFunc(w.spans, func(a, b span) int { return bytes.Compare(text[a.start:a.end], text[b.start:b.end]) })
	w.spans = slices.CompactFunc(w.spans, func(a, b span) bool { return bytes.Equal(text[a.start:a.end], text[b.start:b.end]) })
	return w
}

// withoutJunk drops phrases and words of junk, then titles, then what is junk
// where it is alone. The words are sorted and each is there once; doing it
// again drops nothing more.
func (w words) withoutJunk(t *nameTables) words {
	phraseWords := 0
	var seen wordIs
	for i := range w.spans {
		is := t.of(w.word(w.spans[i]))
		w.spans[i].is = is
		seen |= is
		if is&inPhrase != 0 {
			phraseWords++
		}
	}
	if seen == 0 {
		return w
	}
	if phraseWords > 1 {
		for _, phrase := range t.phrases {
			w = w.withoutPhrase(phrase)
		}
	}
	w = w.without(junkWord | title)
	if !w.all(titleName) {
		w = w.without(titleName)
	}
	if w.all(junkAlone) {
		w.spans = w.spans[:0]
	}
	return w
}

// without drops the words that are any of these.
func (w words) without(is wordIs) words {
	w.spans = slices.DeleteFunc(w.spans, func(s span) bool { return s.is&is != 0 })
	return w
}

func (w words) all(is wordIs) bool {
	return !slices.ContainsFunc(w.spans, func(s span) bool { return s.is&is == 0 })
}

// withoutPhrase drops the words of a phrase if all of them are there.
func (w words) withoutPhrase(phrase []string) words {
	for _, word := range phrase {
		if !slices.ContainsFunc(w.spans, func(s span) bool { return string(w.word(s)) == word }) {
			return w
		}
	}
	w.spans = slices.DeleteFunc(w.spans, func(s span) bool { return slices.Contains(phrase, string(w.word(s))) })
	return w
}

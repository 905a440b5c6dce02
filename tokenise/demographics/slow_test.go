package demographics_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/text/unicode/norm"
)

// slow is the rules of docs/normalisation.md read aloud, from the table files
// themselves: the obvious twin of the normalisers of names and postcodes.
type slow struct {
	divide, unseen, letters map[rune]string
	words                   map[string]string // junk, title, name (a title that is a name), alone
	prefixes                []string
	phrases                 [][]string
	fields                  map[string]bool
	areas                   map[string]bool
}

func entries(name string) (all []string) {
	b, err := os.ReadFile("tables/" + name + ".txt")
	if err != nil {
		panic(err)
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all
}

var readSlow = sync.OnceValue(func() *slow {
	s := &slow{divide: map[rune]string{}, unseen: map[rune]string{}, letters: map[rune]string{}, words: map[string]string{}, fields: map[string]bool{}, areas: map[string]bool{}}
	for _, line := range entries("characters") {
		var from, to rune
		var does string
		if n, _ := fmt.Sscanf(line, "U+%x..U+%x %s", &from, &to, &does); n < 3 {
			if _, err := fmt.Sscanf(line, "U+%x %s", &from, &does); err != nil {
				panic(line)
			}
			to = from
		}
		for r := from; r <= to; r++ {
			if does == "invisible" {
				s.unseen[r] = does
			} else {
				s.divide[r] = does
			}
		}
	}
	for _, line := range entries("letter_map") {
		fields := strings.Fields(line)
		for _, letter := range fields[:len(fields)-1] {
			s.letters[[]rune(letter)[0]] = fields[len(fields)-1]
		}
	}
	for _, line := range entries("titles") {
		word, name, _ := strings.Cut(line, " ")
		s.words[word] = map[string]string{"": "title", "name": "name"}[name]
	}
	for _, line := range entries("junk_names") {
		switch fields := strings.Fields(line); {
		case fields[0] == "=":
			s.fields[fields[1]] = true
		case fields[0] == "?":
			s.words[fields[1]] = "alone"
		case len(fields) > 1:
			s.phrases = append(s.phrases, fields)
		case strings.HasSuffix(line, "*"):
			s.prefixes = append(s.prefixes, line[:len(line)-1])
		default:
			s.words[line] = "junk"
		}
	}
	for _, line := range entries("postcode_areas") {
		for _, area := range strings.Fields(line) {
			s.areas[area] = true
		}
	}
	return s
})

var (
	notLetters = regexp.MustCompile(`[^a-zA-Z\n]`)
	notWords   = regexp.MustCompile(`[^a-zA-Z0-9\n]`)
)

// fold divides the whole text first and decomposes the whole of it then; what
// drop matches is dropped.
func (s *slow) fold(text string, drop *regexp.Regexp) (words []string) {
	var b strings.Builder
	for _, r := range text {
		if s.divide[r] != "" {
			r = '\n'
		}
		if s.unseen[r] == "" {
			b.WriteRune(r)
		}
	}
	mapped := func(text string) string {
		var b strings.Builder
		for _, r := range text {
			if to := s.letters[r]; to != "" {
				b.WriteString(to)
			} else {
				b.WriteRune(r)
			}
		}
		return b.String()
	}
	text = mapped(norm.NFKD.String(mapped(b.String())))
	text = drop.ReplaceAllString(text, "")
	words = strings.Fields(strings.ToLower(text))
	slices.Sort(words)
	return slices.Compact(words)
}

func (s *slow) shown(text string) string {
	return strings.TrimFunc(text, func(r rune) bool { return s.divide[r] == "space" || s.unseen[r] != "" })
}

// asciiForms makes full-width forms of ASCII what they are forms of.
func asciiForms(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '！' && r <= '～' {
			return r - '！' + '!'
		}
		return r
	}, text)
}

func (s *slow) name(text string) (parts []string, code string) {
	parts = s.fold(text, notLetters)
	if len(parts) == 0 {
		if s.shown(text) == "" {
			return nil, ""
		}
		return nil, "name_empty"
	}
	if s.fields[strings.ToLower(asciiForms(shownCharacters(s.shown(text))))] {
		return nil, "name_junk"
	}
	for longest := 9; longest > 1; longest-- {
		for _, phrase := range s.phrases {
			has := func(word string) bool { return slices.Contains(parts, word) }
			if len(phrase) == longest && !slices.ContainsFunc(phrase, func(word string) bool { return !has(word) }) {
				parts = slices.DeleteFunc(parts, func(part string) bool { return slices.Contains(phrase, part) })
			}
		}
	}
	parts = slices.DeleteFunc(parts, func(part string) bool {
		return s.words[part] == "junk" || s.words[part] == "title" || slices.ContainsFunc(s.prefixes, func(p string) bool { return strings.HasPrefix(part, p) })
	})
	named := slices.ContainsFunc(parts, func(part string) bool { return s.words[part] != "name" })
	parts = slices.DeleteFunc(parts, func(part string) bool { return named && s.words[part] == "name" })
	if !slices.ContainsFunc(parts, func(part string) bool { return s.words[part] != "alone" }) {
		return nil, "name_junk"
	}
	return parts, ""
}

// The postcodes of BS 7666 without their space, districts of two digits not
// from 0.
var validPostcode = regexp.MustCompile(`^(GIR0AA|([A-PR-UWYZ]([0-9]|[1-9][0-9]|[0-9][A-HJKPSTUW]|[A-HK-Y]([0-9]|[1-9][0-9]|[0-9][ABEHMNPRVWXY])))[0-9][ABD-HJLNP-UW-Z]{2})$`)

// postcode tries every way to exchange O and 0, and I and 1, in a text of upper
// case letters and digits.
func (s *slow) postcode(text string) string {
	spaced := func(text string) string { return text[:len(text)-3] + " " + text[len(text)-3:] }
	if validPostcode.MatchString(text) {
		return spaced(text)
	}
	found := map[string]bool{}
	var try func(done, left string)
	try = func(done, left string) {
		if left == "" {
			area := strings.TrimRight(done[:max(len(done)-3, 0)], "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
			area = strings.TrimRight(area, "0123456789")
			if validPostcode.MatchString(done) && (s.areas[area] || done == "GIR0AA") {
				found[done] = true
			}
			return
		}
		for _, c := range map[byte]string{'O': "O0", '0': "0O", 'I': "I1", '1': "1I"}[left[0]] + left[:1] {
			try(done+string(c), left[1:])
		}
	}
	try("", text)
	if len(found) != 1 {
		return ""
	}
	for text := range found {
		return spaced(text)
	}
	return ""
}

func TestSlowPostcodeFindsTheArea(t *testing.T) {
	for text, want := range map[string]string{"SWIA2AA": "SW1A 2AA", "S011AA": "SO1 1AA", "E011AA": "", "SW1A2AA": "SW1A 2AA"} {
		if got := readSlow().postcode(text); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

package demographics

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"strings"

	"golang.org/x/text/unicode/norm"
)

//go:embed tables/*.txt
var tableFiles embed.FS

// Table is a normalisation table and its identity. Profiles name the tables
// they were made for, so that two sites with different ones cannot encode
// differently without noticing.
type Table struct{ Name, SHA256 string }

// Tables returns the tables that Name and Text read, by name. unicode is the
// version of the Unicode data, hashed as text.
func Tables() []Table {
	tables := make([]Table, 0, 4)
	for _, name := range []string{"junk_names", "letter_map", "titles"} {
		tables = append(tables, Table{name, digestOf([]byte(readTable(name)))})
	}
	return append(tables, Table{"unicode", digestOf([]byte(norm.Version))})
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func readTable(name string) string {
	b, err := tableFiles.ReadFile("tables/" + name + ".txt")
	if err != nil {
		panic("demographics: the table " + name + " is not in the binary")
	}
	return string(b)
}

// lines returns the entries of a table, without comments.
func lines(name string) (entries []string) {
	for line := range strings.Lines(readTable(name)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			entries = append(entries, line)
		}
	}
	return entries
}

// names is what Name reads of the tables, made once.
type nameTables struct {
	letters map[rune]string
	titles  map[string]bool
	words   map[string]bool
	phrases [][]string // longest first is not needed: all are tried at each place
}

var names = loadNames()

func loadNames() *nameTables {
	t := &nameTables{letters: map[rune]string{}, titles: map[string]bool{}, words: map[string]bool{}}
	for _, line := range lines("letter_map") {
		letter, replacement, _ := strings.Cut(line, " ")
		t.letters[[]rune(letter)[0]] = replacement
	}
	for _, line := range lines("titles") {
		t.titles[line] = true
	}
	for _, line := range lines("junk_names") {
		if words := strings.Fields(line); len(words) == 1 {
			t.words[line] = true
		} else {
			t.phrases = append(t.phrases, words)
		}
	}
	return t
}

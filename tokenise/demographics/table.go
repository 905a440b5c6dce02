package demographics

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"
)

//go:embed tables/*.txt
var tableFiles embed.FS

// Table is a normalisation table and its identity. Profiles name the tables
// they were made for, so that two sites with different ones cannot encode
// differently without noticing.
type Table struct{ Name, SHA256 string }

// Names of the tables, which are the files tables/NAME.txt; unicode is no file
// but the version of the Unicode data that the decomposition reads.
const (
	TableCharacters      = "characters"
	TableDefaultDates    = "default_dates"
	TableJunkNames       = "junk_names"
	TableLetterMap       = "letter_map"
	TableMonthNames      = "month_names"
	TableNicknames       = "nicknames"
	TablePostcodeAreas   = "postcode_areas"
	TablePseudoPostcodes = "pseudo_postcodes"
	TableSexCodes        = "sex_codes"
	TableTitles          = "titles"
	TableUnicode         = "unicode"
)

// Tables returns all tables by name. The digest of a file is that of its bytes,
// comments included, so that sha256sum gives it; that of unicode is of the
// version as text.
func Tables() []Table {
	files := []string{
		TableCharacters, TableDefaultDates, TableJunkNames, TableLetterMap, TableMonthNames, TableNicknames,
		TablePostcodeAreas, TablePseudoPostcodes, TableSexCodes, TableTitles,
	}
	tables := make([]Table, 0, len(files)+1)
	for _, name := range files {
		tables = append(tables, Table{name, digestOf([]byte(readTable(name)))})
	}
	return append(tables, Table{TableUnicode, digestOf([]byte(norm.Version))})
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

// bad ends the program: a table of this binary that cannot be read is a
// mistake of whoever built it.
func bad(table, line string) {
	panic("demographics: the table " + table + " has a line that is no entry: " + line)
}

// tableNumber reads a number of a table in a base.
func tableNumber(table, line, text string, base int) int {
	n, err := strconv.ParseUint(text, base, 31)
	if err != nil {
		bad(table, line)
	}
	return int(n)
}

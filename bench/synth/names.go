package synth

import (
	"embed"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tarn/keys/fault"
)

//go:embed tables/*.txt
var tables embed.FS

// Origins of names, for which the tables have lists.
const (
	british = iota
	asian
	black
	other
	origins
)

var originNames = [origins]string{"british", "asian", "black", "other"}

// cohorts are the first years of birth of the generations that have lists of
// given names of their own.
var cohorts = []int{1920, 1945, 1965, 1985, 2005}

// nameTables are the frequencies of names.
type nameTables struct {
	given  [origins][2][]*weighted // by sex (0 male), cohort
	family [origins]*weighted
	other  *weighted // postcodes, where a folder gives them
}

// The rank law of names: the r-th most frequent has a share in proportion to
// (r + offset)^-exponent. For family names it gives Smith 1.3%, the 10th .6%
// and the 100th .15% of people, as published; a third of people have a name of
// the list and the rest one of the tail.
const (
	givenOffset, givenExponent   = 6.0, 1.0
	familyOffset, familyExponent = 4.0, .75
	britishTailShare             = .62
	otherTailShare               = .35
	givenTailShare               = .12
)

func loadNames(folder string) (*nameTables, error) {
	if folder != "" {
		return readNames(folder)
	}
	t := &nameTables{}
	if err := t.readGiven(); err != nil {
		return nil, err
	}
	return t, t.readFamily()
}

// lines gives the entries of a table: what is before the colon, and the names
// after it.
func lines(name string, entry func(head string, names []string) error) error {
	b, err := tables.ReadFile("tables/" + name)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		if head, names, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, "#") {
			if err := entry(head, strings.Fields(names)); err != nil {
				return err
			}
		}
	}
	return nil
}

func originOf(name string) (int, error) {
	for i, n := range originNames {
		if n == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("synth: a table names an origin that is not known")
}

func (t *nameTables) readGiven() error {
	err := lines("given_names.txt", func(head string, names []string) error {
		fields := strings.Fields(head)
		origin, err := originOf(fields[0])
		if err != nil {
			return err
		}
		sex := 0
		if fields[1] == "F" {
			sex = 1
		}
		w := ranked(names, givenOffset, givenExponent)
		addTail(w, givenTail(sex), givenTailShare)
		t.given[origin][sex] = append(t.given[origin][sex], w)
		return nil
	})
	for origin := range t.given {
		for sex := range t.given[origin] {
			// An origin with one list has it for every generation.
			for len(t.given[origin][sex]) < len(cohorts) {
				t.given[origin][sex] = append(t.given[origin][sex], t.given[origin][sex][len(t.given[origin][sex])-1])
			}
		}
	}
	return err
}

func (t *nameTables) readFamily() error {
	var heads, tails []string
	err := lines("family_names.txt", func(head string, names []string) error {
		switch head {
		case "heads":
			heads = names
			return nil
		case "tails":
			tails = names
			return nil
		}
		origin, err := originOf(head)
		if err != nil {
			return err
		}
		t.family[origin] = ranked(names, familyOffset, familyExponent)
		return nil
	})
	tail := compounds(heads, tails)
	for origin, w := range t.family {
		share := otherTailShare
		if origin == british {
			share = britishTailShare
		}
		addTail(w, tail, share)
	}
	return err
}

func ranked(names []string, offset, exponent float64) *weighted {
	w := &weighted{}
	for r, name := range names {
		w.add(name, math.Pow(float64(r+1)+offset, -exponent))
	}
	return w
}

// addTail adds rare names that together have this share of people, the first
// three times as frequent as the last.
func addTail(w *weighted, tail []string, share float64) {
	unit := w.total() * share / (1 - share) / float64(len(tail))
	for i, name := range tail {
		w.add(name, unit*(1.5-float64(i)/float64(len(tail))))
	}
}

// compounds joins the morphemes of English place-name surnames, in an order
// that spreads heads and tails.
func compounds(heads, tails []string) (names []string) {
	for i := range heads {
		for j := range tails {
			names = append(names, heads[(i+7*j)%len(heads)]+tails[j])
		}
	}
	return names
}

// givenTail makes rare given names of syllables.
func givenTail(sex int) (names []string) {
	ends := []string{"an", "en", "in", "on", "or", "ek", "iel", "vin", "dric", "mond", "ton", "bert", "ric", "us", "ard"}
	if sex == 1 {
		ends = []string{"a", "ia", "ina", "elle", "ette", "lyn", "ara", "ella", "ora", "inda", "isa", "una", "icia", "ena", "wen"}
	}
	for _, start := range []string{"Al", "Bel", "Cal", "Dal", "El", "Fal", "Gar", "Hal", "Is", "Jar", "Kal", "Lor", "Mar", "Nor", "Or", "Per", "Quil", "Ros", "Sal", "Tam", "Ul", "Val", "Wil", "Yas", "Zan", "Bren", "Cor", "Dar", "Em", "Fen", "Gwen", "Jac", "Kir", "Len", "Mer"} {
		for _, end := range ends {
			names = append(names, start+end)
		}
	}
	return names
}

// readNames reads firstname_uk.csv (firstname, freq, sex, birthyear) and
// lastname_uk.csv (surname, freq) from a folder, and address_uk.csv (postcode)
// if it is there. Every origin then has the same names.
func readNames(folder string) (*nameTables, error) {
	t := &nameTables{}
	byCohort := map[[2]int]*weighted{}
	err := readCSV(filepath.Join(folder, "firstname_uk.csv"), []string{"firstname", "freq", "sex", "birthyear"}, func(v []string) error {
		freq, err1 := strconv.ParseFloat(v[1], 64)
		year, err2 := strconv.Atoi(v[3])
		if err1 != nil || err2 != nil || !(freq > 0) {
			return nil // not a frequency: a remark, a total
		}
		sex := 0
		if strings.HasPrefix(strings.ToLower(v[2]), "f") {
			sex = 1
		}
		key := [2]int{sex, cohortOf(year)}
		if byCohort[key] == nil {
			byCohort[key] = &weighted{}
		}
		byCohort[key].add(capital(v[0]), freq)
		return nil
	})
	if err != nil {
		return nil, err
	}
	family := &weighted{}
	err = readCSV(filepath.Join(folder, "lastname_uk.csv"), []string{"surname", "freq"}, func(v []string) error {
		if freq, err := strconv.ParseFloat(v[1], 64); err == nil && freq > 0 {
			family.add(capital(v[0]), freq)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for origin := range t.family {
		t.family[origin] = family
		for sex := range t.given[origin] {
			t.given[origin][sex] = nearestLists(byCohort, sex)
			if t.given[origin][sex] == nil || family.total() == 0 {
				return nil, fault.New(fault.Usage, "reading names from "+folder, "a sex has no given names, or there are no family names", "give a folder with firstname_uk.csv and lastname_uk.csv")
			}
		}
	}
	postcodes := &weighted{}
	path := filepath.Join(folder, "address_uk.csv")
	if _, err := os.Stat(path); err == nil {
		if err := readCSV(path, []string{"postcode"}, func(v []string) error { postcodes.add(v[0], 1); return nil }); err != nil {
			return nil, err
		}
		t.other = postcodes
	}
	return t, nil
}

func cohortOf(year int) int {
	at := 0
	for i, first := range cohorts {
		if year >= first {
			at = i
		}
	}
	return at
}

// nearestLists gives each generation the list of the nearest one that has one.
func nearestLists(byCohort map[[2]int]*weighted, sex int) (lists []*weighted) {
	for i := range cohorts {
		for distance := range cohorts {
			w := byCohort[[2]int{sex, i - distance}]
			if w == nil {
				w = byCohort[[2]int{sex, i + distance}]
			}
			if w != nil {
				lists = append(lists, w)
				break
			}
		}
	}
	if len(lists) < len(cohorts) {
		return nil
	}
	return lists
}

func capital(name string) string {
	if name == "" {
		return name
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

func readCSV(path string, columns []string, row func(values []string) error) error {
	doing, next := "reading "+path, "give a folder with firstname_uk.csv, lastname_uk.csv and, if there is one, address_uk.csv"
	f, err := os.Open(path)
	if err != nil {
		return fault.Wrap(fault.Usage, doing, err, next)
	}
	defer func() { _ = f.Close() }() // opened for reading
	records, err := csv.NewReader(f).ReadAll()
	if err != nil || len(records) == 0 {
		return fault.New(fault.Usage, doing, "it is not a CSV file with a header", next)
	}
	at := make([]int, len(columns))
	for i, name := range columns {
		at[i] = -1
		for j, column := range records[0] {
			if column == name {
				at[i] = j
			}
		}
		if at[i] < 0 {
			return fault.New(fault.Usage, doing, "it has no column "+name, next)
		}
	}
	values := make([]string, len(columns))
	for _, record := range records[1:] {
		for i, j := range at {
			values[i] = record[j]
		}
		if err := row(values); err != nil {
			return err
		}
	}
	return nil
}

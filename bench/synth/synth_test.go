package synth

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
)

// sample is the number of people that rates are measured on.
const sample = 120_000

func newSample(t testing.TB) *population {
	t.Helper()
	names, err := loadNames("")
	if err != nil {
		t.Fatal(err)
	}
	return newPopulation(1, sample, names)
}

// within reports whether k of n is what probability p gives, within five
// standard deviations: once in two million correct runs it is not.
func within(k, n int, p float64) bool {
	return math.Abs(float64(k)-float64(n)*p) <= 5*math.Sqrt(float64(n)*p*(1-p))+1
}

func TestWithinFindsAWrongRate(t *testing.T) {
	if within(1400, sample, .0100) || !within(1210, sample, .0100) {
		t.Error("a rate that is wrong by a sixth passes, or a right one does not")
	}
}

// TestErrorRates measures what each kind of error does and how often, in the
// groups of every factor.
func TestErrorRates(t *testing.T) {
	p := newSample(t)
	for name, rates := range map[string]*Rates{ErrorsNHS: &nhsRates, ErrorsHard: &hardRates} {
		people, counts := map[string]int{}, map[string]int{}
		for i := range uint64(sample) {
			x := p.person(i)
			r := p.record(x, 0, rates)
			group := fmt.Sprint(Factor(ethnicNames[x.ethnic]), x.female)
			people[group]++
			for m := NumberMissing; m <= PostcodePseudo; m <<= 1 {
				if r.mistakes&m != 0 {
					counts[fmt.Sprint(group, m)]++
				}
			}
			checkRecord(t, p, &x, &r)
		}
		for factor := 1.; factor <= 3; factor++ {
			for _, female := range []bool{false, true} {
				group := fmt.Sprint(factor, female)
				family := rates.FamilyMale
				if female {
					family = rates.FamilyFemale
				}
				given := 1 - rates.GivenWrong*factor
				for m, want := range map[Mistake]float64{
					NumberMissing: rates.NumberMissing * factor, NumberWrong: (1 - rates.NumberMissing*factor) * rates.NumberWrong,
					FamilyWrong: family * factor, GivenWrong: rates.GivenWrong * factor, GivenPhonetic: given * rates.GivenPhonetic * factor,
					GivenTruncated: given * (1 - rates.GivenPhonetic*factor) * rates.GivenTruncated * factor,
					DateWrong:      rates.DateWrong * factor, SexWrong: rates.SexWrong,
					PostcodePseudo: rates.PostcodePseudo, PostcodeChanged: (1 - rates.PostcodePseudo) * rates.PostcodeChanged,
				} {
					if got := counts[fmt.Sprint(group, m)]; !within(got, people[group], want) {
						t.Errorf("%s, group %s, error %d: %d of %d records, want %.2f%%", name, group, m, got, people[group], 100*want)
					}
				}
			}
		}
	}
}

// checkRecord compares a record with the person: a field differs where its
// error is marked and nowhere else.
func checkRecord(t *testing.T, p *population, x *person, r *record) {
	t.Helper()
	sex := "1"
	if x.female {
		sex = "2"
	}
	for _, c := range []struct {
		differs bool
		by      Mistake
	}{
		{r.number != p.nhsNumber(x.index), NumberMissing | NumberWrong}, {r.family != x.family, FamilyWrong},
		{r.given != x.given, GivenWrong | GivenPhonetic | GivenTruncated}, {!r.birth.Equal(x.birth), DateWrong},
		{r.sexText != sex, SexWrong}, {r.postcode != x.postcode, PostcodeChanged | PostcodePseudo},
	} {
		// A name of two letters is the same when it is cut off after two.
		if c.differs != (r.mistakes&c.by != 0) && !(c.by&GivenTruncated != 0 && len(x.given) <= 2) {
			t.Fatalf("person %d: errors %b, and a field that they do not explain", x.index, r.mistakes)
		}
	}
	if r.number != "" {
		if _, state, _ := nhsnumber.Parse(r.number); state != nhsnumber.Valid {
			t.Fatalf("person %d has a number that is %v", x.index, state)
		}
	}
}

func TestNumbersAreTheirOwnAndNotIssued(t *testing.T) {
	p := newSample(t)
	seen := map[string]bool{}
	for i := range uint64(sample) {
		number := p.nhsNumber(i)
		if seen[number] {
			t.Fatalf("person %d has the number of another", i)
		}
		seen[number] = true
		if number < "9000000000" || number >= "9990000000" {
			t.Fatalf("person %d has a number outside 900 000 0000 to 998 999 9999", i)
		}
		if _, state, _ := nhsnumber.Parse(number); state != nhsnumber.Valid {
			t.Fatalf("person %d has a number that is %v", i, state)
		}
	}
}

// TestPeople holds what the tables and the published figures say.
func TestPeople(t *testing.T) {
	p := newSample(t)
	female, children, families, postcodes := 0, 0, map[string]int{}, map[string]int{}
	ethnic := make([]int, len(ethnicNames))
	for i := range uint64(sample) {
		x := p.person(i)
		if x.female {
			female++
		}
		if x.ageBand() == "0-17" {
			children++
		}
		ethnic[x.ethnic]++
		families[x.family]++
		postcodes[x.postcode]++
		if !x.birth.Before(today) || x.birth.Year() < 1905 || x.given == "" || x.family == "" || x.decile < 1 || x.decile > 10 {
			t.Fatalf("person %d is not possible", i)
		}
		if again := p.person(i); again != x {
			t.Fatalf("person %d is not the same twice", i)
		}
	}
	share := func(n int) float64 { return float64(n) / sample }
	for what, c := range map[string]struct{ got, low, high float64 }{
		"female":      {share(female), .48, .53},
		"children":    {share(children), .15, .35},
		"White":       {share(ethnic[ethnicWhite]), .80, .84},
		"Asian":       {share(ethnic[ethnicAsian]), .08, .11},
		"Smith":       {share(families["Smith"]), .007, .016},
		"in postcode": {sample / float64(len(postcodes)), 25, 60},
	} {
		if c.got < c.low || c.got > c.high {
			t.Errorf("%s: %.4f, want %.3f to %.3f", what, c.got, c.low, c.high)
		}
	}
	if len(families) < 5000 {
		t.Errorf("%d different family names: the tail is missing", len(families))
	}
}

// TestTwinsMakePrecisionAQuestion counts pairs of different people who agree on
// date of birth, family name and postcode.
func TestTwinsMakePrecisionAQuestion(t *testing.T) {
	p := newSample(t)
	first := map[string]string{}
	twins := 0
	for i := range uint64(sample) {
		x := p.person(i)
		key := x.birth.Format("2006-01-02") + x.family + x.postcode
		if given, ok := first[key]; ok {
			twins++
			if given == x.given {
				t.Fatalf("person %d cannot be told from their twin", i)
			}
		}
		first[key] = x.given
	}
	if share := 2 * float64(twins) / sample; share < .004 || share > .03 {
		t.Errorf("%.2f%% of people are twins at one address", 100*share)
	}
}

func generate(t testing.TB, c Config) (folder string, files map[string][]byte) {
	t.Helper()
	folder = t.TempDir()
	if _, err := Generate(context.Background(), c, folder, nil); err != nil {
		t.Fatal(err)
	}
	files = map[string][]byte{}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if files[entry.Name()], err = os.ReadFile(filepath.Join(folder, entry.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return folder, files
}

func TestTheSameBytesOnAnyNumberOfCores(t *testing.T) {
	c := Config{People: 9000, Parties: 3, Seed: 4, Errors: ErrorsHard, Overlap: .3, Threads: 1}
	_, one := generate(t, c)
	c.Threads = 5
	_, five := generate(t, c)
	c.Seed++
	_, other := generate(t, c)
	for name, want := range one {
		if !bytes.Equal(five[name], want) {
			t.Errorf("%s differs between one and five cores", name)
		}
		if bytes.Equal(other[name], want) {
			t.Errorf("control: %s is the same for another seed", name)
		}
	}
}

// TestTruth: parties share exactly the people that the overlap says, and an id
// is one record's.
func TestTruth(t *testing.T) {
	for _, overlap := range []float64{0, .25, 1} {
		c := Config{People: 1000, Parties: 3, Seed: 2, Errors: ErrorsNone, Overlap: overlap, Threads: 2}
		folder, files := generate(t, c)
		rows, err := csv.NewReader(bytes.NewReader(files[TruthFile])).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		parties, ids := map[string]int{}, map[string]bool{}
		for _, row := range rows[1:] {
			parties[row[2]]++
			if ids[row[0]+row[1]] {
				t.Fatal("an id is there twice")
			}
			ids[row[0]+row[1]] = true
		}
		shared := 0
		for _, n := range parties {
			switch n {
			case c.Parties:
				shared++
			case 1:
			default:
				t.Fatalf("a person is in %d parties", n)
			}
		}
		if want := int(1000 * overlap); shared != want || len(ids) != 3000 {
			t.Errorf("overlap %v: %d shared people of %d records, want %d of 3000", overlap, shared, len(ids), want)
		}
		if !IsOutput(folder) || IsOutput(t.TempDir()) {
			t.Error("the folder is not known as what it is, or an empty one is")
		}
	}
}

// TestOrderTellsNothing: shared people are not at the same end of two tables.
func TestOrderTellsNothing(t *testing.T) {
	c := Config{People: 4000, Parties: 2, Seed: 2, Errors: ErrorsNone, Overlap: .5, Threads: 1}
	names, err := loadNames("")
	if err != nil {
		t.Fatal(err)
	}
	g := &generator{Config: c, population: newPopulation(c.Seed, 6000, names), shared: 2000}
	party, shared := newParty(g, 0), 0
	for row := range c.People / 2 {
		if party.personOf(row) < uint64(g.shared) {
			shared++
		}
	}
	if !within(shared, c.People/2, .5) {
		t.Errorf("%d of the first %d rows are of shared people", shared, c.People/2)
	}
}

func TestPermutation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64Range(1, 3000).Draw(t, "n")
		p := newPermutation(n, rapid.Uint64().Draw(t, "seed"), 1, 2)
		seen := make([]bool, n)
		for i := range n {
			at := p.at(i)
			if at >= n || seen[at] {
				t.Fatalf("%d of %d goes to %d, which is taken or outside", i, n, at)
			}
			seen[at] = true
		}
	})
}

func TestBelowIsEven(t *testing.T) {
	d := newDraw(1, 2, 3)
	counts := make([]int, 7)
	for range 70_000 {
		counts[d.below(7)]++
	}
	for i, n := range counts {
		if !within(n, 70_000, 1./7) {
			t.Errorf("%d came %d times of 70,000", i, n)
		}
	}
}

func TestTablesFromAFolder(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("firstname_uk.csv", "firstname,freq,sex,birthyear\nada,5,female,1990\nbob,5,male,1990\n")
	write("lastname_uk.csv", "surname,freq\nstone,1\n")
	write("address_uk.csv", "postcode\nM1 1AE\n")
	// One name, one postcode: what should change cannot, and it still ends.
	_, files := generate(t, Config{People: 300, Parties: 2, Seed: 1, Errors: ErrorsHard, Overlap: .5, NamesDir: folder, Threads: 1})
	if text := string(files["north.csv"]); !strings.Contains(text, "Stone") || !strings.Contains(text, "M1 1AE") {
		t.Error("the tables of the folder were not used")
	}
	write("lastname_uk.csv", "surname\nstone\n")
	if _, err := loadNames(folder); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "it has no column freq") {
		t.Errorf("a table without frequencies: %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := Config{People: 1, Parties: 1, Errors: ErrorsNHS}
	if err := good.Check(); err != nil {
		t.Errorf("control: %v", err)
	}
	for name, change := range map[string]func(*Config){
		"no people": func(c *Config) { c.People = 0 }, "too many people": func(c *Config) { c.People = MaxPeople + 1 },
		"no parties": func(c *Config) { c.Parties = 0 }, "too many parties": func(c *Config) { c.Parties = MaxParties + 1 },
		"overlap": func(c *Config) { c.Overlap = math.NaN() }, "errors": func(c *Config) { c.Errors = "some" },
	} {
		c := good
		change(&c)
		if err := c.Check(); fault.KindOf(err) != fault.Usage || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkGenerate(b *testing.B) {
	const people = 50_000
	for b.Loop() {
		generate(b, Config{People: people, Parties: 1, Seed: 1, Errors: ErrorsNHS, Overlap: .5, Threads: 2})
	}
	b.ReportMetric(float64(people*b.N)/b.Elapsed().Seconds(), "records/s")
}

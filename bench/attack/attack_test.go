package attack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"tarn/keys/fault"
	"tarn/tokenise/encode"
)

// tiny is a size for tests: too small for controls to fall.
var tiny = size{dates: 2, register: 120, cohort: 20, pairs: 200, reference: 2_000, targets: 4, pooled: 2_000, tables: 1, block: 60, whole: 1, half: 1, seeded: 1, controls: 1, learnt: 1, aligned: 1, values: 40}

func preset(t *testing.T, name string) *encode.Profile {
	t.Helper()
	p, err := encode.LoadProfile(name, ".")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func tinyWorld(t *testing.T, z size) *world {
	t.Helper()
	w, err := newWorld(t.Context(), z, 5, "")
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func control(t *testing.T) *clkScheme {
	t.Helper()
	s, err := newCLK(clkSchema)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func runOf(w *world) *run { return &run{world: w, victim: drawKey(5, "victim", 0)} }

// TestTheTablesAreTheProducts: filters without diffusion, diffused and padded here
// with the table and pad of their date, are what the product makes of them. So the
// variant with one table differs in nothing but that.
func TestTheTablesAreTheProducts(t *testing.T) {
	p := preset(t, encode.DefaultPreset)
	w := tinyWorld(t, size{dates: 1, register: 30, pairs: 1, reference: 1, targets: 1})
	product, variant := newProfileScheme(p), mustOneTable(t, p)
	people, err := readAll(t.Context(), product, w.registers[0])
	if err != nil {
		t.Fatal(err)
	}
	key := drawKey(1, "test", 0)
	want, err := product.encode(t.Context(), key, people)
	if err != nil {
		t.Fatal(err)
	}
	one, err := variant.encode(t.Context(), key, people)
	if err != nil {
		t.Fatal(err)
	}
	variant.spread = nil
	plain, err := variant.encode(t.Context(), key, people)
	if err != nil {
		t.Fatal(err)
	}
	for f := range 2 {
		table, pad, err := variant.tableOf(key, people[0].born.String(), f)
		if err != nil {
			t.Fatal(err)
		}
		for i := range people {
			if bytes.Equal(one.columns[f].at(i), want.columns[f].at(i)) {
				t.Errorf("field %d, person %d: the variant is the product's encoding", f, i)
			}
			table.diffuse(plain.columns[f].at(i), pad)
			if !bytes.Equal(plain.columns[f].at(i), want.columns[f].at(i)) {
				t.Fatalf("field %d, person %d: diffused here it is not the product's encoding", f, i)
			}
		}
	}
}

func mustOneTable(t *testing.T, p *encode.Profile) *oneTable {
	t.Helper()
	v, err := newOneTable(p)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// diffused makes filters of random bits, one in ten set, diffused by the tables in
// turn.
func diffused(t *testing.T, n int, tables []table, pad []byte) *column {
	t.Helper()
	random := stream(1, "bits", 0)
	L := len(tables[0])
	c := &column{width: L / 8, data: make([]byte, n*L/8), missing: make([]bool, n)}
	for i := range n {
		for j := range L {
			if random.IntN(10) == 0 {
				c.at(i)[j>>3] |= 1 << (j & 7)
			}
		}
		tables[i%len(tables)].diffuse(c.at(i), pad)
	}
	return c
}

// TestTheTableIsRecovered: of filters that one table diffused, for every t; and
// nothing of filters whose tables are many, of a table of another field, or of noise.
func TestTheTableIsRecovered(t *testing.T) {
	const L, n = 128, 20_000
	draw := func(field string, inputs int) table {
		table, err := drawTable(make([]byte, 32), field, L, inputs)
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
	found := func(c *column, inputs int) [][]int {
		rows := newBitRows(L)
		rows.add(c)
		z, err := rows.correlations(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		columns, err := columnsOf(t.Context(), z, L, inputs)
		if err != nil {
			t.Fatal(err)
		}
		return columns
	}
	pad := make([]byte, L/8)
	for i := range pad {
		pad[i] = byte(37 * i)
	}
	for inputs := 2; inputs <= 6; inputs++ {
		one := draw("a", inputs)
		columns := found(diffused(t, n, []table{one}, pad), inputs)
		if right := one.rightColumns(columns); right < L*9/10 {
			t.Errorf("t = %d: %d of %d columns are recovered", inputs, right, L)
		}
		if right := draw("b", inputs).rightColumns(columns); right > 1 && inputs > 2 {
			t.Errorf("t = %d: %d columns of a table that was not used", inputs, right)
		}
	}
	var many []table
	for i := range 500 {
		many = append(many, draw(strings.Repeat("x", i+1), 6))
	}
	if columns := found(diffused(t, n, many, pad), 6); len(columns) > 0 {
		t.Errorf("of 500 tables %d columns are claimed", len(columns))
	}
}

// TestRowsTakeAFilterOnce: a name that comes often counts once.
func TestRowsTakeAFilterOnce(t *testing.T) {
	rows := newBitRows(64)
	c := &column{width: 8, data: bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7, 8}, 3), missing: make([]bool, 3)}
	c.data[8] = 9
	c.missing[2] = true
	rows.add(c)
	rows.add(c)
	if rows.n != 2 || rows.rows[0][0] != 3 || rows.rows[3][0] != 2 {
		t.Errorf("%d filters, rows %x and %x; want 2, 3 and 2", rows.n, rows.rows[0][0], rows.rows[3][0])
	}
}

// TestPairs: known pairs open CLKs and filters whose keys are the project's, and
// nothing under keys of a date; pairs whose people were exchanged teach nothing.
func TestPairs(t *testing.T) {
	w := tinyWorld(t, size{dates: 2, register: 100, cohort: 30, pairs: 1_500, reference: 1, targets: 1})
	r := runOf(w)
	for _, tt := range []struct {
		name        string
		scheme      tokenised
		least, most float64
	}{
		{"clk", control(t), .9, 1},
		{"keyed by project", newProfileScheme(preset(t, "nhs-field-1")), .6, 1},
		{"keyed by date", newProfileScheme(preset(t, encode.DefaultPreset)), 0, .1},
	} {
		alone, together, err := r.cohorts(t.Context(), tt.scheme, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []score{alone.score, together.score} {
			if found := float64(s.right) / float64(s.records); s.records < 40 || found < tt.least || found > tt.most {
				t.Errorf("%s: %d of %d, want %v to %v", tt.name, s.right, s.records, tt.least, tt.most)
			}
		}
	}
	s := control(t)
	people, err := readAll(t.Context(), s, w.elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.encode(t.Context(), r.victim, people)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(people)
	wrong, err := learn(t.Context(), s, people, e)
	if err != nil {
		t.Fatal(err)
	}
	if wrong.fields[0].belief > .01 {
		t.Errorf("of pairs that are none, %v is believed", wrong.fields[0].belief)
	}
}

// TestClosedBlocks: inside a date CLKs fall with and without pairs; filters that
// have the same equalities and distances of chance give no more than equality does.
func TestClosedBlocks(t *testing.T) {
	z := size{dates: 1, register: 240, block: 240, pairs: 1, reference: 1, targets: 1}
	r := runOf(tinyWorld(t, z))
	for _, tt := range []struct {
		name  string
		half  bool
		seeds int
		least float64
	}{{"S1", false, 0, .9}, {"S3", true, seedPairs, .8}} {
		found, err := r.closed(t.Context(), control(t), 1, tt.half, tt.seeds)
		if err != nil {
			t.Fatal(err)
		}
		if share := float64(found.right) / float64(found.records); share < tt.least {
			t.Errorf("%s: %d of %d CLKs", tt.name, found.right, found.records)
		}
		if found.floor.right > found.records/20 {
			t.Errorf("%s: %d of %d CLKs by equality, which they do not have", tt.name, found.floor.right, found.records)
		}
	}
	s := newProfileScheme(preset(t, encode.DefaultPreset))
	found, err := r.closed(t.Context(), s, 1, false, 0)
	if err != nil {
		t.Fatal(err)
	}
	register, err := readAll(t.Context(), s, r.world.registers[0])
	if err != nil {
		t.Fatal(err)
	}
	truth := stream(5, "closed", 0).Perm(len(register))
	b := &block{register: register, share: 1}
	if b.encoded, err = s.encode(t.Context(), r.victim, some(register, truth)); err != nil {
		t.Fatal(err)
	}
	random := stream(9, "noise", 0)
	for f := range 2 {
		c := &b.encoded.columns[f]
		class, first := classesOf(c)
		noise := make([]byte, len(first)*c.width)
		for i := range noise {
			noise[i] = byte(random.Uint32())
		}
		for i, x := range class {
			copy(c.at(i), noise[int(x)*c.width:][:c.width])
		}
	}
	blind, err := r.solveBlock(t.Context(), s, b, truth, 0)
	if err != nil {
		t.Fatal(err)
	}
	if blind.floor.right != found.floor.right {
		t.Errorf("equality gives %d and %d records", blind.floor.right, found.floor.right)
	}
	if blind.right > blind.floor.right+found.records/20 || found.right < 2*blind.right {
		t.Errorf("of %d records %d are found, %d where distances are noise, %d by equality", found.records, found.right, blind.right, blind.floor.right)
	}
}

// TestDictionary: with the key all are named, with another nobody.
func TestDictionary(t *testing.T) {
	w := tinyWorld(t, size{dates: 1, register: 20, cohort: 10, pairs: 1, reference: 150_000, targets: 5})
	r := runOf(w)
	for _, name := range encode.PresetNames() {
		s := newProfileScheme(preset(t, name))
		if records, right, err := r.dictionary(t.Context(), s); err != nil || right != 5 {
			t.Errorf("%s: %d of %d, %v", name, right, records, err)
		}
	}
	if records, right, err := r.registerLookUp(t.Context(), control(t)); err != nil || right != records || records == 0 {
		t.Errorf("CLK: %d of %d, %v", right, records, err)
	}
	both, err := encode.LoadProfile("../../testdata/attack/one-name-dob-1.profile.json", ".")
	if err != nil {
		t.Fatal(err)
	}
	if s := newProfileScheme(both); s.inLists() || !s.hasNames() {
		t.Error("names that are one field are looked up one by one")
	} else if records, right, err := r.registerLookUp(t.Context(), s); err != nil || right != records || records == 0 {
		t.Errorf("one name: %d of %d, %v", right, records, err)
	}
	s := newProfileScheme(preset(t, "nhs-field-1"))
	words, err := r.words(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	meanings, err := lookUp(t.Context(), s, drawKey(6, "another", 0), words, words[0].born)
	if err != nil {
		t.Fatal(err)
	}
	people, err := readAll(t.Context(), s, w.registers[0])
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.encode(t.Context(), r.victim, people)
	if err != nil {
		t.Fatal(err)
	}
	for i := range people {
		if _, known := meanings[0][string(e.columns[0].at(i))]; known {
			t.Error("another key names somebody")
		}
	}
}

// TestFrequencies: CLKs of a name fall to how often they come and how near they
// lie; those of the default, in one date, hardly.
func TestFrequencies(t *testing.T) {
	w := tinyWorld(t, size{dates: 3, register: 1_000, pairs: 1, reference: 60_000, targets: 1, aligned: 1, values: 150})
	r := runOf(w)
	names, err := newCLK([]byte(clkNameSchema))
	if err != nil {
		t.Fatal(err)
	}
	found, err := r.frequencies(t.Context(), names, 0)
	if err != nil {
		t.Fatal(err)
	}
	if found.right < found.records/3 || found.floor > found.right/2 {
		t.Errorf("CLK: %d of %d, by frequency alone %d", found.right, found.records, found.floor)
	}
	if found, err = r.frequencies(t.Context(), newProfileScheme(preset(t, encode.DefaultPreset)), 0); err != nil || found.right > found.records/5 {
		t.Errorf("the default: %d of %d, %v", found.right, found.records, err)
	}
}

// TestRunIsReproducible: the same document on any number of cores, and it says what
// is blind: so few people prove nothing.
func TestRunIsReproducible(t *testing.T) {
	documentOf := func(cores int) ([]byte, *Document) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
		d, err := Run(t.Context(), Options{Profile: preset(t, encode.DefaultPreset), Seed: 5, Software: "test", Clock: func() time.Time { return time.Unix(0, 0) }, Progress: func(string) {}, size: &tiny})
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		return b, d
	}
	one, d := documentOf(1)
	if three, _ := documentOf(3); !bytes.Equal(one, three) {
		t.Errorf("one core:\n%s\nthree:\n%s", one, three)
	}
	err := d.Verdict()
	if d.OK || fault.KindOf(err) != fault.Policy || !strings.Contains(err.Error(), "blind: of its control, nhs-field-dob-1 with one table for all records") {
		t.Errorf("ok %v, %v", d.OK, err)
	}
	ids := ""
	for _, a := range d.Attacks {
		ids += a.ID + ";"
	}
	if ids != "1;2;3;4 S4;4 S1;4 S2;4 S3;5;" {
		t.Errorf("attacks %s", ids)
	}
}

func TestRunCanBeStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	steps := 0
	_, err := Run(ctx, Options{Profile: preset(t, encode.DefaultPreset), Seed: 5, Clock: time.Now, size: &tiny, Progress: func(string) {
		if steps++; steps == 3 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || steps > 3 {
		t.Errorf("%v after %d steps", err, steps)
	}
}

// TestNothingToAttack: a profile of fields that synthetic people do not have is
// refused.
func TestNothingToAttack(t *testing.T) {
	p := *preset(t, encode.DefaultPreset)
	p.Encoding.Fields = slices.Clone(p.Encoding.Fields[:1])
	p.Encoding.Fields[0].Inputs = []string{"ward"}
	_, err := Run(t.Context(), Options{Profile: &p, Clock: time.Now, Progress: func(string) {}, size: &tiny})
	if fault.KindOf(err) != fault.Usage {
		t.Errorf("%v", err)
	}
}

// TestVerdicts plants each outcome.
func TestVerdicts(t *testing.T) {
	broken := func(right int) *Control { return newControl("c", score{100, right}, .5) }
	attack := func(expected string, right int, limit, must *float64, c *Control) Attack {
		a := Attack{ID: "9", Name: "planted", Expected: expected, Limit: limit, Must: must, Control: c}
		a.found(score{1000, right})
		return a
	}
	for _, tt := range []struct {
		name    string
		attack  Attack
		verdict string
		ok      bool
		says    string
	}{
		{"within", attack(ExpectHold, 5, share(.005), nil, broken(50)), VerdictHolds, true, ""},
		{"beyond", attack(ExpectHold, 6, share(.005), nil, broken(50)), VerdictFails, false, "attack 9 (planted) names 0.60%, more than the limit of 0.50%"},
		{"its control stands", attack(ExpectHold, 0, share(.005), nil, broken(49)), VerdictBlind, false, "is blind: of its control, c it finds 49.0%, and must find 50.0%"},
		{"reported", attack(ExpectReport, 999, nil, nil, broken(50)), VerdictReported, true, ""},
		{"reported, its control stands", attack(ExpectReport, 999, nil, nil, broken(0)), VerdictBlind, false, "is blind"},
		{"must fall, falls", attack(ExpectFall, 990, nil, share(.99), broken(50)), VerdictBroken, true, ""},
		{"must fall, stands", attack(ExpectFall, 989, nil, share(.99), broken(50)), VerdictBlind, false, "of the profile, whose key it has it finds 98.9%"},
		{"nothing to attack", attack(ExpectHold, 0, share(0), nil, nil), VerdictHolds, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := &Document{Attacks: []Attack{tt.attack}}
			d.judge()
			err := d.Verdict()
			if d.Attacks[0].Verdict != tt.verdict || d.OK != tt.ok || (err == nil) != tt.ok {
				t.Errorf("verdict %q, ok %v, %v", d.Attacks[0].Verdict, d.OK, err)
			}
			if err != nil && (fault.KindOf(err) != fault.Policy || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("kind %v: %v", fault.KindOf(err), err)
			}
			var text bytes.Buffer
			if err := d.WriteText(&text); err != nil || !strings.Contains(text.String(), tt.verdict) || strings.Contains(text.String(), "FAILED") == tt.ok {
				t.Errorf("%v\n%s", err, text.String())
			}
		})
	}
}

// TestInterval holds the interval to a known answer: 10 of 100 (Wilson 1927).
func TestInterval(t *testing.T) {
	var a Attack
	a.found(score{100, 10})
	if *a.Low < .0551 || *a.Low > .0554 || *a.High < .1742 || *a.High > .1745 {
		t.Errorf("%v to %v, want .0552 to .1744", *a.Low, *a.High)
	}
	for n := 1; n < 2000; n += 7 {
		a.found(score{n, 0})
		b := a
		b.found(score{n, n})
		if *a.Low != 0 || *b.High != 1 || *a.High <= 0 || *b.Low >= 1 {
			t.Errorf("of %d: none %v to %v, all %v to %v", n, *a.Low, *a.High, *b.Low, *b.High)
		}
	}
}

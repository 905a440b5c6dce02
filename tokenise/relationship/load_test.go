package relationship

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/tokenise/reason"
	"tarn/tokenise/relationship/table"
	"tarn/tokenise/source"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return noon }

// patient returns a token of domain 7.
func patient(epoch uint16, n byte) keys.Token {
	return keys.Token{Scheme: keys.SchemeNoOblivious, DomainNo: 7, TokenEpoch: epoch, Value: [keys.TokenSize]byte{n, 1}}
}

type failer interface {
	Helper()
	Fatal(...any)
}

func options(t failer, dir string, lines ...string) LoadOptions {
	t.Helper()
	in := dir + ".csv"
	if err := os.WriteFile(in, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return LoadOptions{In: in, Dir: dir, Threads: 2, Software: "test", Clock: clock, Wall: clock}
}

func mustLoad(t failer, o LoadOptions) *Loaded {
	t.Helper()
	l, err := Load(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// related asks the tables of a folder.
func related(t *testing.T, dir string, token keys.Token, organisation string, on time.Time) bool {
	t.Helper()
	store := table.NewStore(dir, clock)
	defer store.Close()
	v, err := store.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Release()
	of, err := v.Table(table.KeyOf(&token))
	if err != nil {
		t.Fatal(err)
	}
	if of == nil {
		return false
	}
	yes, err := of.Related(t.Context(), token.Value, table.Organisation(organisation), table.DayOf(on))
	if err != nil {
		t.Fatal(err)
	}
	return yes
}

const header = "token,organisation,from,to"

// TestBadRowsAreListedAndNeverRepeated: each is refused for what is wrong with it, by its
// number; the good ones go on; no value is in the quarantine or in what is said.
func TestBadRowsAreListedAndNeverRepeated(t *testing.T) {
	good := patient(3, 1).String()
	release := patient(3, 2)
	release.Scheme = keys.SchemeNoRelease
	dir := filepath.Join(t.TempDir(), "tables")
	o := options(t, dir, header+",relationship",
		good+",A81001,2020-01-01,,registered",
		"9434765919,A81001,2020-01-01,,registered",
		release.String()+",A81001,2020-01-01,,registered",
		good+",Dr Foster,2020-01-01,,registered",
		good+",9434765919,2020-01-01,,registered",
		good+",V81999,2020-01-01,,registered",
		good+",A81001,01/02/2020,,registered",
		good+",A81001,2020-01-01,soon,registered",
		good+",A81001,2020-01-02,2020-01-01,registered",
		good+",A81001,2020-01-01,,GP",
		good+",A81001,2020-01-01,,",
		good+",A81001",
		strings.ToUpper(good)+",RX1,2026-11-26,2026-11-26,other",
		"x,y,z,w,v",
		patient(0, 1).String()+",A81001,2020-01-01,,registered",
		good+",A81001,2020-01-01,,registered",
	)
	o.Quarantine, o.MaxRefused = dir+".refused.csv", 1
	l := mustLoad(t, o)
	listed, err := os.ReadFile(o.Quarantine)
	if err != nil {
		t.Fatal(err)
	}
	want := `row,unique_id,field,code
2,,token,token_malformed
3,,token,token_release
4,,organisation,organisation_invalid
5,,organisation,organisation_invalid
6,,organisation,organisation_default
7,,from,from_invalid
8,,to,to_invalid
9,,to,to_before_from
10,,relationship,relationship_unknown
11,,relationship,relationship_unknown
12,,,row_malformed
14,,token,token_malformed
14,,organisation,organisation_invalid
14,,relationship,relationship_unknown
14,,from,from_invalid
14,,to,to_invalid
15,,token,token_malformed
`
	if string(listed) != want {
		t.Errorf("listed:\n%s", listed)
	}
	if l.Rows != 16 || l.Used != 2 || l.Repeated != 1 || l.Ended != 0 || l.refused() != 13 || l.Refused[reason.TokenMalformed] != 3 || len(l.Tables) != 1 {
		t.Errorf("%+v", l)
	}
	if !related(t, dir, patient(3, 1), "A81001", noon) || !related(t, dir, patient(3, 1), "RX1", noon) || related(t, dir, patient(3, 1), "RX1", noon.Add(24*time.Hour)) || related(t, dir, patient(3, 2), "A81001", noon) {
		t.Error("the good rows are not what is answered from")
	}
	// With more than are allowed nothing is replaced, and the list is there all the same.
	o.MaxRefused = .5
	if err := os.Remove(o.Quarantine); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, table.DocumentFile))
	if err != nil {
		t.Fatal(err)
	}
	l, err = Load(t.Context(), o)
	if fault.KindOf(err) != fault.RowsRefused || l == nil || strings.Contains(err.Error(), "Foster") || strings.Contains(err.Error(), "9434765919") || strings.Contains(err.Error(), good) {
		t.Errorf("more than are allowed: %v", err)
	}
	if listed, err = os.ReadFile(o.Quarantine); err != nil || string(listed) != want {
		t.Errorf("listed: %v\n%s", err, listed)
	}
	if after, err := os.ReadFile(filepath.Join(dir, table.DocumentFile)); err != nil || string(after) != string(before) {
		t.Errorf("the tables were replaced: %v", err)
	}
}

// TestTablesThatAreNone: nothing of them is repeated, and nothing is replaced.
func TestTablesThatAreNone(t *testing.T) {
	good := patient(3, 1).String()
	line := good + ",A81001,2020-01-01,"
	for name, c := range map[string]struct {
		lines []string
		says  string
	}{
		"no column to":       {[]string{"token,organisation,from", good + ",A81001,2020-01-01"}, "the column to is missing"},
		"a column too many":  {[]string{header + ",nhs_number", line + ",9434765919"}, "columns besides"},
		"no header":          {[]string{line, line}, ""},
		"no rows":            {[]string{header}, "it has no row"},
		"no row that counts": {[]string{header, "x,A81001,2020-01-01,"}, "none of its rows can be used"},
		"many domains":       manyEpochs(header),
	} {
		dir := filepath.Join(t.TempDir(), "tables")
		mustLoad(t, options(t, dir, header, line))
		o := options(t, dir, c.lines...)
		o.MaxRefused, o.Quarantine = 1, dir+".refused.csv"
		_, err := Load(t.Context(), o)
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "9434765919") || strings.Contains(err.Error(), good) {
			t.Errorf("%s: %v", name, err)
		}
		if !related(t, dir, patient(3, 1), "A81001", noon) {
			t.Errorf("%s: the table before is gone", name)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
			t.Errorf("%s: %d files are left, %v", name, len(left), err)
		}
		listed, err := os.ReadFile(o.Quarantine)
		if name == "no row that counts" && string(listed) != "row,unique_id,field,code\n1,,token,token_malformed\n" {
			t.Errorf("listed: %q, %v", listed, err)
		}
	}
}

func manyEpochs(header string) (c struct {
	lines []string
	says  string
}) {
	c.lines, c.says = []string{header}, "more than 64"
	for epoch := range uint16(65) {
		c.lines = append(c.lines, patient(epoch+1, 1).String()+",A81001,2020-01-01,")
	}
	return c
}

// TestPracticesByTheirCode: without the column the form of the code says which organisation
// is a practice; with it the column does.
func TestPracticesByTheirCode(t *testing.T) {
	for code, practice := range map[string]bool{"A81001": true, "P92630": true, "Y00001": true, "W93001": true, "RX1": false, "R0A01": false, "I81001": false, "A8100": false, "A810011": false, "99999A": false, "Z00001": false} {
		c := columns{token: 0, organisation: 1, from: 2, to: 3, relationship: -1}
		r := c.read(&source.Row{Number: 1, Values: []string{patient(3, 1).String(), code, "2020-01-01", ""}})
		if len(r.problems) > 0 || (r.row.Kind == table.Registered) != practice || r.row.To != table.NoEnd {
			t.Errorf("%s: %+v", code, r)
		}
		c.relationship = 4
		for text, kind := range map[string]table.Kind{registered: table.Registered, other: table.Other} {
			r := c.read(&source.Row{Number: 1, Values: []string{patient(3, 1).String(), code, "2020-01-01", "", text}})
			if len(r.problems) > 0 || r.row.Kind != kind {
				t.Errorf("%s, %s: %+v", code, text, r)
			}
		}
	}
}

// TestEndedRowsAreNotKept: what ended before yesterday can be asked for by nobody; a table
// all of whose rows have ended replaces the one before all the same.
func TestEndedRowsAreNotKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tables")
	token := patient(3, 1).String()
	l := mustLoad(t, options(t, dir, header, token+",A81001,2020-01-01,2026-11-24", token+",A81002,2020-01-01,2026-11-25", token+",A81003,2030-01-01,"))
	if l.Ended != 1 || l.Used != 2 || !related(t, dir, patient(3, 1), "A81002", noon.Add(-24*time.Hour)) {
		t.Errorf("%+v", l)
	}
	l = mustLoad(t, options(t, dir, header, token+",A81001,2020-01-01,2026-11-24"))
	if l.Ended != 1 || l.Used != 0 || len(l.Tables) != 1 || *l.Tables[0].Before != 2 || related(t, dir, patient(3, 1), "A81003", noon) {
		t.Errorf("%+v", l)
	}
}

// TestEpochs: a load replaces the tables whose tokens it has and leaves the others; one that
// is over goes with the load, of the same domain only, or by itself.
func TestEpochs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tables")
	elsewhere := patient(3, 1)
	elsewhere.DomainNo = 8
	line := func(token keys.Token, organisation string) string {
		return token.String() + "," + organisation + ",2020-01-01,"
	}
	mustLoad(t, options(t, dir, header, line(patient(3, 1), "A81001"), line(elsewhere, "A81001")))
	mustLoad(t, options(t, dir, header, line(patient(4, 9), "A81001")))
	if !related(t, dir, patient(3, 1), "A81001", noon) || !related(t, dir, patient(4, 9), "A81001", noon) {
		t.Error("during a cut-over one of the epochs is not answered")
	}
	o := options(t, dir, header, line(patient(4, 9), "B81001"))
	o.DropEpochs, o.DryRun = []uint16{3}, true
	l := mustLoad(t, o)
	if len(l.Dropped) != 1 || len(l.Tables) != 1 || *l.Tables[0].Before != 1 || l.Used != 1 || !related(t, dir, patient(3, 1), "A81001", noon) || !related(t, dir, patient(4, 9), "A81001", noon) {
		t.Errorf("dry run: %+v", l)
	}
	o.DryRun = false
	if l = mustLoad(t, o); len(l.Dropped) != 1 || l.Dropped[0].DomainNo != 7 {
		t.Errorf("%+v", l)
	}
	if related(t, dir, patient(3, 1), "A81001", noon) || related(t, dir, patient(4, 9), "A81001", noon) || !related(t, dir, patient(4, 9), "B81001", noon) || !related(t, dir, elsewhere, "A81001", noon) {
		t.Error("what was loaded, dropped and left is not so")
	}
}

// TestLoadsAreInterruptible, and leave the tables as they were.
func TestLoadsAreInterruptible(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tables")
	line := patient(3, 1).String() + ",A81001,2020-01-01,"
	mustLoad(t, options(t, dir, header, line))
	ctx, cancel := context.WithCancel(t.Context())
	o := options(t, dir, append([]string{header}, slices.Repeat([]string{patient(3, 2).String() + ",A81001,2020-01-01,"}, 3000)...)...)
	o.Progress = func(int64, int64) { cancel() }
	if _, err := Load(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if !related(t, dir, patient(3, 1), "A81001", noon) || related(t, dir, patient(3, 2), "A81001", noon) {
		t.Error("an interrupted load has changed the tables")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
}

// TestLoadsAreATwins: whatever the order of rows, however many are sorted at a time and on
// however many cores, the same files come of them, and answer as the rows themselves do.
func TestLoadsAreATwins(t *testing.T) {
	codes := []string{"A81001", "B82002", "RX1"}
	rapid.Check(t, func(r *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 0))
		type pair struct {
			n    byte
			code string
		}
		holds := map[pair]bool{}
		var lines []string
		for range 1 + random.IntN(200) {
			p := pair{byte(random.IntN(30)), codes[random.IntN(len(codes))]}
			from := noon.AddDate(0, 0, random.IntN(40)-30)
			to := from.AddDate(0, 0, random.IntN(40))
			text := to.Format(time.DateOnly)
			if random.IntN(3) == 0 {
				to, text = noon.AddDate(100, 0, 0), ""
			}
			lines = append(lines, patient(3, p.n).String()+","+p.code+","+from.Format(time.DateOnly)+","+text)
			holds[p] = holds[p] || !from.After(noon) && !to.Before(noon)
		}
		folder, err := os.MkdirTemp("", "load")
		if err != nil {
			r.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(folder) }()
		files := map[string]string{}
		for i := range 2 {
			random.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
			dir := filepath.Join(folder, fmt.Sprint(i))
			o := options(r, dir, append([]string{header}, lines...)...)
			o.SortRows, o.Threads = 1+random.IntN(300), 1+i
			l := mustLoad(r, o)
			if l.Rows != int64(len(lines)) || l.Used+l.Ended+l.Repeated != l.Rows {
				r.Fatalf("%+v", l)
			}
			b, err := os.ReadFile(filepath.Join(dir, l.Tables[0].File))
			if err != nil {
				r.Fatal(err)
			}
			files[string(b)] = dir
		}
		if len(files) != 1 {
			r.Fatalf("%d tables came of the same rows", len(files))
		}
		for dir := range maps.Values(files) {
			document, err := table.Read(dir)
			if err != nil {
				r.Fatal(err)
			}
			of, err := table.Open(dir, &document.Tables[0])
			if err != nil {
				r.Fatal(err)
			}
			defer func() { _ = of.Close() }()
			for n := range byte(31) {
				for _, code := range codes {
					token := patient(3, n)
					if got, err := of.Related(t.Context(), token.Value, table.Organisation(code), table.DayOf(noon)); err != nil || got != holds[pair{n, code}] {
						r.Fatalf("patient %d, %s: %v, %v", n, code, got, err)
					}
				}
			}
		}
	})
}

// FuzzRow: whatever the cells hold, a row is refused or means what it says, and nothing
// panics.
func FuzzRow(f *testing.F) {
	f.Add(patient(3, 1).String(), "A81001", "2020-01-01", "", "registered")
	f.Add(patient(3, 1).String(), "RX1", "2020-01-01", "2021-01-01", "other")
	f.Add("9434765919", "Dr Foster", "soon", "later", "GP")
	f.Fuzz(func(t *testing.T, token, organisation, from, to, relationship string) {
		for _, at := range []int{4, -1} {
			c := columns{token: 0, organisation: 1, from: 2, to: 3, relationship: at}
			r := c.read(&source.Row{Number: 1, Values: []string{token, organisation, from, to, relationship}})
			if len(r.problems) > 0 {
				continue
			}
			first, err := time.Parse(time.DateOnly, from)
			if err != nil || r.row.From != table.DayOf(first.Add(12*time.Hour)) || r.row.To < r.row.From || r.row.Code() != organisation {
				t.Errorf("%+v", r.row)
			}
			parsed, err := keys.ParseToken(token)
			record := table.RecordOf(r.key, &r.row)
			if key, row := record.Split(); err != nil || parsed.Value != r.row.Token || key != r.key || row != r.row {
				t.Errorf("%+v, %v", r.row, err)
			}
		}
	})
}

package dataprofile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tarn/keys"
	"tarn/tokenise/dataprofile"
	"tarn/tokenise/demographics"
	"tarn/tokenise/source"
)

// collect profiles a CSV as the command does.
func collect(t *testing.T, table string) *dataprofile.Document {
	t.Helper()
	path := filepath.Join(t.TempDir(), "people.csv")
	if err := os.WriteFile(path, []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	rows, err := source.Open(path, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }() // opened for reading
	d, err := dataprofile.Collect(t.Context(), rows, source.FindMapping(rows.Header(), nil), demographics.Date{Year: 2024, Month: 12, Day: 31}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// people writes n rows, each made by row, under a header.
func people(n int, row func(i int) string) string {
	var b strings.Builder
	b.WriteString("id,nhs_number,surname,dob,postcode\n")
	for i := range n {
		b.WriteString(row(i) + "\n")
	}
	return b.String()
}

// number returns a valid NHS number of its own.
func number(i int) string {
	for n := 400000000 + 11*i; ; n++ {
		sum, digits := 0, fmt.Sprint(n)
		for at, d := range digits {
			sum += (10 - at) * int(d-'0')
		}
		if check := (11 - sum%11) % 11; check != 10 {
			return digits + fmt.Sprint(check)
		}
	}
}

func seen(n *int64) string {
	if n == nil {
		return "*"
	}
	return fmt.Sprint(*n)
}

// holes is a table of 100 rows with what tables have.
func holes(i int) string {
	id, nhs, name, dob, postcode := fmt.Sprint("id-", i), number(i), "Canary", "1980-02-03", "LS1 4AP"
	switch {
	case i < 12:
		nhs = ""
	case i < 26:
		nhs = "123"
	case i < 40:
		id, nhs = "id-40", number(40) // a repetition of 40, which comes later
	}
	if i >= 80 && i < 84 {
		dob = "2090-01-01"
	}
	if i >= 84 {
		dob = "1900-01-01"
	}
	if i == 99 {
		return `"broken`
	}
	return strings.Join([]string{id, nhs, name, dob, postcode}, ",")
}

func TestCollect(t *testing.T) {
	d := collect(t, people(110, func(i int) string { return holes(min(i, 98)) }))
	for _, c := range []struct{ field, want string }{
		{"nhs_number", "98 given, 84 usable, 12 missing [] nhs_number_length 14 nhs_number_chi 0"},
		{"family_name", "110 given, 110 usable, 0 missing []"},
		// The four future dates would follow from the default ones.
		{"date_of_birth", "110 given, 80 usable, 0 missing [date_of_birth_future] date_of_birth_future * date_of_birth_default * date_of_birth_invalid 0"},
		{"postcode", "110 given, 110 usable, 0 missing [] postcode_pseudo 0"},
	} {
		for i := range d.Fields {
			f := &d.Fields[i]
			if f.Field != c.field {
				continue
			}
			got := fmt.Sprintf("%s given, %s usable, %s missing %v", seen(f.Present), seen(f.Valid), seen(f.Missing), f.Small)
			for _, word := range strings.Fields(c.want) {
				if strings.Contains(word, "_") && !strings.HasPrefix(word, "[") {
					got += " " + word + " " + seen(f.Codes[word])
				}
			}
			if got != c.want {
				t.Errorf("%s: %s, want %s", c.field, got, c.want)
			}
		}
	}
	got := fmt.Sprint(seen(d.Linkable.ByToken), " ", seen(d.Linkable.ByDemographics), " ", seen(d.Linkable.Neither), " ",
		seen(d.Duplicates.NHSNumberRows), " ", seen(d.Duplicates.UniqueIDRows), " ", seen(d.Duplicates.ExactRows))
	if want := "84 80 0 25 25 25"; got != want {
		t.Errorf("linkable and duplicates: %s, want %s", got, want)
	}
	if len(d.Advice) == 0 || d.Advice[0].Field != "given_name" || d.Advice[1].Field != "sex" {
		t.Errorf("what no column holds does not come first: %+v", d.Advice)
	}
	for i, a := range d.Advice {
		if a.By == "" || a.Text == "" || a.Rows != nil && a.Share == nil {
			t.Errorf("advice %d says not who, or not what: %+v", i, a)
		}
	}
}

// TestUnknownIsNull: of few rows nothing is told; what no column holds has no
// duplicates; of standard input no size is known.
func TestUnknownIsNull(t *testing.T) {
	d := collect(t, people(19, holes))
	for _, f := range d.Fields {
		if f.Present != nil || f.Valid != nil || f.Missing != nil || f.DistinctRatio != nil || len(f.Small) > 0 {
			t.Errorf("%s of 19 rows is told", f.Field)
		}
	}
	if d.Input.Refused != nil || d.Duplicates != (dataprofile.Duplicates{}) || d.Linkable.Neither != nil {
		t.Error("counts of 19 rows are told")
	}
	rows, err := source.Open("-", source.Options{Stdin: strings.NewReader("surname,dob\n" + strings.Repeat("Canary,1980-02-03\n", 50))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }() // opened for reading
	d, err = dataprofile.Collect(t.Context(), rows, source.FindMapping(rows.Header(), nil), demographics.Date{Year: 2024, Month: 12, Day: 31}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d.Input.Bytes != nil || d.Duplicates.NHSNumberRows != nil || seen(d.Duplicates.ExactRows) != "49" || seen(d.Linkable.ByToken) != "0" {
		t.Errorf("of standard input: %+v %+v %+v", d.Input, d.Duplicates, d.Linkable)
	}
}

// TestNothingOfARowIsSaid: no value of the table is in the document or on the
// terminal; small counts are marked there.
func TestNothingOfARowIsSaid(t *testing.T) {
	d := collect(t, people(100, holes))
	b, err := keys.Encode(d)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := dataprofile.WriteText(&text, d); err != nil {
		t.Fatal(err)
	}
	for _, said := range []string{string(b), text.String()} {
		for _, value := range []string{"anary", "LS1", "4AP", "1980", "1900-", "id-", number(50), number(40), "broken"} {
			if strings.Contains(said, value) {
				t.Errorf("%q is said", value)
			}
		}
	}
	for _, want := range []string{"date_of_birth_future <10", "date_of_birth_default *", "to do, most useful first", "who: "} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the terminal does not show %q:\n%s", want, text.String())
		}
	}
}

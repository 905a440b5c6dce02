package sheet

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"tarn/keys"
	"tarn/keys/fault"
)

// token returns a token's text.
func token(n byte) string {
	t := keys.Token{Scheme: keys.SchemeNoKeyedHash, DomainNo: 7, TokenEpoch: 1}
	t.Value[0] = n
	return t.String()
}

// TestTokens: the forms in which people bring lists.
func TestTokens(t *testing.T) {
	a, b, c := token(1), token(2), token(3)
	for name, tt := range map[string]struct {
		text string
		want []Row
	}{
		"one a line":        {a + "\n" + b + "\n", []Row{{1, 1, a}, {2, 2, b}}},
		"no last line end":  {a + "\n" + b, []Row{{1, 1, a}, {2, 2, b}}},
		"CRLF and a mark":   {"\ufeff" + a + "\r\n" + b + "\r\n", []Row{{1, 1, a}, {2, 2, b}}},
		"blank lines":       {"\n\n" + a + "\n  \n,,\n" + b + "\n\n", []Row{{3, 3, a}, {6, 6, b}}},
		"capitals":          {strings.ToUpper(a), []Row{{1, 1, a}}},
		"blanks and quotes": {" " + a + " \n\"" + b + "\"\n\" " + c + "\"\n", []Row{{1, 1, a}, {2, 2, b}, {3, 3, c}}},
		"twice":             {a + "\n" + a, []Row{{1, 1, a}, {2, 2, a}}},
		"a header":          {"token\n" + a, []Row{{2, 2, a}}},
		"another name":      {"NHS_Token\n" + a, []Row{{2, 2, a}}},
		"a third":           {"Pseudonym\n" + a, []Row{{2, 2, a}}},
		"columns":           {"name,Row, TOKEN \n\"x, y\",17," + a + "\nz,0," + b + ",left over\n", []Row{{2, 17, a}, {3, 0, b}}},
		"no row":            {"date,token\n2026-01-01," + a + "\n", []Row{{2, 2, a}}},
		"lines in quotes":   {"note,token\n\"two\nlines\"," + a + "\n," + b, []Row{{2, 2, a}, {4, 4, b}}},
	} {
		got, err := Tokens(strings.NewReader(tt.text), 10)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, tt.want)
		}
	}
}

// TestTokensRefuses: what is no list of tokens is refused, with where, and nothing of it is
// repeated.
func TestTokensRefuses(t *testing.T) {
	a, nhs := token(1), "9434765919"
	for name, tt := range map[string]struct{ text, want string }{
		"nothing":           {"", "it is empty"},
		"blanks":            {" \n\n,,\n", "it is empty"},
		"a header":          {"token\n\n", "nothing below its header"},
		"no tokens":         {nhs + "\n" + nhs, "line 1: it has 10 characters, and a token has 74"},
		"one of them":       {a + "\n\n" + nhs + "\n", "line 3: it has 10 characters"},
		"a wrong character": {a[:73] + string(rune("qp"[strings.IndexByte("pq", a[73])&1])), "line 1: one character is wrong"},
		"other columns":     {"name,nhs_number\nx," + nhs, "line 1 is no header with a column token"},
		"row only":          {"row\n1", "line 1 is no header with a column token"},
		"two columns":       {"token,pseudonym\n" + a + "," + a, "line 1 names two columns"},
		"later columns":     {a + "\n" + a + "," + nhs, "line 2: there is more than one column"},
		"no token":          {"row,token\n1," + a + "\n2,\n", "line 3: there is no token"},
		"a short line":      {"row,token\n1\n", "line 2: there is no token"},
		"no row":            {"row,token\n," + a, "line 2: its row is no number"},
		"a wrong row":       {"row,token\n" + nhs + "," + a, "line 2: its row is no number"},
		"a negative row":    {"row,token\n-1," + a, "line 2: its row is no number"},
		"a quote":           {a + "\n\"" + nhs + "\n", "line 2 has a quotation mark"},
		"a quote within":    {nhs + "\"" + nhs + "\n", "line 1 has a quotation mark"},
		"UTF-16":            {"\xff\xfet\x00a\x00", "it is in UTF-16"},
		"UTF-16, big":       {"\xfe\xff\x00t\x00a", "it is in UTF-16"},
		"UTF-16, unmarked":  {"t\x00a\x00", "it is in UTF-16"},
		"Latin-1":           {a + "\n\xe9\n", "it is not in UTF-8"},
		"too many":          {strings.Repeat(a+"\n", 11), "it has more than 10 tokens"},
		"too long":          {strings.Repeat("\n", MaxBytes+1), "it has more than 1 MiB"},
	} {
		got, err := Tokens(strings.NewReader(tt.text), 10)
		if err == nil || got != nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %+v, %v, want %q", name, got, err, tt.want)
			continue
		}
		if fault.KindOf(err) != fault.Usage || strings.Contains(err.Error(), nhs) || strings.Contains(err.Error(), a) {
			t.Errorf("%s: %v repeats what is in the file", name, err)
		}
	}
	if got, err := Tokens(strings.NewReader(strings.Repeat("\n", MaxBytes-len(a))+a), 10); err != nil || len(got) != 1 {
		t.Errorf("1 MiB: %d, %v", len(got), err)
	}
}

// TestTokensTellsSome: of very many wrong lines some are told.
func TestTokensTellsSome(t *testing.T) {
	_, err := Tokens(strings.NewReader(strings.Repeat("x\n", 25)), 100)
	if err == nil || strings.Count(err.Error(), "line ") != 10 || !strings.Contains(err.Error(), "and 15 lines more") {
		t.Error(err)
	}
}

// broken is a connection that is.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New(token(1)) }

// TestTokensFails: a file that does not come is no wrong file.
func TestTokensFails(t *testing.T) {
	if _, err := Tokens(io.MultiReader(strings.NewReader(token(2)), broken{}), 10); fault.KindOf(err) != fault.Internal || strings.Contains(err.Error(), token(1)) {
		t.Error(err)
	}
}

// FuzzTokens: whatever comes, what is read are tokens of the file with where they are, and
// an error repeats nothing.
func FuzzTokens(f *testing.F) {
	a := token(1)
	for _, text := range []string{a, "token\n" + a, "row,token\n1," + a, "\ufeffa,token\r\n\"x\ny\"," + a + "\r\n", "\xff\xfe", "\"", "secret1234567890", a + "\nsecret1234567890", "row,token\nsecret1234567890," + a} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		rows, err := Tokens(bytes.NewReader(document), 5)
		if err != nil {
			// No word of an error is as long as those that are looked for.
			for word := range strings.FieldsFuncSeq(string(document), func(c rune) bool { return strings.ContainsRune(" ,\"\r\n", c) }) {
				if len(word) > 12 && strings.Contains(err.Error(), word) {
					t.Fatalf("%v repeats %q", err, word)
				}
			}
			if rows != nil || fault.KindOf(err) != fault.Usage {
				t.Fatalf("%v, %v", rows, err)
			}
			return
		}
		lines := strings.Split(string(document), "\n")
		if len(rows) == 0 || len(rows) > 5 {
			t.Fatalf("%d rows", len(rows))
		}
		before := 0
		for _, row := range rows {
			if _, err := keys.ParseToken(row.Token); err != nil || row.Line <= before || row.Line > len(lines) || row.Row < 0 {
				t.Fatalf("%+v after line %d of %d: %v", row, before, len(lines), err)
			}
			before = row.Line
			// A cell may be of several lines, and begin some lines below its record's first.
			if !strings.Contains(strings.ToLower(strings.Join(lines[row.Line-1:], "\n")), row.Token) {
				t.Fatalf("%+v is not there", row)
			}
		}
	})
}

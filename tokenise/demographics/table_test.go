package demographics_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"tarn/tokenise/demographics"
)

// TestEveryTableIsNamed: each file is in Tables with the digest that sha256sum
// gives, says what it is and where it is from, and has line ends of one form.
func TestEveryTableIsNamed(t *testing.T) {
	here := map[string]string{}
	for _, table := range demographics.Tables() {
		here[table.Name] = table.SHA256
	}
	files, err := filepath.Glob("tables/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		if sum := sha256.Sum256(b); here[name] != hex.EncodeToString(sum[:]) {
			t.Errorf("%s: the digest differs", name)
		}
		delete(here, name)
		if !bytes.HasPrefix(b, []byte("# ")) || !bytes.Contains(b, []byte("\n# Source: ")) || !bytes.HasSuffix(b, []byte("\n")) || bytes.ContainsRune(b, '\r') {
			t.Errorf("%s: a table begins with a comment that names its source, and its lines end with a line feed", name)
		}
		lines := entries(name)
		slices.Sort(lines)
		if again := slices.Compact(slices.Clone(lines)); len(again) != len(lines) {
			t.Errorf("%s: an entry is there twice", name)
		}
	}
	if sum := sha256.Sum256([]byte(norm.Version)); len(here) != 1 || here["unicode"] != hex.EncodeToString(sum[:]) {
		t.Errorf("tables without a file: %v", here)
	}
}

// TestTitlesAndJunkAreNormal: an entry that no normalised name can hold would
// never be found.
func TestTitlesAndJunkAreNormal(t *testing.T) {
	for _, table := range []string{"titles", "junk_names"} {
		for _, line := range entries(table) {
			if strings.HasPrefix(line, "= ") {
				continue
			}
			for _, word := range strings.Fields(strings.TrimSuffix(strings.TrimPrefix(line, "? "), "*")) {
				if got := demographics.Text(word); len(got) != 1 || got[0] != word || strings.ContainsAny(word, "0123456789") {
					t.Errorf("%s: %q is not a normalised word", table, line)
				}
			}
		}
	}
}

// TestLettersOfTheConventions: the letters that the conventions name.
func TestLettersOfTheConventions(t *testing.T) {
	for letter, want := range map[string]string{"ł": "l", "ø": "o", "ß": "ss", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d", "đ": "d", "ı": "i"} {
		if got, _ := demographics.Name(letter); len(got) != 1 || got[0] != want {
			t.Errorf("%s: got %q, want %s", letter, got, want)
		}
	}
}

// nicknames reads the table: short forms with their formal name, and those that
// are left alone.
func nicknames() (formal map[string]string, alone []string) {
	formal = map[string]string{}
	for _, line := range entries("nicknames") {
		name, short, _ := strings.Cut(line, ":")
		for _, nickname := range strings.Fields(short) {
			if name == "?" {
				alone = append(alone, nickname)
			} else {
				formal[nickname] = name
			}
		}
	}
	return formal, alone
}

func TestNicknames(t *testing.T) {
	formal, alone := nicknames()
	if len(formal) < 400 {
		t.Errorf("%d short forms, want several hundred", len(formal))
	}
	for nickname, name := range formal {
		if formal[name] != "" {
			t.Errorf("%s is the formal name of %s and a short form itself", name, nickname)
		}
		for _, word := range []string{nickname, name} {
			if got, _ := demographics.Name(word); len(got) != 1 || got[0] != word {
				t.Errorf("%s is not a normalised name", word)
			}
		}
		if got := demographics.Formal([]string{nickname}); len(got) != 1 || got[0] != name {
			t.Errorf("%s: got %q, want %s", nickname, got, name)
		}
	}
	for _, name := range alone {
		if got := demographics.Formal([]string{name}); len(got) != 1 || got[0] != name {
			t.Errorf("%s is ambiguous and became %q", name, got)
		}
	}
	for _, name := range []string{"alex", "sam", "chris", "pat"} {
		if !slices.Contains(alone, name) {
			t.Errorf("%s is not listed as ambiguous", name)
		}
	}
}

func TestFormal(t *testing.T) {
	formal, _ := nicknames()
	var known []string
	for nickname, name := range formal {
		known = append(known, nickname, name)
	}
	slices.Sort(known)
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfDistinct(rapid.OneOf(rapid.SampledFrom(known), plainPart()), rapid.ID).Draw(t, "parts")
		slices.Sort(parts)
		before := slices.Clone(parts)
		got := demographics.Formal(parts)
		var want []string
		for _, part := range parts {
			if name, ok := formal[part]; ok {
				part = name
			}
			want = append(want, part)
		}
		slices.Sort(want)
		if !slices.Equal(got, slices.Compact(want)) || !slices.Equal(parts, before) || !slices.Equal(demographics.Formal(got), got) {
			t.Fatalf("%q became %q", before, got)
		}
	})
}

// TestNicknamesAgainstNHSEngland measures our table against the one that shows
// what is expected. Nothing of that one is in this repository.
func TestNicknamesAgainstNHSEngland(t *testing.T) {
	folder := os.Getenv("TARN_TESTDATA")
	if folder == "" {
		t.Skip("TARN_TESTDATA is not set: it names the folder with data/nhse/nicknames.csv")
	}
	b, err := os.ReadFile(filepath.Join(folder, "data", "nhse", "nicknames.csv"))
	if err != nil {
		t.Fatal(err)
	}
	reader := csv.NewReader(bytes.NewReader(b))
	reader.FieldsPerRecord = -1
	rows, err := reader.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	theirs := map[string][]string{} // of a short form, the formal names
	for _, row := range rows {
		for _, nickname := range row[1:] {
			if nickname = strings.TrimSpace(nickname); nickname != "" {
				theirs[nickname] = append(theirs[nickname], row[0])
			}
		}
	}
	formal, alone := nicknames()
	both, same, left, one, oneBoth := 0, 0, 0, 0, 0
	for nickname, names := range theirs {
		name, ours := formal[nickname]
		if len(names) == 1 {
			one++
			if ours {
				oneBoth++
			}
		}
		switch {
		case ours:
			both++
			if slices.Contains(names, name) {
				same++
			}
		case slices.Contains(alone, nickname):
			left++
		}
	}
	t.Logf("their %d short forms: %d in ours, %d of them with one of their formal names; %d more listed as ambiguous; of their %d with one formal name only, %d in ours; %d of our %d are not in theirs",
		len(theirs), both, same, left, one, oneBoth, len(formal)-both, len(formal))
	if both < 200 || same < both/2 {
		t.Error("the two tables have little in common")
	}
}

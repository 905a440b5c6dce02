package similarity

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"tarn/keys/fault"
	"tarn/linkage/cohort"
)

func readText(t testing.TB, text string) (*Set, error) {
	return readCLKs(t.Context(), strings.NewReader(text), "a.clks.json", "a", int64(len(text)), 1<<30, nil)
}

// TestReadCLKs: what clkhash writes and what other writers of JSON make of it
// is read, row by row.
func TestReadCLKs(t *testing.T) {
	long := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb}, 1<<14)) // as wide as a schema may ask for
	for text, want := range map[string][]string{
		`{"clks": []}`:       {},
		`{"clks": ["gA=="]}`: {"\x80"},
		" \r\n{ \"clks\"\t:[\n\"AAAB\" ,\"/+//\"\n]\n}\n":       {"\x00\x00\x01", "\xff\xef\xff"},
		`{"clks":["\/+\/\/","AAAB"]}`:                           {"\xff\xef\xff", "\x00\x00\x01"},
		`{"clks": ["` + long + `"]}`:                            {strings.Repeat("\xfb", 1<<14)},
		`{"clks": ["AQIDBAUGBwgJ", "AAAAAAAAAAAA"]}` + "\n\n  ": {"\x01\x02\x03\x04\x05\x06\x07\x08\x09", strings.Repeat("\x00", 9)},
	} {
		s, err := readText(t, text)
		if err != nil {
			t.Errorf("%.40q: %v", text, err)
			continue
		}
		got := []string{}
		for row := range s.Rows() {
			got = append(got, string(bytesOf(s, row)))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%.40q is read as %.40q", text, got)
		}
	}
}

// TestReadCLKsRefuses: the message says where, and nothing of what is there.
func TestReadCLKsRefuses(t *testing.T) {
	for text, want := range map[string]string{
		``:                                "ends before its end",
		`PAR1`:                            "does not begin with { (byte 1)",
		`{}`:                              "has no member",
		`{"Quetzalina": []}`:              `first member is not "clks"`,
		`{"clknblocks": [["AA==", "1"]]}`: "CLKs with blocks",
		`{"clks": {}}`:                    "is no list",
		`{"clks" ["AA=="]}`:               "no : after",
		`{"clks": ["AA==" "AA=="]}`:       "neither , nor ] after entry 0",
		`{"clks": ["AA==", 7]}`:           "entry 1 is no text",
		`{"clks": ["AA==",]}`:             "entry 1 is no text",
		`{"clks": ["AA==", null]}`:        "entry 1 is no text",
		`{"clks": ["AA=="`:                "ends before its end",
		`{"clks": ["AA=`:                  "ends before its end",
		`{"clks": ["AA=="], "b": 1}`:      "after the list",
		`{"clks": ["AA=="]} x`:            "after the end",
		"{\"clks\": []}\x00":              "after the end",
		`{"clks": ["Quetz\"alina"]}`:      "a quote within a text",
		`{"clks": ["` + strings.Repeat("A", longestEntry) + `"]}`: "longer than any CLK",
		`{"clks": ["AA==", "Quetzalina!", "AA==", "AAA=", ""]}`:   "3 of 5 entries are no CLKs (entry 1 is not base64, entry 3 is of another width than the first, entry 4 is empty; the first entry is 0)",
		`{"clks": ["A", "A", "A", "A"]}`:                          "4 of 4 entries are no CLKs (entry 0 is not base64, entry 1 is not base64, entry 2 is not base64, ..; the first",
		"{\"clks\": [\"AA\n==\"]}":                                "entry 0 is not base64",
		`{"clks": ["AA\u003d="]}`:                                 "entry 0 is not base64",
		`{"clks": ["AB=="]}`:                                      "entry 0 is not base64", // bits beyond its end
	} {
		_, err := readText(t, text)
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "Quetz") {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

// TestReadCLKsMemory: filters that do not fit are refused, those that do are
// not; a length that is not known beforehand changes nothing; what cannot be
// read is no CLK.
func TestReadCLKsMemory(t *testing.T) {
	text := `{"clks": [` + strings.Repeat(`"AAAB", `, 999) + `"AAAB"]}`
	for _, size := range []int64{0, int64(len(text))} {
		for most, fits := range map[int64]bool{8000: true, 7999: false, 0: false} {
			s, err := readCLKs(t.Context(), iotest.OneByteReader(strings.NewReader(text)), "a.json", "a", size, most, nil)
			if fits != (err == nil) || fits && (s.Rows() != 1000 || size > 0 && cap(s.Bits) > 1100) || !fits && fault.KindOf(err) != fault.Usage {
				t.Errorf("%d bytes of %d: %v", most, size, err)
			}
		}
	}
	if _, err := readCLKs(t.Context(), iotest.ErrReader(io.ErrClosedPipe), "a.json", "a", 0, 1, nil); fault.KindOf(err) != fault.Internal {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	for path, want := range map[string]string{"x/north.clks.json": "north", "south-1.json": "south-1", "clks.json": "clks", "east": "east", "a.b.json": "", ".json": "", "ä.json": ""} {
		name, err := nameOf(path)
		if name != want || (err == nil) != (want != "") {
			t.Errorf("%s is named %q: %v", path, name, err)
		}
	}
	a, b := setOf("a", 2, [][]byte{{1, 2}}), setOf("a", 2, nil)
	if err := sameWidth([]*Set{a, b}); fault.KindOf(err) != fault.Usage {
		t.Errorf("two of one name: %v", err)
	}
	b.Name = "b"
	b.rows = 3 // as a cohort without any filter
	if err := sameWidth([]*Set{b, a}); err != nil || b.Words != a.Words || len(b.Bits) != 3 {
		t.Errorf("filters without a width: %v", err)
	}
	if err := sameWidth([]*Set{a, b, setOf("c", 3, [][]byte{{1, 2, 3}})}); err == nil || !strings.Contains(err.Error(), "filters of a have 16 bits, those of c 24") {
		t.Errorf("two widths: %v", err)
	}
}

// TestByID: the order of names, which are numbers as text or minted ids.
func TestByID(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := setOf("a", 1, make([][]byte, rapid.IntRange(0, 2345).Draw(t, "rows")))
		if rapid.Bool().Draw(t, "minted") {
			s.ids = make([]cohort.ID, s.Rows())
			for i := range s.ids {
				s.ids[i] = cohort.ID{byte(i * 37), byte(i * 101 >> 3), byte(i), byte(i >> 8)}
			}
		}
		var names []string
		for _, row := range s.byID() {
			names = append(names, s.UniqueID(int(row)))
		}
		if len(names) != s.Rows() || !slices.IsSorted(names) || len(slices.Compact(names)) != s.Rows() {
			t.Fatalf("%d names of %d rows: %q", len(names), s.Rows(), names)
		}
		for i := 1; i < s.Rows(); i++ {
			if a, b := s.UniqueID(i-1), s.UniqueID(i); s.compareIDs(uint32(i-1), uint32(i)) != strings.Compare(a, b) {
				t.Fatalf("%s and %s", a, b)
			}
		}
	})
}

func TestIsCLKs(t *testing.T) {
	folder := t.TempDir()
	for content, want := range map[string]bool{` {"clks": []}`: true, "PAR1": false, "": false} {
		path := filepath.Join(folder, "x")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if IsCLKs(path) != want {
			t.Errorf("%q", content)
		}
	}
	if IsCLKs(folder) || IsCLKs(filepath.Join(folder, "none")) {
		t.Error("a folder and what is not there are no CLKs")
	}
}

// TestReadCLKsWritten: what a writer of JSON writes is read.
func TestReadCLKsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(1, 300).Draw(t, "width")
		filters := rapid.SliceOf(rapid.SliceOfN(rapid.Byte(), width, width)).Draw(t, "filters")
		document := map[string]any{"clks": append([][]byte{}, filters...)}
		b, err := json.Marshal(document)
		if rapid.Bool().Draw(t, "indented") {
			b, err = json.MarshalIndent(document, "", "\t")
		}
		if err != nil {
			t.Fatal(err)
		}
		s, err := readCLKs(ctx(t), bytes.NewReader(b), "a.json", "a", int64(len(b)), 1<<30, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := setOf("a", width, filters); s.Rows() != want.Rows() || !slices.Equal(s.Bits, want.Bits) || s.empty != want.empty {
			t.Fatalf("read %+v, want %+v", s, want)
		}
	})
}

// FuzzReadCLKs: what is read is what a reader of any JSON sees, and what is
// refused is no error of another kind.
func FuzzReadCLKs(f *testing.F) {
	for _, seed := range []string{`{"clks": []}`, `{"clks": ["gA==", "AA=="]}`, `{"clks":["\/+\/\/"]}`, `{"clks": ["AA==", 7]}`, "{\"clks\": [\"AA\n==\"]}", `{"clks": ["AA=="]} `, `{"clks": ["`, `{"clks":["A\\/="]}`, "{\"clks\":[]}\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := readCLKs(t.Context(), bytes.NewReader(text), "a.json", "a", int64(len(text)), 1<<20, nil)
		if err != nil {
			if fault.KindOf(err) != fault.Usage {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		var document struct {
			CLKs []string `json:"clks"`
		}
		if err := json.Unmarshal(text, &document); err != nil {
			t.Fatalf("%q was read, and is no JSON: %v", text, err)
		}
		if len(document.CLKs) != s.Rows() {
			t.Fatalf("%d rows of %d", s.Rows(), len(document.CLKs))
		}
		for row, entry := range document.CLKs {
			if want, err := base64.StdEncoding.DecodeString(entry); err != nil || !bytes.Equal(bytesOf(s, row), want) {
				t.Fatalf("row %d is %x, want %x: %v", row, bytesOf(s, row), want, err)
			}
		}
	})
}

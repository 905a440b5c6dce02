package leak

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Kind is which of a person's values was found.
type Kind string

// The kinds.
const (
	ID       Kind = "source id"
	Number   Kind = "NHS number"
	Given    Kind = "given name"
	Family   Kind = "family name"
	Birth    Kind = "date of birth"
	Postcode Kind = "postcode"
	Secret   Kind = "secret" // of nobody: see [Scanner.Secret]
)

// Finding is a value where it was found.
type Finding struct {
	Place  string // a file, or what the bytes were said to be
	Person int    // which of the scanner's people, or secrets
	Kind   Kind
	Form   string // how it was written: "plain", "gzip > base64 > sha-256"
}

// String says what was found, without the value.
func (f Finding) String() string {
	if f.Kind == Secret {
		return fmt.Sprintf("%s: secret %d, %s", f.Place, f.Person, f.Form)
	}
	return fmt.Sprintf("%s: %s of person %d, %s", f.Place, f.Kind, f.Person, f.Form)
}

// Scanner finds the values of people in bytes.
//
//   - NHS numbers: ten digits, also in longer runs of digits; three, three and four with
//     the same separator; as a 64-bit whole number or floating-point number of
//     either byte order; the SHA-256, SHA-1 or MD5 of the digits.
//   - Names and ids: in any case, also inside longer words.
//   - Dates of birth: year, month and day, or day, month and year, with separators;
//     eight digits that stand alone.
//   - Postcodes: in any case, with or without a separator, where they stand alone.
//
// Each of these also in UTF-16 and UTF-32, in base64 of both alphabets and any
// alignment, in hexadecimal, escaped as in URLs and in JSON, inside gzip and zstd
// wherever they begin, in the pages and the values of Parquet, and in what several of
// these give one after another.
//
// Secrets are found as their bytes, in the same encodings.
//
// It is safe for concurrent use.
type Scanner struct {
	people []Person

	numbers   map[uint64]int32
	words     map[uint64]reference // packed letters
	days      map[uint32]int32     // YYYYMMDD
	postcodes map[uint64]int32     // packed letters and digits
	digests   map[uint64]reference // the first eight bytes, big-endian
	begins    []uint64             // a bit for each first three bytes of a digest, or of a secret's last eight
	secrets   [][]byte
	tails     map[uint64]int32 // a secret's last eight bytes, big-endian
}

type reference struct {
	person int32
	kind   Kind
	form   string
}

// NewScanner returns a scanner for the values of people.
func NewScanner(people []Person) *Scanner {
	s := &Scanner{people: people, numbers: map[uint64]int32{}, words: map[uint64]reference{}, days: map[uint32]int32{}, postcodes: map[uint64]int32{},
		digests: map[uint64]reference{}, begins: make([]uint64, 1<<24/64), tails: map[uint64]int32{}}
	for i, p := range people {
		person := int32(i)
		value, err := strconv.ParseUint(p.Number, 10, 64)
		if err != nil {
			panic("leak: a number has other characters than digits")
		}
		s.numbers[value] = person
		for _, w := range []struct {
			text string
			kind Kind
		}{{p.ID, ID}, {p.Given, Given}, {p.Family, Family}} {
			if len(w.text) != wordLength {
				panic("leak: a name is not of ten letters")
			}
			key := uint64(0)
			for j := range len(w.text) {
				key = key<<5 | uint64(w.text[j]&31)
			}
			s.words[key] = reference{person, w.kind, ""}
		}
		s.days[uint32(p.Birth.Year()*10000+int(p.Birth.Month())*100+p.Birth.Day())] = person
		s.postcodes[packAlphanumeric(strings.ReplaceAll(p.Postcode, " ", ""))] = person
		for _, text := range []string{p.Number, p.Number[:3] + " " + p.Number[3:6] + " " + p.Number[6:]} {
			sha256, sha1, md5 := sha256.Sum256([]byte(text)), sha1.Sum([]byte(text)), md5.Sum([]byte(text))
			s.digest(sha256[:], reference{person, Number, "sha-256"})
			s.digest(sha1[:], reference{person, Number, "sha-1"})
			s.digest(md5[:], reference{person, Number, "md5"})
		}
	}
	return s
}

// Secret has the scanner look for some bytes, at least eight, too: a key, or the text
// of a code. It returns the number that findings call it by. It is not to be called while
// the scanner is in use.
func (s *Scanner) Secret(value []byte) int {
	if len(value) < 8 {
		panic("leak: a secret of less than eight bytes is found everywhere")
	}
	tail := value[len(value)-8:]
	key := binary.BigEndian.Uint64(tail)
	if number, there := s.tails[key]; there {
		return int(number)
	}
	s.secrets = append(s.secrets, slices.Clone(value))
	s.tails[key] = int32(len(s.secrets) - 1)
	s.begin(tail)
	return len(s.secrets) - 1
}

func (s *Scanner) digest(sum []byte, r reference) {
	s.digests[binary.BigEndian.Uint64(sum)] = r
	s.begin(sum)
}

func (s *Scanner) begin(sum []byte) {
	begin := uint32(sum[0])<<16 | uint32(sum[1])<<8 | uint32(sum[2])
	s.begins[begin/64] |= 1 << (begin % 64)
}

func packAlphanumeric(text string) (key uint64) {
	for i := range len(text) {
		key = key<<6 | uint64(alphanumeric(text[i]))
	}
	return key
}

// alphanumeric returns 1 to 36 for a digit or a letter of any case, else 0.
//
//go:norace
func alphanumeric(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0' + 1
	case c >= 'a' && c <= 'z':
		return c - 'a' + 11
	case c >= 'A' && c <= 'Z':
		return c - 'A' + 11
	}
	return 0
}

// maxFindings bounds what is said of one place.
const maxFindings = 10_000

// findings collects what is found in one place, each person, kind and form once.
type findings struct {
	place string
	all   map[Finding]bool
}

func (f *findings) add(person int32, kind Kind, form string) {
	if len(f.all) < maxFindings {
		f.all[Finding{f.place, int(person), kind, form}] = true
	}
}

func (f *findings) sorted() []Finding {
	all := make([]Finding, 0, len(f.all))
	for one := range f.all {
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Place, b.Place), cmp.Compare(a.Person, b.Person), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Form, b.Form))
	})
	return all
}

// Bytes returns what is in some bytes, by person, kind and form, each once and at
// most 10,000.
func (s *Scanner) Bytes(place string, data []byte) []Finding {
	f := &findings{place: place, all: map[Finding]bool{}}
	for _, piece := range pieces(data) {
		s.layers(f, piece, "", 0)
	}
	return f.sorted()
}

// blank is a stretch of zero bytes that divides what is looked at: files that were
// made larger than what is in them yet, and memory, are full of them.
var blank [4096]byte

// pieces returns data without its long stretches of zeros.
func pieces(data []byte) (all [][]byte) {
	if isParquet(data) {
		return [][]byte{data}
	}
	start := 0
	for at := 0; at+len(blank) <= len(data); at += len(blank) {
		if bytes.Equal(data[at:at+len(blank)], blank[:]) {
			if at > start {
				all = append(all, data[start:at])
			}
			start = at + len(blank)
		}
	}
	if start < len(data) {
		all = append(all, data[start:])
	}
	return all
}

// Text is Bytes.
func (s *Scanner) Text(place, text string) []Finding { return s.Bytes(place, []byte(text)) }

// Tree returns what is in the files of a folder, or in one file, and in their
// names. The places are paths below root. Sockets and pipes are left out.
func (s *Scanner) Tree(root string) (found []Finding, err error) {
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // a file that came and went
			}
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if path != root {
			found = append(found, s.Text("the name "+name, entry.Name())...)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // as above
		}
		if err != nil {
			return err
		}
		found = append(found, s.Bytes(name, content)...)
		return nil
	})
	return found, err
}

// maxDepth is how many layers are taken off.
const maxDepth = 4

// layers looks at bytes, and at what each encoding that they could hold gives.
func (s *Scanner) layers(f *findings, data []byte, form string, depth int) {
	s.plain(f, data, form)
	if depth == maxDepth {
		return
	}
	unwrap(data, func(name string, inner []byte) {
		if form != "" {
			name = form + " > " + name
		}
		s.layers(f, inner, name, depth+1)
	})
}

const wordLength = 10

func describe(form, last string) string {
	if form == "" {
		return last
	}
	if last == "plain" {
		return form
	}
	return form + " > " + last
}

// run is some consecutive digits or alphanumeric characters.
type run struct {
	start, end int
	digits     uint64 // the value, where there are at most 18 digits and nothing else
	key        uint64 // packed
	numeric    bool
}

func (r *run) length() int { return r.end - r.start }

// plain looks at bytes as they are.
func (s *Scanner) plain(f *findings, data []byte, form string) {
	s.runs(f, data, form)
	s.binaries(f, data, form)
}

// runs looks at what is written in letters and digits. It shares nothing that
// changes, so that the race detector, which makes it ten times slower, has nothing to
// see.
//
//go:norace
func (s *Scanner) runs(f *findings, data []byte, form string) {
	var before [2]run // the alphanumeric runs before, the nearest first
	letters, word := 0, uint64(0)
	digits, value := 0, uint64(0)
	current := run{numeric: true}
	for i := 0; ; i++ {
		var c byte
		if i < len(data) {
			c = data[i]
		}
		kind := alphanumeric(c)
		if kind > 10 {
			letters++
			word = (word<<5 | uint64(c&31)) & (1<<50 - 1)
			if letters >= wordLength {
				if r, ok := s.words[word]; ok {
					f.add(r.person, r.kind, describe(form, "plain"))
				}
			}
		} else {
			letters = 0
		}
		if kind > 0 && kind <= 10 {
			digits++
			value = (value%1_000_000_000)*10 + uint64(kind-1)
			if digits >= 10 {
				if person, ok := s.numbers[value]; ok {
					f.add(person, Number, describe(form, "plain"))
				}
			}
		} else {
			digits, value = 0, 0
		}
		clock := c|0x20 == 't' && current.numeric && (current.length() == 2 || current.length() == 8) // a time follows a date
		if kind > 0 && !clock {
			if current.length() == 0 {
				current = run{start: i, end: i, numeric: true}
			}
			current.end++
			current.key = (current.key<<6 | uint64(kind)) & (1<<42 - 1)
			if kind <= 10 && current.length() <= 18 {
				current.digits = current.digits*10 + uint64(kind-1)
			} else {
				current.numeric = false
			}
			continue
		}
		if current.length() > 0 {
			s.ended(f, data, &current, &before, form)
			before[1], before[0] = before[0], current
			current = run{numeric: true}
		}
		if i >= len(data) {
			return
		}
	}
}

// ended looks at a run, and at how it follows those before.
func (s *Scanner) ended(f *findings, data []byte, r *run, before *[2]run, form string) {
	one, two := &before[0], &before[1]
	followsOne := one.length() > 0 && separated(data, one, r)
	followsTwo := followsOne && two.length() > 0 && separated(data, two, one) && data[one.end] == data[two.end]
	switch {
	case r.length() == 7:
		s.postcode(f, r.key, form)
	case r.length() == 3 && followsOne && one.length() == 4:
		s.postcode(f, one.key<<18|r.key, form)
	}
	if !r.numeric {
		return
	}
	if r.length() == 8 {
		s.day(f, uint32(r.digits), form)
	}
	if !followsTwo || !one.numeric || !two.numeric {
		return
	}
	switch {
	case two.length() == 3 && one.length() == 3 && r.length() == 4:
		if person, ok := s.numbers[two.digits*10_000_000+one.digits*10_000+r.digits]; ok {
			f.add(person, Number, describe(form, "grouped"))
		}
	case two.length() == 4 && one.length() <= 2 && r.length() <= 2:
		s.day(f, uint32(two.digits*10000+one.digits*100+r.digits), form)
	case two.length() <= 2 && one.length() <= 2 && r.length() == 4:
		s.day(f, uint32(r.digits*10000+one.digits*100+two.digits), form)
	}
}

// separated reports whether one character that people put between groups stands
// between two runs.
func separated(data []byte, a, b *run) bool {
	gap := data[a.end:b.start]
	if len(gap) == 2 {
		return gap[0] == 0xc2 && gap[1] == 0xa0 // a no-break space
	}
	return len(gap) == 1 && strings.IndexByte(" -._/+\t\xa0", gap[0]) >= 0
}

func (s *Scanner) postcode(f *findings, key uint64, form string) {
	if person, ok := s.postcodes[key]; ok {
		f.add(person, Postcode, describe(form, "plain"))
	}
}

func (s *Scanner) day(f *findings, day uint32, form string) {
	if person, ok := s.days[day]; ok {
		f.add(person, Birth, describe(form, "plain"))
	}
}

// binaries looks at every eight bytes as a number and as the beginning of a digest.
// Every NHS number that is looked for is from 9,000,000,000 to 9,999,999,999.
//
//go:norace
func (s *Scanner) binaries(f *findings, data []byte, form string) {
	for i := 0; i+8 <= len(data); i++ {
		b := data[i : i+8]
		if b[3] == 2 && b[0]|b[1]|b[2] == 0 {
			s.whole(f, binary.BigEndian.Uint64(b), describe(form, "64-bit big-endian"))
		}
		if b[4] == 2 && b[5]|b[6]|b[7] == 0 {
			s.whole(f, binary.LittleEndian.Uint64(b), describe(form, "64-bit little-endian"))
		}
		if b[0] == 0x42 && b[1]>>4 == 0 {
			s.fraction(f, binary.BigEndian.Uint64(b), describe(form, "floating-point big-endian"))
		}
		if b[7] == 0x42 && b[6]>>4 == 0 {
			s.fraction(f, binary.LittleEndian.Uint64(b), describe(form, "floating-point little-endian"))
		}
		if begin := uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]); s.begins[begin/64]&(1<<(begin%64)) != 0 {
			if r, ok := s.digests[binary.BigEndian.Uint64(b)]; ok {
				f.add(r.person, r.kind, describe(form, r.form))
			}
			s.secret(f, data[:i+8], form)
		}
	}
}

// secret looks for one that ends where data do.
func (s *Scanner) secret(f *findings, data []byte, form string) {
	if number, ok := s.tails[binary.BigEndian.Uint64(data[len(data)-8:])]; ok && bytes.HasSuffix(data, s.secrets[number]) {
		f.add(number, Secret, describe(form, "plain"))
	}
}

func (s *Scanner) whole(f *findings, value uint64, form string) {
	if person, ok := s.numbers[value]; ok {
		f.add(person, Number, form)
	}
}

func (s *Scanner) fraction(f *findings, bits uint64, form string) {
	if value := math.Float64frombits(bits); value == math.Trunc(value) {
		s.whole(f, uint64(value), form)
	}
}

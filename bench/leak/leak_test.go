package leak_test

import (
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"tarn/bench/leak"
	"tarn/keys/nhsnumber"
)

var people = leak.People(5000, 1)

var scanner = leak.NewScanner(people)

func TestPeople(t *testing.T) {
	if again := leak.People(5000, 1); !slices.Equal(people, again) {
		t.Error("the same seed gives other people")
	}
	if other := leak.People(5000, 2); slices.Equal(people, other) {
		t.Error("another seed gives the same people")
	}
	seen := map[string]bool{}
	for _, p := range people {
		if _, state, _ := nhsnumber.Parse(p.Number); state != nhsnumber.Valid || p.Number[0] != '9' || strings.HasPrefix(p.Number, "999") {
			t.Errorf("number of state %v", state)
		}
		for _, value := range []string{p.ID, p.Number, p.Given, p.Family, p.Birth.Format("2006-01-02"), p.Postcode} {
			if seen[strings.ToLower(value)] {
				t.Errorf("a value is there twice")
			}
			seen[strings.ToLower(value)] = true
		}
	}
}

// forms writes a person's values in the ways that the scanner is to find.
func forms(p leak.Person) map[string]struct {
	kind leak.Kind
	data []byte
} {
	type written = struct {
		kind leak.Kind
		data []byte
	}
	n := p.Number
	value, _ := strconv.ParseUint(n, 10, 64)
	grouped := func(by string) string { return n[:3] + by + n[3:6] + by + n[6:] }
	sha256Sum, sha1Sum, md5Sum := sha256.Sum256([]byte(n)), sha1.Sum([]byte(n)), md5.Sum([]byte(n))
	all := map[string]written{
		"plain": {leak.Number, []byte(n)}, "in a longer number": {leak.Number, []byte("00" + n + "7")},
		"big-endian": {leak.Number, binary.BigEndian.AppendUint64(nil, value)}, "little-endian": {leak.Number, binary.LittleEndian.AppendUint64(nil, value)},
		"double": {leak.Number, binary.LittleEndian.AppendUint64(nil, math.Float64bits(float64(value)))}, "double, big-endian": {leak.Number, binary.BigEndian.AppendUint64(nil, math.Float64bits(float64(value)))},
		"sha-256": {leak.Number, sha256Sum[:]}, "sha-1": {leak.Number, sha1Sum[:]}, "md5": {leak.Number, md5Sum[:]},
		"given": {leak.Given, []byte(p.Given)}, "lower case": {leak.Given, []byte(strings.ToLower(p.Given))}, "upper case": {leak.Family, []byte(strings.ToUpper(p.Family))},
		"in a word": {leak.Family, []byte("Mc" + p.Family + "son")}, "id": {leak.ID, []byte(p.ID)},
		"postcode": {leak.Postcode, []byte(p.Postcode)}, "postcode as one": {leak.Postcode, []byte(strings.ReplaceAll(p.Postcode, " ", ""))},
		"postcode, lower case": {leak.Postcode, []byte(strings.ToLower(p.Postcode))}, "postcode in an address": {leak.Postcode, []byte(url.QueryEscape(p.Postcode))},
	}
	for _, by := range []string{" ", "-", ".", "_", "/", "\u00a0"} {
		all["grouped by "+strconv.QuoteToASCII(by)] = written{leak.Number, []byte(grouped(by))}
	}
	for _, layout := range []string{"2006-01-02", "02/01/2006", "2.1.2006", "20060102", "2006-01-02T00:00:00Z", "2006/1/2"} {
		all["born "+layout] = written{leak.Birth, []byte(p.Birth.Format(layout))}
	}
	return all
}

// wraps put bytes into another encoding, with something around them.
var wraps = map[string]func([]byte) []byte{
	"nothing": func(b []byte) []byte { return b },
	"utf-16": func(b []byte) (out []byte) {
		for _, u := range utf16.Encode([]rune("number: " + string(b) + ", ")) {
			out = binary.LittleEndian.AppendUint16(out, u)
		}
		return append([]byte{7, 9}, out...)
	},
	"utf-16, big-endian": func(b []byte) (out []byte) {
		for _, u := range utf16.Encode([]rune("number: " + string(b) + ", ")) {
			out = binary.BigEndian.AppendUint16(out, u)
		}
		return out
	},
	"utf-32": func(b []byte) (out []byte) {
		for _, r := range "number: " + string(b) + ", " {
			out = binary.LittleEndian.AppendUint32(out, uint32(r))
		}
		return out
	},
	"base64": func(b []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(b)) },
	"base64 of more": func(b []byte) []byte {
		return []byte("x=" + base64.StdEncoding.EncodeToString([]byte("a record: "+string(b)+".")) + ";")
	},
	"base64 of URLs": func(b []byte) []byte {
		return []byte(base64.RawURLEncoding.EncodeToString(append([]byte("??>>"), b...)))
	},
	"base64, unaligned": func(b []byte) []byte {
		return []byte("abcde" + base64.StdEncoding.EncodeToString(append([]byte("---"), b...)))
	},
	"base64 in lines": func(b []byte) []byte {
		text := base64.StdEncoding.EncodeToString(append(bytes.Repeat([]byte("-"), 40), b...))
		return []byte(text[:len(text)-9] + "\n" + text[len(text)-9:])
	},
	"hex":             func(b []byte) []byte { return []byte("\"" + hex.EncodeToString(append([]byte("    "), b...)) + "\"") },
	"hex, upper case": func(b []byte) []byte { return []byte(strings.ToUpper(hex.EncodeToString(append(b, "      "...)))) },
	"URL":             func(b []byte) []byte { return []byte("/v1/projects/" + url.PathEscape(" "+string(b))) },
	"URL, all of it": func(b []byte) (out []byte) {
		for _, c := range b {
			out = fmt.Appendf(out, "%%%02x", c)
		}
		return out
	},
	"JSON, all of it": func(b []byte) (out []byte) {
		for _, r := range string(b) {
			out = fmt.Appendf(out, `\u%04X`, r)
		}
		return out
	},
	"JSON": func(b []byte) []byte { out, _ := json.Marshal(map[string]string{"a<": string(b)}); return out },
	"Go": func(b []byte) []byte {
		var out []byte
		for _, c := range b {
			out = fmt.Appendf(out, `\x%02x`, c)
		}
		return out
	},
	"gzip": func(b []byte) []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		_, _ = w.Write(b)
		_ = w.Close()
		return append([]byte("header"), out.Bytes()...)
	},
	"gzip, cut off": func(b []byte) []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		_, _ = w.Write(append(append([]byte{}, b...), ' '))
		_ = w.Flush()
		return out.Bytes()
	},
	"zstd": func(b []byte) []byte {
		w, _ := zstd.NewWriter(nil)
		return append(w.EncodeAll(b, []byte("two frames")), w.EncodeAll([]byte(" another"), nil)...)
	},
}

func contains(found []leak.Finding, person int, kind leak.Kind) bool {
	return slices.ContainsFunc(found, func(f leak.Finding) bool { return f.Person == person && f.Kind == kind })
}

// textual says that a wrap takes text only.
func textual(wrap string) bool {
	return strings.HasPrefix(wrap, "utf") || strings.HasPrefix(wrap, "JSON")
}

func TestEveryFormIsFound(t *testing.T) {
	const person = 1234
	for name, written := range forms(people[person]) {
		for wrapped, wrap := range wraps {
			binary := written.kind == leak.Number && !strings.Contains(name, "plain") && !strings.Contains(name, "grouped") && !strings.Contains(name, "longer")
			if binary && textual(wrapped) || textual(wrapped) && strings.Contains(name, "00a0") {
				continue
			}
			data := wrap(slices.Clone(written.data))
			found := scanner.Bytes("here", append(append([]byte("before \""), data...), "\" after"...))
			if !contains(found, person, written.kind) {
				t.Errorf("%s in %s is not found; found %v", name, wrapped, found)
			}
			for _, f := range found {
				if f.Person != person || f.Place != "here" || f.Kind != written.kind {
					t.Errorf("%s in %s: found %v, too", name, wrapped, f)
				}
			}
		}
	}
}

func TestEveryLayerIsTakenOff(t *testing.T) {
	names := make([]string, 0, len(wraps))
	for name := range wraps {
		names = append(names, name)
	}
	slices.Sort(names)
	rapid.Check(t, func(t *rapid.T) {
		person := rapid.IntRange(0, len(people)-1).Draw(t, "person")
		data := []byte("nhs_number=" + people[person].Number + " of " + people[person].Family)
		for i := range rapid.IntRange(0, 3).Draw(t, "layers") {
			wrap := rapid.SampledFrom(names).Draw(t, "wrap")
			if i > 0 && textual(wrap) {
				continue // of bytes there is no such text
			}
			data = wraps[wrap](data)
		}
		found := scanner.Bytes("here", data)
		if !contains(found, person, leak.Number) || !contains(found, person, leak.Family) {
			t.Fatalf("found %v in %q", found, data)
		}
	})
}

// TestNothingIsFoundWhereNothingIs looks at what is alike: other people's values, random bytes and
// digits, keys, this repository.
func TestNothingIsFoundWhereNothingIs(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	noise := make([]byte, 8<<20)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	var text bytes.Buffer
	for range 20_000 {
		fmt.Fprintf(&text, "%x %d %s\n", random.Uint64(), random.Uint64N(4_000_000_000), base64.StdEncoding.EncodeToString(noise[:48]))
	}
	for name, data := range map[string][]byte{"noise": noise, "text": text.Bytes()} {
		if found := scanner.Bytes(name, data); len(found) > 0 {
			t.Errorf("found %v", found)
		}
	}
	strangers := leak.People(5000, 2)
	var table bytes.Buffer
	own := map[string]bool{}
	for _, p := range people {
		own[p.Postcode], own[p.Number] = true, true
	}
	for _, p := range strangers {
		if !own[p.Postcode] && !own[p.Number] {
			fmt.Fprintf(&table, "%s,%s,%s,%s,1973-10-22,%s\n", p.ID, p.Number, p.Given, p.Family, p.Postcode)
		}
	}
	if found := scanner.Bytes("strangers", table.Bytes()); len(found) > 0 {
		t.Errorf("found %v", found)
	}
	found, err := scanner.Tree("../../docs")
	if err != nil || len(found) > 0 {
		t.Errorf("found %v, %v", found, err)
	}
}

func TestNeighboursAreNotFound(t *testing.T) {
	p := people[7]
	for _, text := range []string{
		p.Number[:9] + " " + p.Number[9:], p.Number[:9], p.Given[:9], p.Family[1:], p.Postcode[:6], "x" + p.Postcode, p.Postcode + "x",
		p.Number[:3] + " " + p.Number[3:6] + "-" + p.Number[6:], p.Birth.Format("2006-01"), "1" + p.Birth.Format("20060102"),
	} {
		if found := scanner.Text("here", text); len(found) > 0 {
			t.Errorf("found %v", found)
		}
	}
}

func TestParquet(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.BinaryTypes.String}, {Name: "number", Type: arrow.PrimitiveTypes.Int64}, {Name: "born", Type: arrow.FixedWidthTypes.Date32},
		{Name: "double", Type: arrow.PrimitiveTypes.Float64}, {Name: "name", Type: arrow.BinaryTypes.String},
	}, nil)
	write := func(some []leak.Person, properties ...parquet.WriterProperty) []byte {
		builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		defer builder.Release()
		for i, p := range some {
			value, _ := strconv.ParseInt(p.Number, 10, 64)
			builder.Field(0).(*array.StringBuilder).Append(fmt.Sprintf("row %d", i))
			builder.Field(1).(*array.Int64Builder).Append(value)
			builder.Field(2).(*array.Date32Builder).Append(arrow.Date32FromTime(p.Birth))
			builder.Field(3).(*array.Float64Builder).Append(float64(value))
			builder.Field(4).(*array.StringBuilder).Append(p.Family)
		}
		record := builder.NewRecordBatch()
		defer record.Release()
		var out bytes.Buffer
		w, err := pqarrow.NewFileWriter(schema, &out, parquet.NewWriterProperties(append(properties, parquet.WithStats(false))...), pqarrow.DefaultWriterProps())
		if err == nil {
			err = w.Write(record)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	codecs := map[string]compress.Compression{"snappy": compress.Codecs.Snappy, "zstd": compress.Codecs.Zstd, "gzip": compress.Codecs.Gzip, "none": compress.Codecs.Uncompressed}
	for name, codec := range codecs {
		for encoding, properties := range map[string][]parquet.WriterProperty{
			"dictionary": {parquet.WithDictionaryDefault(true)},
			"plain":      {parquet.WithDictionaryDefault(false)},
			"delta": {parquet.WithDictionaryDefault(false), parquet.WithEncodingFor("number", parquet.Encodings.DeltaBinaryPacked),
				parquet.WithEncodingFor("name", parquet.Encodings.DeltaByteArray)},
		} {
			data := write(people[:50], append(properties, parquet.WithCompression(codec))...)
			found := scanner.Bytes("table", data)
			for person := range 50 {
				if !contains(found, person, leak.Number) || !contains(found, person, leak.Birth) || !contains(found, person, leak.Family) {
					t.Fatalf("%s, %s: person %d is not found whole", name, encoding, person)
				}
			}
			if contains(found, 50, leak.Number) {
				t.Errorf("%s, %s: somebody is found who is not there", name, encoding)
			}
			// Damage must not end the search.
			scanner.Bytes("damaged", data[:len(data)/2])
			damaged := slices.Clone(data)
			for i := 50; i < len(damaged); i += 97 {
				damaged[i] ^= 0x55
			}
			scanner.Bytes("damaged", damaged)
		}
	}
	strangers := leak.People(60, 3)
	if found := scanner.Bytes("strangers", write(strangers[:1], parquet.WithCompression(compress.Codecs.Snappy))); slices.ContainsFunc(found, func(f leak.Finding) bool { return f.Kind != leak.Birth }) {
		t.Errorf("found %v", found)
	}
	// A tag is a random number of many digits, among which somebody's are by chance.
	tag := people[7]
	tag.Number += "12345678"
	if found := scanner.Bytes("tags", write([]leak.Person{tag}, parquet.WithDictionaryDefault(false))); contains(found, 7, leak.Number) {
		t.Errorf("a tag is taken for a person: %v", found)
	}
}

func TestSecrets(t *testing.T) {
	s := leak.NewScanner(nil)
	key := sha256.Sum256([]byte("a key"))
	first, second := s.Secret(key[:]), s.Secret([]byte("tarn-enrol-abcdefghijk"))
	if s.Secret(key[:]) != first || first == second {
		t.Error("secrets have the wrong numbers")
	}
	for name, wrap := range wraps {
		if textual(name) {
			continue
		}
		if found := s.Bytes("here", wrap(append([]byte("key: "), key[:]...))); len(found) == 0 || slices.ContainsFunc(found, func(f leak.Finding) bool { return f.Kind != leak.Secret || f.Person != first }) {
			t.Errorf("%s: found %v", name, found)
		}
		if found := s.Bytes("here", wrap(append([]byte("key: "), key[1:]...))); len(found) != 0 {
			t.Errorf("%s: found %v of a part", name, found)
		}
	}
	if found := s.Text("here", "the code is tarn-enrol-abcdefghijk."); len(found) != 1 || found[0].String() != "here: secret 1, plain" {
		t.Errorf("found %v", found)
	}
}

func TestTree(t *testing.T) {
	folder := t.TempDir()
	if err := os.MkdirAll(filepath.Join(folder, "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"a/b/log.txt": "number " + people[3].Number, "a/" + people[4].Family + ".txt": "nothing", "empty": ""} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, err := scanner.Tree(folder)
	if err != nil || len(found) != 2 || !contains(found, 3, leak.Number) || !contains(found, 4, leak.Family) {
		t.Errorf("found %v, %v", found, err)
	}
	if text := fmt.Sprint(found); !strings.Contains(text, "log.txt: NHS number of person 3, plain") || strings.Contains(text, people[3].Number) {
		t.Errorf("it is said as %s", text)
	}
	if found, err := scanner.Tree(filepath.Join(folder, "a/b/log.txt")); err != nil || len(found) != 1 {
		t.Errorf("of one file: found %v, %v", found, err)
	}
}

func BenchmarkScanner(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 1))
	data := make([]byte, 16<<20)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		scanner.Bytes("noise", data)
	}
}

package encode

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tarn/keys"
	"tarn/keys/secret"
	"tarn/linkage/cohort"
)

func readDocument(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/encoding.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// rowsOf returns the cells of a Markdown table whose first heading is given.
func rowsOf(t *testing.T, document, heading string) (rows [][]string) {
	t.Helper()
	_, table, found := strings.Cut(document, "\n| "+heading+" |")
	if !found {
		t.Fatalf("no table with the heading %s", heading)
	}
	for _, line := range strings.Split(table, "\n")[2:] {
		if !strings.HasPrefix(line, "|") {
			return rows
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		rows = append(rows, cells)
	}
	return rows
}

var code = regexp.MustCompile("`([^`]*)`")

func codesIn(cell string) (codes []string) {
	for _, m := range code.FindAllStringSubmatch(cell, -1) {
		codes = append(codes, m[1])
	}
	return codes
}

func TestDocumentTokens(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range rowsOf(t, readDocument(t), "tokens") {
		kind, text := codesIn(row[0])[0], codesIn(row[1])[0]
		value := Value{Parts: []string{text}}
		switch kind {
		case TokensBigrams, TokensWords:
			value.Parts = strings.Fields(text)
		case TokensDate:
			value = Value{Date: date(t, text)}
		}
		if got, want := tokensOfValue(kind, value), codesIn(row[2]); !slices.Equal(got, want) {
			t.Errorf("%s of %s: the encoder makes %q, the document says %q", kind, text, got, want)
		}
		seen[kind] = true
	}
	for _, kinds := range tokensOf {
		for _, kind := range kinds {
			if kind != TokensTag && !seen[kind] {
				t.Errorf("%s has no example", kind)
			}
		}
	}
}

func tokensOfValue(kind string, value Value) (all []string) {
	(&Worker{}).tokens(&Field{Tokens: kind}, &value, func(token []byte) {
		if !slices.Contains(all, string(token)) {
			all = append(all, string(token))
		}
	})
	return all
}

// TestDocumentNormalisers: the table of normalisers is what the checks of a
// profile know.
func TestDocumentNormalisers(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range rowsOf(t, readDocument(t), "normalise") {
		name := codesIn(row[0])[0]
		seen[name] = true
		if !slices.Equal(codesIn(row[2]), tokensOf[name]) {
			t.Errorf("%s: tokens are %q, the document says %q", name, tokensOf[name], codesIn(row[2]))
		}
		want := slices.Sorted(slices.Values(tablesOf[name]))
		got := codesIn(row[3])
		if name == NormaliseFormal {
			got = append(got, tablesOf[NormaliseName]...)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: lists are %q, the document says %q", name, want, got)
		}
	}
	for name := range tokensOf {
		if !seen[name] {
			t.Errorf("%s is not in the document", name)
		}
	}
}

// TestDocumentMembers: the table of members names every member and no other.
func TestDocumentMembers(t *testing.T) {
	var documented []string
	for _, row := range rowsOf(t, readDocument(t), "member") {
		documented = append(documented, codesIn(row[0])...)
	}
	var members []string
	var walk func(at string, v reflect.Type)
	walk = func(at string, v reflect.Type) {
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Field(i).Tag.Get("json"), ",")
			members = append(members, at+name)
			kind := v.Field(i).Type
			switch {
			case at == "" && name == "encoding":
				walk("encoding.", reflect.TypeFor[Encoding]())
			case kind == reflect.TypeFor[cohort.Comparison]():
				walk(at+name+".", kind)
			case kind.Kind() == reflect.Slice && kind.Elem().Kind() == reflect.Struct:
				walk(at+name+"[].", kind.Elem())
			}
		}
	}
	walk("", reflect.TypeFor[profileDocument]())
	slices.Sort(members)
	if slices.Sort(documented); !slices.Equal(documented, members) {
		t.Errorf("the document has %q, the code %q", documented, members)
	}
	for name, limit := range map[string]int{"encoding.blocks": maxBlocks, "encoding.fields": maxFields, "encoding.fields[].inputs": maxInputs, "encoding.fields[].hashes": maxHashes, "encoding.diffusion": maxDiffusion} {
		if line := lineOf(t, "| `"+name+"` |"); !regexp.MustCompile(fmt.Sprintf(`\b%d\b`, limit)).MatchString(line) {
			t.Errorf("%s does not say %d", name, limit)
		}
	}
	if line := lineOf(t, "| `encoding.fields[].bits` |"); !strings.Contains(line, fmt.Sprintf("%d to %d; all filters together at most %d", minBits, maxBits, maxRecordBits)) {
		t.Errorf("other limits of bits: %s", line)
	}
}

func lineOf(t *testing.T, start string) string {
	for line := range strings.Lines(readDocument(t)) {
		if strings.HasPrefix(line, start) {
			return line
		}
	}
	t.Fatalf("no line starts with %s", start)
	return ""
}

// documentVectors are the test vectors of the document.
type documentVectors struct {
	KEnc      string                    `json:"K_enc"`
	Project   string                    `json:"project"`
	Epoch     uint32                    `json:"encoding_epoch"`
	Date      string                    `json:"date_of_birth"`
	Values    map[string]string         `json:"values"`
	Profiles  map[string]profileVectors `json:"profiles"`
	GivenName stepVectors               `json:"given_name"`
	LongToken longTokenVector           `json:"long_token"`
	Published []twinRecord              `json:"published_records"`
}

type profileVectors struct {
	Digest  string                     `json:"digest"`
	KP      string                     `json:"K_p"`
	KRec    string                     `json:"K_rec"`
	Columns map[string]json.RawMessage `json:"columns"`
	KCV     string                     `json:"encoding_kcv"`
}

type stepVectors struct {
	Profile   string   `json:"profile"`
	KField    string   `json:"K_field"`
	Tokens    []string `json:"tokens"`
	Positions []uint16 `json:"positions_of_first_token"`
	Filter    string   `json:"filter"`
	KDiff     string   `json:"K_diff"`
	Row       []int    `json:"first_row_of_table"`
	Last      []int    `json:"last_row_of_table"`
	Diffused  string   `json:"diffused"`
	KPad      string   `json:"K_pad"`
	Pad       string   `json:"pad"`
}

type longTokenVector struct {
	Token     string   `json:"token"`
	Positions []uint16 `json:"positions"`
}

// makeVectors makes the document's vectors with the encoder.
func makeVectors(t *testing.T) documentVectors {
	known := readVectors(t).Encoding
	v := documentVectors{KEnc: known.KEnc, Project: known.Project, Epoch: known.EncodingEpoch, Date: known.DateOfBirth, Profiles: map[string]profileVectors{},
		Values: map[string]string{FieldGivenName: "anne", FieldFamilyName: "smith", FieldPostcode: "SW1A 2AA", FieldSex: "F"}}
	born := date(t, v.Date)
	for _, name := range PresetNames() {
		p := preset(t, name)
		e, err := NewEncoder(p, keyOf(t, v.KEnc), v.Project, v.Epoch)
		if err != nil {
			t.Fatal(err)
		}
		rk, err := e.keysFor(born, secret.NewHasher())
		if err != nil {
			t.Fatal(err)
		}
		record := Record{DateOfBirth: born}
		for _, f := range p.Encoding.Fields {
			value := Value{Parts: []string{v.Values[f.Name]}}
			if f.Normalise == NormaliseDate {
				value = Value{Date: born}
			}
			record.Values = append(record.Values, value)
		}
		var out Encoded
		if err := e.NewWorker().Encode(&record, &out); err != nil {
			t.Fatal(err)
		}
		kcv, err := e.KeyCheckValue()
		if err != nil {
			t.Fatal(err)
		}
		recordKey := e.project
		if p.Encoding.RecordKey == KeyedByDateOfBirth {
			recordKey = e.project.Derive(keys.LP(keys.Text("record-key"), keys.Text("dob"), keys.Text(v.Date)))
		}
		v.Profiles[name] = profileVectors{p.DigestText(), keyText(e.project), keyText(recordKey), columnsOf(p, &out), kcv}
		if name == DefaultPreset {
			v.GivenName = makeSteps(t, e, rk, recordKey, &record)
			v.LongToken.Token = "featherstonehaugh"
			v.LongToken.Positions = positionsOf(t, &rk.fields[0], &p.Encoding.Fields[0], v.LongToken.Token)
		} else {
			published, err := p.publishedRecords()
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range published {
				v.Published = append(v.Published, twinRecordOf(r))
			}
		}
	}
	return v
}

func makeSteps(t *testing.T, e *Encoder, rk *recordKeys, record secret.Key, r *Record) stepVectors {
	f, k := &e.profile.Encoding.Fields[0], &rk.fields[0]
	derive := func(label string) string {
		return keyText(record.Derive(keys.LP(keys.Text(label), keys.Text(f.Name))))
	}
	rows := make([][]int, f.Bits)
	for p := range f.Bits {
		for _, j := range k.column(uint16(p)) {
			rows[j] = append(rows[j], p)
		}
	}
	bare := *k
	bare.columns, bare.inputs, bare.pad = nil, 0, nil
	filled := func(keys fieldKeys) string {
		out := make([]byte, f.Bits/8)
		e.NewWorker().fill(&keys, f, &r.Values[0], out)
		return hex.EncodeToString(out)
	}
	diffused := *k
	diffused.pad = nil
	tokens := tokensOfValue(f.Tokens, r.Values[0])
	return stepVectors{Profile: e.profile.Name, KField: derive("field"), Tokens: tokens, Positions: positionsOf(t, k, f, tokens[0]), Filter: filled(bare),
		KDiff: derive("diffusion"), Row: rows[0], Last: rows[f.Bits-1], Diffused: filled(diffused), KPad: derive("pad"), Pad: hex.EncodeToString(k.pad)}
}

// positionsOf returns the positions of one token, each once and rising, as the
// encoder sets them.
func positionsOf(t *testing.T, k *fieldKeys, f *Field, token string) (positions []uint16) {
	bare := *k
	bare.columns, bare.inputs, bare.pad = nil, 0, nil
	words := *f
	words.Tokens = TokensWords
	out := make([]byte, f.Bits/8)
	(&Encoder{}).NewWorker().fill(&bare, &words, &Value{Parts: []string{token}}, out)
	for i := range f.Bits {
		if out[i>>3]>>(i&7)&1 == 1 {
			positions = append(positions, uint16(i))
		}
	}
	return positions
}

// TestDocumentVectors: the vectors at the end of the document are what the
// encoder makes.
func TestDocumentVectors(t *testing.T) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(makeVectors(t)); err != nil {
		t.Fatal(err)
	}
	// A list of numbers or texts takes one line, and so does a record.
	short := regexp.MustCompile(`\[\s+[^][{}]*\]|\{\s+"date_of_birth": [^{}]*\}`)
	want := short.ReplaceAllStringFunc(b.String(), func(s string) string { return strings.Join(strings.Fields(s), " ") })
	_, found, _ := strings.Cut(readDocument(t), "```json\n")
	if found, _, _ = strings.Cut(found, "```"); found != want {
		t.Errorf("the vectors of docs/encoding.md differ; the encoder makes\n%s", want)
	}
}

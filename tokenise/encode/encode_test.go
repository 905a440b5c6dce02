package encode

import (
	"crypto/aes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"sort"
	"testing"

	"pgregory.net/rapid"

	"tarn/keys"
	"tarn/keys/secret"
	"tarn/tokenise/demographics"
	"tarn/tokenise/reason"
)

// vectors are the known answers of the specification, from the reference that
// is written in Python.
type vectors struct {
	Encoding struct {
		KEnc          string                 `json:"K_enc"`
		Project       string                 `json:"project"`
		EncodingEpoch uint32                 `json:"encoding_epoch"`
		ProfileDigest string                 `json:"profile_digest"`
		KP            string                 `json:"K_p"`
		DateOfBirth   string                 `json:"date_of_birth"`
		BlockDOB      string                 `json:"block_dob"`
		BlockDOBInt64 int64                  `json:"block_dob_int64"`
		SexTagF       string                 `json:"sex_tag_F"`
		PostcodeTag   string                 `json:"postcode_tag_SW1A 2AA"`
		Fields        map[string]vectorField `json:"fields"`
	} `json:"encoding"`
	PostcodeTokens []string `json:"postcode_tokens_SW1A 2AA"`
}

type vectorField struct {
	Value     string   `json:"value"`
	Tokens    []string `json:"tokens"`
	K         int      `json:"k"`
	KField    string   `json:"K_field"`
	Positions []int    `json:"positions_of_first_token"`
	Rows      [][]int  `json:"diffusion_rows_0_102_511"`
	Filter    string   `json:"filter"`
	Diffused  string   `json:"diffused"`
	Pad       string   `json:"pad"`
	Output    string   `json:"output"`
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	b, err := os.ReadFile("../../testdata/vectors/spec.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func keyOf(t *testing.T, s string) secret.Key {
	t.Helper()
	return secret.New([secret.Size]byte(unhex(t, s)))
}

func keyText(k secret.Key) (text string) {
	k.Use(func(b *[secret.Size]byte) { text = hex.EncodeToString(b[:]) })
	return text
}

func preset(t *testing.T, name string) *Profile {
	t.Helper()
	p, err := LoadProfile(name, "")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// vectorEncoder is an encoder of the default preset with the digest that the
// known answers were made with.
func vectorEncoder(t *testing.T, v vectors) *Encoder {
	t.Helper()
	p := *preset(t, DefaultPreset)
	p.digest = [sha256.Size]byte(unhex(t, v.Encoding.ProfileDigest))
	e, err := NewEncoder(&p, keyOf(t, v.Encoding.KEnc), v.Encoding.Project, v.Encoding.EncodingEpoch)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func date(t *testing.T, text string) demographics.Date {
	t.Helper()
	d, code := demographics.ParseDate(text, demographics.Date{Year: 2100, Month: 1, Day: 1})
	if code != "" {
		t.Fatal(code)
	}
	return d
}

func TestKnownAnswersOfKeysAndFilters(t *testing.T) {
	v := readVectors(t)
	e := vectorEncoder(t, v)
	if got := keyText(e.project); got != v.Encoding.KP {
		t.Errorf("K_p: got %s, want %s", got, v.Encoding.KP)
	}
	rk, err := e.keysFor(date(t, v.Encoding.DateOfBirth), secret.NewHasher())
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range e.profile.Encoding.Fields[:2] {
		want := v.Encoding.Fields[f.Name]
		k := &rk.fields[i]
		for n, row := range map[int][]int{0: want.Rows[0], 102: want.Rows[1], 511: want.Rows[2]} {
			for j, p := range row {
				if !slices.Contains(k.column(uint16(p)), uint16(n)) {
					t.Fatalf("%s: filter bit %d, the %d. of diffusion row %d, is not in it", f.Name, p, j, n)
				}
			}
		}
		if got := hex.EncodeToString(k.pad); got != want.Pad {
			t.Errorf("%s: pad differs", f.Name)
		}
		w := e.NewWorker()
		out := make([]byte, f.Bits/8)
		bare := *k
		bare.columns, bare.inputs, bare.pad = nil, 0, nil
		w.fill(&bare, &f, &Value{Parts: []string{want.Value}}, out)
		if got := hex.EncodeToString(out); got != want.Filter {
			t.Errorf("%s: filter: got %s, want %s", f.Name, got, want.Filter)
		}
		bare.columns, bare.inputs = k.columns, k.inputs
		w.fill(&bare, &f, &Value{Parts: []string{want.Value}}, out)
		if got := hex.EncodeToString(out); got != want.Diffused {
			t.Errorf("%s: diffused: got %s, want %s", f.Name, got, want.Diffused)
		}
		w.fill(k, &f, &Value{Parts: []string{want.Value}}, out)
		if got := hex.EncodeToString(out); got != want.Output {
			t.Errorf("%s: output: got %s, want %s", f.Name, got, want.Output)
		}
	}
}

func TestKnownAnswersOfARecord(t *testing.T) {
	v := readVectors(t)
	e := vectorEncoder(t, v)
	var record Record
	raw := map[string]string{FieldGivenName: "ANNE", FieldFamilyName: "Smith", FieldDateOfBirth: "22/10/1973", FieldSex: "2", FieldPostcode: "sw1a2aa"}
	e.profile.NewNormaliser(keyCheckToday).Normalise(func(in string) string { return raw[in] }, &record, func(field string, code reason.Code) {
		t.Errorf("%s: %s", field, code)
	})
	var out Encoded
	if err := e.NewWorker().Encode(&record, &out); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{FieldGivenName, FieldFamilyName} {
		if got := hex.EncodeToString(out.Filters[i]); got != v.Encoding.Fields[name].Output {
			t.Errorf("%s: got %s", name, got)
		}
	}
	if got := out.Blocks[0].Value; got != v.Encoding.BlockDOBInt64 {
		t.Errorf("blk_dob: got %d, want %d", got, v.Encoding.BlockDOBInt64)
	}
	for i, want := range []string{v.Encoding.PostcodeTag, v.Encoding.SexTagF} {
		if got := int64(binary.BigEndian.Uint64(unhex(t, want))); out.Tags[i].Value != got {
			t.Errorf("tag %d: got %d, want %d", i, out.Tags[i].Value, got)
		}
	}
}

func TestKnownAnswersOfTokens(t *testing.T) {
	v := readVectors(t)
	tokens := func(kind string, value Value) (all []string) {
		(&Worker{}).tokens(&Field{Tokens: kind}, &value, func(token []byte) { all = append(all, string(token)) })
		return all
	}
	if got := tokens(TokensPostcode, Value{Parts: []string{"SW1A 2AA"}}); !slices.Equal(got, v.PostcodeTokens) {
		t.Errorf("postcode: got %q, want %q", got, v.PostcodeTokens)
	}
	if got := tokens(TokensDate, Value{Date: demographics.Date{Year: 1973, Month: 10, Day: 2}}); !slices.Equal(got, []string{"d02", "m10", "y1973", "e197", "l3"}) {
		t.Errorf("date: got %q", got)
	}
	for _, f := range v.Encoding.Fields {
		got := tokens(TokensBigrams, Value{Parts: []string{f.Value}})
		sort.Strings(got)
		if !slices.Equal(got, f.Tokens) {
			t.Errorf("bigrams: got %q, want %q", got, f.Tokens)
		}
	}
	if got := tokens(TokensPositional, Value{Parts: []string{"2600"}}); !slices.Equal(got, []string{"w2600", "c02", "c16", "c20", "c30"}) {
		t.Errorf("positional: got %q", got)
	}
}

// slowFilter is the specification read aloud: section (b) and (c), one bit at
// a time, with HMAC and CMAC written out.
func slowFilter(t *testing.T, record secret.Key, f Field, e Encoding, tokens []string) []byte {
	mac := func(parts ...[]byte) []byte {
		var out []byte
		record.Use(func(b *[secret.Size]byte) {
			h := hmac.New(sha256.New, b[:])
			h.Write(keys.LP(parts...))
			out = h.Sum(nil)
		})
		return out
	}
	block, err := aes.NewCipher(mac([]byte("field"), []byte(f.Name)))
	if err != nil {
		t.Fatal(err)
	}
	cmac := func(message [16]byte) (y [16]byte) {
		var l [16]byte
		block.Encrypt(l[:], l[:])
		top := l[0] & 0x80
		for i := range 15 {
			l[i] = l[i]<<1 | l[i+1]>>7
		}
		l[15] <<= 1
		if top != 0 {
			l[15] ^= 0x87
		}
		for i := range message {
			message[i] ^= l[i]
		}
		block.Encrypt(y[:], message[:])
		return y
	}
	filter := make([]byte, f.Bits/8)
	for _, token := range tokens {
		var positions []int
		for i := 0; len(positions) < f.Hashes; i++ {
			var message [16]byte
			message[0] = byte(i)
			if len(token) <= 14 {
				message[1] = byte(len(token))
				copy(message[2:], token)
			} else {
				message[1] = 0xff
				sum := sha256.Sum256([]byte(token))
				copy(message[2:], sum[:14])
			}
			y := cmac(message)
			for j := 0; j < 16; j += 2 {
				positions = append(positions, int(binary.LittleEndian.Uint16(y[j:]))&(f.Bits-1))
			}
		}
		for _, p := range positions[:f.Hashes] {
			filter[p>>3] |= 1 << (p & 7)
		}
	}
	if e.Diffusion > 0 {
		filter = slowDiffusion(t, mac([]byte("diffusion"), []byte(f.Name)), filter, e.Diffusion)
	}
	if e.Pad {
		for i, b := range slowStream(t, mac([]byte("pad"), []byte(f.Name)), len(filter)) {
			filter[i] ^= b
		}
	}
	return filter
}

// slowStream encrypts a counter block by block.
func slowStream(t *testing.T, key []byte, n int) (out []byte) {
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	for counter := uint64(0); len(out) < n; counter++ {
		var b [16]byte
		binary.BigEndian.PutUint64(b[8:], counter)
		block.Encrypt(b[:], b[:])
		out = append(out, b[:]...)
	}
	return out[:n]
}

func slowDiffusion(t *testing.T, key, in []byte, inputs int) []byte {
	stream := slowStream(t, key, 1<<20)
	uniform := func(n int) int {
		for {
			v := int(binary.LittleEndian.Uint16(stream))
			stream = stream[2:]
			if v < 65536-65536%n {
				return v % n
			}
		}
	}
	var pool []int
	refill := func() {
		for i := range len(in) * 8 {
			pool = append(pool, i)
		}
	}
	refill()
	out := make([]byte, len(in))
	for j := range len(in) * 8 {
		var row []int
		for len(row) < inputs {
			if len(pool) == 0 {
				refill()
			}
			r := uniform(len(pool))
			p := pool[r]
			if slices.Contains(row, p) {
				continue
			}
			pool[r] = pool[len(pool)-1]
			pool = pool[:len(pool)-1]
			row = append(row, p)
		}
		for _, p := range row {
			out[j>>3] ^= in[p>>3] >> (p & 7) & 1 << (j & 7)
		}
	}
	return out
}

func slowBigrams(parts []string) (tokens []string) {
	for _, part := range parts {
		padded := "_" + part + "_"
		for i := range len(padded) - 1 {
			tokens = append(tokens, padded[i:i+2])
		}
	}
	return tokens
}

func TestEncoderAgreesWithSlowTwin(t *testing.T) {
	p := *preset(t, DefaultPreset)
	rapid.Check(t, func(t2 *rapid.T) {
		p := p
		p.Encoding.Diffusion = rapid.SampledFrom([]int{0, 1, 3, 6, 7}).Draw(t2, "t")
		p.Encoding.Pad = rapid.Bool().Draw(t2, "pad")
		p.Encoding.Fields = slices.Clone(p.Encoding.Fields)
		p.Encoding.Fields[0].Bits = rapid.SampledFrom([]int{64, 256, 512, 1024}).Draw(t2, "bits")
		p.Encoding.Fields[0].Hashes = rapid.IntRange(1, 40).Draw(t2, "hashes")
		e, err := NewEncoder(&p, secret.New([secret.Size]byte{1, 2, 3}), "p", 1)
		if err != nil {
			t2.Fatal(err)
		}
		d := demographics.Date{Year: rapid.IntRange(1880, 2150).Draw(t2, "year"), Month: rapid.IntRange(1, 12).Draw(t2, "month"), Day: rapid.IntRange(1, 28).Draw(t2, "day")}
		parts := rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,20}`), 1, 4).Draw(t2, "parts")
		record := Record{DateOfBirth: d, Values: make([]Value, 4)}
		record.Values[0] = Value{Parts: parts}
		var out Encoded
		if err := e.NewWorker().Encode(&record, &out); err != nil {
			t2.Fatal(err)
		}
		key := e.project.Derive(keys.LP([]byte("record-key"), []byte("dob"), []byte(d.String())))
		want := slowFilter(t, key, p.Encoding.Fields[0], p.Encoding, slowBigrams(parts))
		if !slices.Equal(out.Filters[0], want) {
			t2.Fatal("the filter differs from the slow twin's")
		}
		if out.Filters[1] != nil || out.Tags[0].Present || out.Tags[1].Present {
			t2.Fatal("a missing field was encoded")
		}
	})
}

func TestRecordWithoutDateHasNoEncoding(t *testing.T) {
	for _, name := range PresetNames() {
		e, err := NewEncoder(preset(t, name), secret.New([secret.Size]byte{9}), "p", 1)
		if err != nil {
			t.Fatal(err)
		}
		var record Record
		raw := map[string]string{FieldGivenName: "Anne", FieldFamilyName: "Smith", FieldSex: "F", FieldPostcode: "SW1A 2AA"}
		e.profile.NewNormaliser(keyCheckToday).Normalise(func(in string) string { return raw[in] }, &record, func(string, reason.Code) {})
		var out Encoded
		if err := e.NewWorker().Encode(&record, &out); err != nil {
			t.Fatal(err)
		}
		encoded := out.Filters[0] != nil
		if keyed := e.profile.Encoding.RecordKey == KeyedByDateOfBirth; encoded == keyed {
			t.Errorf("%s: names encoded without a date of birth: %v", name, encoded)
		}
	}
}

func TestKeyCheckValueTellsKeysProjectsEpochsAndProfilesApart(t *testing.T) {
	value := func(profile string, key byte, project string, epoch uint32) string {
		e, err := NewEncoder(preset(t, profile), secret.New([secret.Size]byte{key}), project, epoch)
		if err != nil {
			t.Fatal(err)
		}
		kcv, err := e.KeyCheckValue()
		if err != nil {
			t.Fatal(err)
		}
		return kcv
	}
	base := value("nhs-field-dob-1", 1, "p", 1)
	if len(base) != 2*keys.CheckValueSize || base != value("nhs-field-dob-1", 1, "p", 1) {
		t.Fatal("a key check value is 32 hexadecimal digits and the same each time")
	}
	for _, other := range []string{value("nhs-field-1", 1, "p", 1), value("nhs-field-dob-1", 2, "p", 1), value("nhs-field-dob-1", 1, "q", 1), value("nhs-field-dob-1", 1, "p", 2)} {
		if other == base {
			t.Error("something that changes the encodings left the key check value as it was")
		}
	}
}

func TestDigestIgnoresFormAndComparison(t *testing.T) {
	good, _ := PresetDocument(DefaultPreset)
	var tree map[string]any
	if err := json.Unmarshal(good, &tree); err != nil {
		t.Fatal(err)
	}
	tree["title"] = "another"
	compact, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParseProfile(compact)
	if err != nil {
		t.Fatal(err)
	}
	if p.Digest() != preset(t, DefaultPreset).Digest() {
		t.Error("the digest depends on more than the encoding part's canonical form")
	}
}

// TestEncodingAllocatesNothing: of a date that has been seen, whatever the
// profile.
func TestEncodingAllocatesNothing(t *testing.T) {
	for _, name := range PresetNames() {
		e, err := NewEncoder(preset(t, name), secret.New([secret.Size]byte{1}), "p", 1)
		if err != nil {
			t.Fatal(err)
		}
		var record Record
		raw := map[string]string{FieldGivenName: "Anne Marie", FieldFamilyName: "O'Brien-Featherstonehaugh", FieldDateOfBirth: "1973-10-22", FieldSex: "2", FieldPostcode: "SW1A 2AA"}
		e.profile.NewNormaliser(keyCheckToday).Normalise(func(in string) string { return raw[in] }, &record, func(string, reason.Code) {})
		w, out := e.NewWorker(), Encoded{}
		encode := func() {
			if err := w.Encode(&record, &out); err != nil {
				t.Fatal(err)
			}
		}
		encode()
		if n := testing.AllocsPerRun(100, encode); n != 0 {
			t.Errorf("%s: %g allocations a record", name, n)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	p, err := LoadProfile(DefaultPreset, "")
	if err != nil {
		b.Fatal(err)
	}
	e, err := NewEncoder(p, secret.New([secret.Size]byte{1}), "p", 1)
	if err != nil {
		b.Fatal(err)
	}
	record := Record{DateOfBirth: demographics.Date{Year: 1973, Month: 10, Day: 22},
		Values: []Value{{Parts: []string{"anne"}}, {Parts: []string{"smith"}}, {Parts: []string{"SW1A 2AA"}}, {Parts: []string{"F"}}}}
	w := e.NewWorker()
	var out Encoded
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Encode(&record, &out); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDeriveDate makes the keys, tables and pads of one date.
func BenchmarkDeriveDate(b *testing.B) {
	p, err := LoadProfile(DefaultPreset, "")
	if err != nil {
		b.Fatal(err)
	}
	e, err := NewEncoder(p, secret.New([secret.Size]byte{1}), "p", 1)
	if err != nil {
		b.Fatal(err)
	}
	h := secret.NewHasher()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.deriveKeys(e.project, h); err != nil {
			b.Fatal(err)
		}
	}
}

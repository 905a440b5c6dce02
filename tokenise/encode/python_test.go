package encode

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"tarn/bench/peer"
	"tarn/keys/secret"
	"tarn/linkage/cohort"
	"tarn/tokenise/demographics"
)

// startTwin starts testdata/python/encoding.py, which is written from
// docs/encoding.md. Where no interpreter is named that of make venv will do.
func startTwin(t testing.TB) *peer.Peer {
	t.Helper()
	python := os.Getenv("TARN_PYTHON")
	if python == "" {
		python, _ = filepath.Abs("../../build/venv/bin/python")
		if _, err := os.Stat(python); err != nil {
			t.Skip("TARN_PYTHON is not set and there is no build/venv: nothing is compared with the implementation in Python (make venv)")
		}
	}
	return peer.Start(t, python, "encoding.py")
}

type twinRequest struct {
	Profile   json.RawMessage `json:"profile"`
	Key       string          `json:"key"`
	Project   string          `json:"project"`
	Epoch     uint32          `json:"encoding_epoch"`
	Records   []twinRecord    `json:"records"`
	Published []twinRecord    `json:"published"`
}

type twinRecord struct {
	DateOfBirth any   `json:"date_of_birth"`
	Values      []any `json:"values"`
}

// twinAnswer holds columns as their JSON text.
type twinAnswer struct {
	Digest string                       `json:"digest"`
	Rows   []map[string]json.RawMessage `json:"rows"`
	KCV    string                       `json:"encoding_kcv"`
}

func twinRecordOf(r Record) (out twinRecord) {
	if !r.DateOfBirth.IsZero() {
		out.DateOfBirth = r.DateOfBirth.String()
	}
	for _, v := range r.Values {
		switch {
		case v.Missing():
			out.Values = append(out.Values, nil)
		case !v.Date.IsZero():
			out.Values = append(out.Values, v.Date.String())
		default:
			out.Values = append(out.Values, v.Parts)
		}
	}
	return out
}

// columnsOf gives an encoded record in the form of the twin's answer.
func columnsOf(p *Profile, e *Encoded) map[string]json.RawMessage {
	columns, layout := map[string]json.RawMessage{}, p.Layout()
	tag := func(name string, t cohort.Tag) {
		columns[name] = json.RawMessage("null")
		if t.Present {
			columns[name] = strconv.AppendInt(nil, t.Value, 10)
		}
	}
	for i, name := range layout.Blocks {
		tag(name, e.Blocks[i])
	}
	for i, name := range layout.Tags {
		tag(name, e.Tags[i])
	}
	for i, f := range layout.Filters {
		columns[f.Name] = json.RawMessage("null")
		if e.Filters[i] != nil {
			columns[f.Name] = json.RawMessage(`"` + hex.EncodeToString(e.Filters[i]) + `"`)
		}
	}
	return columns
}

// here encodes as the product does, with one worker for all records.
func here(t peer.Fataler, p *Profile, r twinRequest, records []Record) (a twinAnswer) {
	key, err := hex.DecodeString(r.Key)
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEncoder(p, secret.New([secret.Size]byte(key)), r.Project, r.Epoch)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Published) > 0 {
		if a.KCV, err = e.KeyCheckValue(); err != nil {
			t.Fatal(err)
		}
	}
	a.Digest = p.DigestText()
	w, out := e.NewWorker(), Encoded{}
	for i := range records {
		if err := w.Encode(&records[i], &out); err != nil {
			t.Fatal(err)
		}
		a.Rows = append(a.Rows, columnsOf(p, &out))
	}
	return a
}

// differences lists what two answers disagree on.
func differences(a, b twinAnswer) (found []string) {
	if a.Digest != b.Digest {
		found = append(found, "digest")
	}
	if a.KCV != b.KCV {
		found = append(found, "key check value")
	}
	if len(a.Rows) != len(b.Rows) {
		return append(found, "number of rows")
	}
	for i := range a.Rows {
		names := slices.Sorted(maps.Keys(a.Rows[i]))
		if !slices.Equal(names, slices.Sorted(maps.Keys(b.Rows[i]))) {
			found = append(found, fmt.Sprintf("columns of row %d", i))
		}
		for _, name := range names {
			if string(a.Rows[i][name]) != string(b.Rows[i][name]) {
				found = append(found, fmt.Sprintf("%s of row %d", name, i))
			}
		}
	}
	return found
}

// drawRequest draws keys and records for a profile. The published records, which
// are normalised here, as the twin takes them, are in a third of the requests:
// the twin is slow.
func drawRequest(t *rapid.T, p *Profile, document []byte, most int) (twinRequest, []Record) {
	r := twinRequest{
		Profile: document, Key: hex.EncodeToString(rapid.SliceOfN(rapid.Byte(), secret.Size, secret.Size).Draw(t, "key")),
		Project: rapid.StringMatching(`[a-z0-9][a-z0-9-]{0,31}`).Draw(t, "project"), Epoch: rapid.Uint32Min(1).Draw(t, "epoch"),
		Records: []twinRecord{}, Published: []twinRecord{},
	}
	var dates []demographics.Date
	for range 3 {
		dates = append(dates, drawDate(t))
	}
	var records []Record
	for range rapid.IntRange(1, most).Draw(t, "records") {
		record := drawRecord(t, p, dates)
		records, r.Records = append(records, record), append(r.Records, twinRecordOf(record))
	}
	if rapid.IntRange(0, 2).Draw(t, "key check") > 0 {
		return r, records
	}
	published, err := p.publishedRecords()
	if err != nil {
		t.Fatal(err)
	}
	for i := range published {
		r.Published = append(r.Published, twinRecordOf(published[i]))
	}
	return r, records
}

func checkTwin(t *rapid.T, python *peer.Peer, document []byte, most int) int {
	p, err := ParseProfile(document)
	if err != nil {
		t.Fatalf("a profile that is meant to be valid: %v\n%s", err, document)
	}
	request, records := drawRequest(t, p, document, most)
	var answer twinAnswer
	python.Ask(t, request, &answer)
	if len(request.Published) == 0 {
		answer.KCV = ""
	}
	if found := differences(here(t, p, request, records), answer); len(found) > 0 {
		t.Fatalf("the implementations disagree on %q\n%s", found, document)
	}
	return len(records)
}

func TestPythonAgreesOnPresets(t *testing.T) {
	python := startTwin(t)
	for _, name := range PresetNames() {
		document, _ := PresetDocument(name)
		records := 0
		rapid.Check(t, func(t *rapid.T) { records += checkTwin(t, python, document, 6) })
		t.Logf("%s: %d records", name, records)
	}
}

func TestPythonAgreesOnProfilesOfYourOwn(t *testing.T) {
	python := startTwin(t)
	profiles, records := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		records += checkTwin(t, python, drawProfile(t), 8)
		profiles++
	})
	t.Logf("%d profiles, %d records", profiles, records)
}

// TestDifferencesAreFound: a control. Whatever is changed in an answer of the
// twin, and in what the twin is asked, is found.
func TestDifferencesAreFound(t *testing.T) {
	python := startTwin(t)
	for _, name := range PresetNames() {
		document, _ := PresetDocument(name)
		p := preset(t, name)
		record := Record{DateOfBirth: keyCheckToday}
		for _, f := range p.Encoding.Fields {
			v := Value{Parts: []string{"SW1A 2AA"}}
			if f.Normalise == NormaliseDate {
				v = Value{Date: keyCheckToday}
			} else if f.Normalise == NormaliseSex {
				v.Parts = []string{"F"}
			}
			record.Values = append(record.Values, v)
		}
		request := twinRequest{Profile: document, Key: fmt.Sprintf("%064x", 7), Project: "p", Epoch: 1, Records: []twinRecord{twinRecordOf(record)}, Published: []twinRecord{}}
		published, err := p.publishedRecords()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range published {
			request.Published = append(request.Published, twinRecordOf(r))
		}
		ask := func(r twinRequest) (a twinAnswer) {
			python.Ask(t, r, &a)
			return a
		}
		want := here(t, p, request, []Record{record})
		if found := differences(want, ask(request)); found != nil {
			t.Fatalf("%s: %q differ where nothing was changed", name, found)
		}
		expect := func(a twinAnswer, wanted int, changed string) {
			if found := differences(want, a); len(found) != wanted {
				t.Errorf("%s: %s was changed: found %q, want %d differences", name, changed, found, wanted)
			}
		}
		for column, text := range want.Rows[0] {
			a := ask(request)
			a.Rows[0][column] = append([]byte{text[0] ^ 1}, text[1:]...)
			expect(a, 1, column)
		}
		a := ask(request)
		a.Digest = a.Digest[1:]
		expect(a, 1, "the digest")
		other := request
		other.Epoch++
		expect(ask(other), len(want.Rows[0])+1, "the epoch") // all columns and the key check value
		other = request
		other.Published = request.Published[1:]
		expect(ask(other), 1, "the published records")
	}
}

package online_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"tarn/keys"
	"tarn/keys/nhsnumber"
	"tarn/keys/secret"
	"tarn/tokenise/demographics"
	"tarn/tokenise/encode"
	"tarn/tokenise/online"
	"tarn/tokenise/online/wire"
)

var today = demographics.DateOf(time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC))

func engine(t testing.TB) *online.Engine {
	t.Helper()
	project, err := keys.ParseProject([]byte(`{"schema": "tarn.project/1", "name": "p", "domain": "d", "scheme": "keyed-hash", "profile": "nhs-field-dob-1", "purpose": "a test",
 "legal_basis": {}, "controllers": ["nobody"], "parties": [{"source_dataset": "north"}], "opt_outs": {"ndoo": true, "type1": false, "local": false}, "groups": [],
 "keys": {"domain_no": 1, "token_epoch": 1, "token_public_key": null, "token_kcv": null, "encoding_epoch": 1, "encoding_kcv": null}, "reidentify": {"mode": "direct"}, "expires": "2099-12-31"}`))
	if err != nil {
		t.Fatal(err)
	}
	profile, err := encode.LoadProfile(project.Profile, "")
	if err != nil {
		t.Fatal(err)
	}
	key := func(n byte) secret.Key { return secret.New([secret.Size]byte{n}) }
	e, err := online.NewEngine(online.Options{
		Project: project, Profile: profile, CachedDates: 64,
		Keys: &keys.KeyFile{Test: true, Project: "p", Domain: "d", Scheme: "keyed-hash", TokenKey: key(1), EncodingKey: key(2), ReleaseKey: key(3)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// rows is a document of so many rows.
func rows(t testing.TB, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString(`{"return":["token"],"rows":[`)
	for i := range n {
		first := [9]byte([]byte(fmt.Sprint(990_000_000 + i)))
		digit, ok := nhsnumber.CheckDigit(first)
		if !ok {
			digit = '0' // refused, and answered as well
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"unique_id":"row-%d","nhs_number":"%s%c","given_name":"Quetzalina","family_name":"Xylander","date_of_birth":"1973-10-%02d","sex":"2","postcode":"SW1A 2AA"}`, i, first, digit, 1+i%4)
	}
	b.WriteString("]}")
	return b.Bytes()
}

// path is what a row goes through: it is read, answered and written.
type path struct {
	decoder *wire.Decoder
	worker  *online.Worker
	writer  wire.Writer
	answer  online.Answer
	out     []byte
	asked   online.Asked
	in      wire.Format
}

func newPath(e *online.Engine, in, out wire.Format, asked online.Asked) *path {
	p := &path{decoder: wire.NewDecoder(), worker: e.NewWorker(), writer: wire.NewWriter(out, e, asked), asked: asked, in: in}
	p.worker.Judge(today)
	return p
}

func (p *path) run(t testing.TB, body []byte) {
	request, err := p.decoder.Decode(p.in, body, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var counts wire.Counts
	p.out = p.writer.Begin(p.out[:0])
	for i := range request.Rows {
		if err := p.worker.Answer(&request.Rows[i], p.asked, nil, &p.answer); err != nil {
			t.Fatal(err)
		}
		counts.Add(&p.answer)
		p.out = p.writer.Row(p.out, request.Rows[i].ID, &p.answer)
	}
	if p.out, err = p.writer.End(p.out, counts); err != nil {
		t.Fatal(err)
	}
	p.decoder.Forget()
	p.worker.Clear()
}

// TestRowsAllocateNothing: once its memory has grown, a request of a thousand rows allocates
// as one of none does: nothing at all from JSON to JSON, with tokens and with encodings.
func TestRowsAllocateNothing(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	e := engine(t)
	for name, asked := range map[string]online.Asked{"tokens": {Tokens: true}, "encodings": {Tokens: true, Encodings: true}} {
		p := newPath(e, wire.JSON, wire.JSON, asked)
		body := bytes.Replace(rows(t, 1000), []byte(`"return":["token"],`), nil, 1)
		p.run(t, body)
		if !bytes.Contains(p.out, []byte(`"rows":1000`)) || bytes.Count(p.out, []byte("tarn1")) < 900 {
			t.Fatalf("%s: %.300s", name, p.out)
		}
		if allocations := testing.AllocsPerRun(20, func() { p.run(t, body) }); allocations > 0 {
			t.Errorf("%s: %v allocations in a thousand rows", name, allocations)
		}
	}
}

// BenchmarkAnswer reads, answers and writes a thousand rows.
func BenchmarkAnswer(b *testing.B) {
	e := engine(b)
	body := bytes.Replace(rows(b, 1000), []byte(`"return":["token"],`), nil, 1)
	for name, asked := range map[string]online.Asked{"tokens": {Tokens: true}, "encodings": {Tokens: true, Encodings: true}} {
		b.Run(name, func(b *testing.B) {
			p := newPath(e, wire.JSON, wire.JSON, asked)
			p.run(b, body)
			b.ReportAllocs()
			for b.Loop() {
				p.run(b, body)
			}
			b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

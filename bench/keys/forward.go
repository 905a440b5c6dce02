package keys

import (
	"context"
	"crypto/rand"
	"time"

	"tarn/bench/measure"
	"tarn/keys/oprf"
	"tarn/keys/parcel"
	"tarn/keys/secret"
)

// rowBytes is how long the rows are that go to another party, their tokens left out.
const rowBytes = 100

// forwarding is one batch of rows on its way to another party, of which each part can be
// repeated.
type forwarding struct {
	recipient *parcel.Keys
	encrypter *oprf.Encrypter
	y         oprf.Point
	quotient  secret.Key
	from, to  oprf.Point
	rows      []oprf.Row
	request   []byte
	sealed    []byte
}

var forwardHeader = oprf.Header{Operation: oprf.ConvertForParty, DomainNo: 1, TokenEpoch: 1, ToDomainNo: 2, ToTokenEpoch: 1, RequestID: [16]byte{1}}

func newForwarding(size int) (f *forwarding, err error) {
	f = new(forwarding)
	if f.recipient, err = parcel.NewKeys("bench", "", "", nil); err != nil {
		return nil, err
	}
	var keys [2]secret.Key
	for i, public := range []*oprf.Point{&f.from, &f.to} {
		if keys[i], err = oprf.NewKey(nil); err != nil {
			return nil, err
		}
		if *public, err = oprf.PublicKey(keys[i]); err != nil {
			return nil, err
		}
	}
	if f.quotient, err = oprf.Quotient(keys[1], keys[0]); err != nil {
		return nil, err
	}
	if f.y, err = f.recipient.Public.Point(); err != nil {
		return nil, err
	}
	if f.encrypter, err = oprf.NewEncrypter(f.y, 1); err != nil {
		return nil, err
	}
	for range size {
		f.rows = append(f.rows, oprf.Row{Token: f.from, Payload: make([]byte, rowBytes)})
	}
	if _, err = f.send(); err == nil {
		_, err = f.convert()
	}
	return f, err
}

// send is the sender's part.
func (f *forwarding) send() (took time.Duration, err error) {
	begun := time.Now()
	payloads := make([][]byte, len(f.rows))
	for i := range f.rows {
		payloads[i] = f.rows[i].Payload[:rowBytes]
	}
	seal, sealed, err := parcel.SealRows(&f.recipient.Public, forwardHeader.RequestID, [32]byte{}, payloads, rand.Reader)
	if err != nil {
		return 0, err
	}
	rows := make([]oprf.Row, len(f.rows))
	for i := range rows {
		rows[i] = oprf.Row{Token: f.rows[i].Token, Payload: sealed[i]}
	}
	f.request, err = f.encrypter.Rows(forwardHeader, seal, rows, nil)
	return time.Since(begun), err
}

// convert is the key holder's part.
func (f *forwarding) convert() (took time.Duration, err error) {
	begun := time.Now()
	p, err := oprf.ParseParcel(f.request, 1)
	if err != nil {
		return 0, err
	}
	answer, err := p.Answer(f.quotient, f.from, f.to, f.y, nil, 1)
	if err != nil {
		return 0, err
	}
	f.sealed, err = parcel.SealAnswer(f.recipient.Public.SealingKey, answer)
	return time.Since(begun), err
}

// receive is the recipient's part.
func (f *forwarding) receive() (took time.Duration, err error) {
	begun := time.Now()
	_, err = f.recipient.Open(f.sealed, [32]byte{}, f.from, f.to, 1)
	return time.Since(begun), err
}

// forwards measures conversion for another party beside the evaluations of the same run:
// what it costs more than making a token.
func (s *suite) forwards() (results []*measure.Result, err error) {
	size, repetitions := 512, 3
	if s.Full {
		size, repetitions = 4096, 5
	}
	f, err := newForwarding(size)
	if err != nil {
		return nil, err
	}
	b, err := newBatches(size)
	if err != nil {
		return nil, err
	}
	rate := func(part func() (time.Duration, error)) func(context.Context) (float64, error) {
		return func(context.Context) (float64, error) {
			took, err := part()
			return float64(size) / took.Seconds(), err
		}
	}
	for _, part := range []struct {
		name, notes string
		measured    func() (time.Duration, error)
	}{
		{"forward-send", "one core: encrypt the token and seal the rest of each row", f.send},
		{"forward-convert", "one core: another ciphertext, multiplied, in another order, proven and sealed", f.convert},
		{"forward-receive", "one core: verify, decrypt and open each row", f.receive},
	} {
		c := &measure.Case{
			Suite: Suite, Name: part.name, SubjectVersion: s.Software, Unit: "rows/s", HigherIsBetter: true, Dataset: measure.Dataset{Name: "rows of 100 bytes, in one batch", Rows: int64(size)},
			Subject: rate(part.measured), Peer: rate(b.evaluate), PeerParty: measure.Party{Name: "evaluate, of the same run", Version: s.Software}, Notes: part.notes,
		}
		r, err := c.Run(s.ctx, repetitions, s.Software, s.Clock)
		if err != nil {
			return results, err
		}
		results = append(results, r)
	}
	return results, nil
}

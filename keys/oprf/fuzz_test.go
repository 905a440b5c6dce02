package oprf

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzRequest: bytes are a request that is written again as it was read, or refused with
// one of two errors; an answer to it is of its size, and never ends in a panic.
func FuzzRequest(f *testing.F) {
	key, public := newKey(f)
	b := blinder(f, Generator(), public)
	for _, h := range []Header{evaluation, {Operation: Rotate, DomainNo: 1, TokenEpoch: 1, ToDomainNo: 1, ToTokenEpoch: 2}} {
		batch, err := b.Tokens(h, []Point{Generator(), public}, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(batch.Request)
		f.Add(batch.Request[:headerSize])
		f.Add(append(bytes.Clone(batch.Request), 0))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseRequest(body, 1)
		if err != nil {
			if !errors.Is(err, ErrWire) && !errors.Is(err, ErrElement) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		again := r.append(nil, requestMagic, r.N)
		for i := range r.inputs {
			again = r.inputs[i].AppendTo(again)
		}
		if !bytes.Equal(again, body) {
			t.Fatal("what was read is written otherwise")
		}
		if r.N > 64 || r.Operation == EvaluateRFC9497 {
			return
		}
		response, err := r.Answer(key, Generator(), public, 1)
		if err != nil || len(response) != ResponseSize(r.N) {
			t.Fatalf("%d bytes, %v", len(response), err)
		}
	})
}

// FuzzResponse: whatever comes back, tokens come of the true answer only.
func FuzzResponse(f *testing.F) {
	key, public := newKey(f)
	b := blinder(f, Generator(), public)
	batch, err := b.Numbers(evaluation, numbers(2), nil)
	if err != nil {
		f.Fatal(err)
	}
	good := answer(f, batch.Request, key, Generator(), public)
	f.Add(good)
	f.Add(good[:len(good)-ProofSize])
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, response []byte) {
		// Each try needs a batch of its own: it is finished once.
		again, err := b.Numbers(evaluation, numbers(2), nil)
		if err != nil {
			t.Fatal(err)
		}
		if tokens, err := again.Finish(response); err == nil || tokens != nil {
			t.Fatal("an answer to another batch was taken")
		}
	})
}

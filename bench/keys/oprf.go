package keys

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	circl "github.com/cloudflare/circl/oprf"

	"tarn/bench/measure"
	"tarn/keys"
	"tarn/keys/nhsnumber"
	"tarn/keys/oprf"
	"tarn/keys/secret"
)

// What is asked for, on one core.
const (
	targetPeer  = 3.0 // times the peer's rate of evaluation
	targetKeyed = .3  // microseconds for a keyed-hash token
	peerVersion = "circl 1.6.5"
)

// oblivious measures the scheme by itself, on one core, beside circl's VOPRF of
// RFC 9497, which does for hashes what ours does for elements.
func (s *suite) oblivious() ([]*measure.Result, error) {
	size, repetitions := 1024, 3
	if s.Full {
		size, repetitions = oprf.MaxBatch, 5
	}
	b, err := newBatches(size)
	if err != nil {
		return nil, err
	}
	perSecond := func(n int, f func() (time.Duration, error)) (float64, error) {
		took, err := f()
		return float64(n) / took.Seconds(), err
	}
	dataset := measure.Dataset{Name: "NHS numbers that nobody has, in one batch", Rows: int64(size)}
	cases := []*measure.Case{{
		Suite: Suite, Name: "evaluate", SubjectVersion: s.Software, Unit: "elements/s", HigherIsBetter: true, Dataset: dataset,
		Subject: func(context.Context) (float64, error) { return perSecond(size, b.evaluate) },
		Peer:    func(context.Context) (float64, error) { return perSecond(b.peerSize, b.peerEvaluate) }, PeerParty: measure.Party{Name: "circl's VOPRF, ristretto255-SHA512", Version: peerVersion},
		Notes: "one core: multiply each element and prove the batch, from bytes to bytes; asked for are 10,000 elements/s; the peer's proof weighs each element by itself and can be forged in large batches",
	}, {
		Suite: Suite, Name: "blind-and-finish", SubjectVersion: s.Software, Unit: "numbers/s", HigherIsBetter: true, Dataset: dataset,
		Subject: func(context.Context) (float64, error) { return perSecond(size, b.tokenise) },
		Peer:    func(context.Context) (float64, error) { return perSecond(b.peerSize, b.peerTokenise) }, PeerParty: measure.Party{Name: "circl's VOPRF, ristretto255-SHA512", Version: peerVersion},
		Notes: "one core: encode, blind, verify and unblind, without the key holder's part; aimed for are 8,000 numbers/s",
	}, {
		Suite: Suite, Name: "keyed-hash-token", SubjectVersion: s.Software, Unit: "us", Dataset: measure.Dataset{Name: "NHS numbers that nobody has", Rows: keyedTokens},
		Subject: func(context.Context) (float64, error) { return b.keyed() },
		Notes:   "one core: HMAC-SHA-256 of ten digits under a key that is set up",
	}}
	if s.Full {
		peer, keyed := targetPeer, targetKeyed
		cases[0].Target, cases[2].Target = &peer, &keyed
	}
	var results []*measure.Result
	for _, c := range cases {
		r, err := c.Run(s.ctx, repetitions, s.Software, s.Clock)
		if err != nil {
			return results, err
		}
		results = append(results, r)
	}
	return results, nil
}

// keyedTokens is how many keyed-hash tokens are made to measure one.
const keyedTokens = 1_000_000

// batches is one batch of ours and one of the peer's, of which each part can be
// repeated.
type batches struct {
	numbers  []nhsnumber.Number
	key      secret.Key
	public   oprf.Point
	blinder  *oprf.Blinder
	request  []byte
	keyedOf  secret.MAC
	peerSize int
	server   circl.VerifiableServer
	client   circl.VerifiableClient
	inputs   [][]byte
	blinded  *circl.EvaluationRequest
}

var header = oprf.Header{Operation: oprf.Evaluate, DomainNo: 1, TokenEpoch: 1, RequestID: [16]byte{1}}

func newBatches(size int) (b *batches, err error) {
	b = &batches{peerSize: min(size, 1024)} // what it takes of an element does not depend on their number
	for i := 900_000_000; len(b.numbers) < size; i++ {
		first := [9]byte([]byte(fmt.Sprintf("%09d", i)))
		if digit, ok := nhsnumber.CheckDigit(first); ok {
			b.numbers = append(b.numbers, nhsnumber.Number(append(first[:], digit)))
		}
	}
	if b.key, err = oprf.NewKey(nil); err != nil {
		return nil, err
	}
	if b.public, err = oprf.PublicKey(b.key); err != nil {
		return nil, err
	}
	if b.blinder, err = oprf.NewBlinder(oprf.Generator(), b.public, 1); err != nil {
		return nil, err
	}
	batch, err := b.blinder.Numbers(header, b.numbers, nil)
	if err != nil {
		return nil, err
	}
	b.request, b.keyedOf = batch.Request, keys.TokenDeriver(b.key, "bench", 1).MAC()
	private, err := circl.GenerateKey(circl.SuiteRistretto255, rand.Reader)
	if err != nil {
		return nil, err
	}
	b.server, b.client = circl.NewVerifiableServer(circl.SuiteRistretto255, private), circl.NewVerifiableClient(circl.SuiteRistretto255, private.Public())
	for _, n := range b.numbers[:b.peerSize] {
		b.inputs = append(b.inputs, append([]byte(nil), n[:]...))
	}
	_, b.blinded, err = b.client.Blind(b.inputs)
	return b, err
}

func (b *batches) evaluate() (time.Duration, error) {
	begun := time.Now()
	_, err := b.answer(b.request)
	return time.Since(begun), err
}

func (b *batches) answer(body []byte) ([]byte, error) {
	request, err := oprf.ParseRequest(body, 1)
	if err != nil {
		return nil, err
	}
	return request.Answer(b.key, oprf.Generator(), b.public, 1)
}

func (b *batches) peerEvaluate() (time.Duration, error) {
	begun := time.Now()
	_, err := b.server.Evaluate(b.blinded)
	return time.Since(begun), err
}

// tokenise is the tokeniser's part: what the key holder does between is not counted.
func (b *batches) tokenise() (took time.Duration, err error) {
	begun := time.Now()
	batch, err := b.blinder.Numbers(header, b.numbers, nil)
	took = time.Since(begun)
	if err != nil {
		return 0, err
	}
	answer, err := b.answer(batch.Request)
	if err != nil {
		return 0, err
	}
	begun = time.Now()
	_, err = batch.Finish(answer)
	return took + time.Since(begun), err
}

func (b *batches) peerTokenise() (took time.Duration, err error) {
	begun := time.Now()
	data, request, err := b.client.Blind(b.inputs)
	took = time.Since(begun)
	if err != nil {
		return 0, err
	}
	evaluation, err := b.server.Evaluate(request)
	if err != nil {
		return 0, err
	}
	begun = time.Now()
	_, err = b.client.Finalize(data, evaluation)
	return took + time.Since(begun), err
}

func (b *batches) keyed() (float64, error) {
	hasher, message := secret.NewHasher(), make([]byte, 0, 10)
	begun := time.Now()
	for i := range keyedTokens {
		message = append(message[:0], b.numbers[i%len(b.numbers)][:]...)
		hasher.Sum(b.keyedOf, message)
	}
	return time.Since(begun).Seconds() * 1e6 / keyedTokens, nil
}

package oprf

import (
	"errors"
	"testing"

	"filippo.io/edwards25519"

	"tarn/keys/nhsnumber"
	"tarn/keys/oprf/internal/ristretto"
	"tarn/keys/secret"
)

// tokenOf is k times an element.
func tokenOf(t *testing.T, key secret.Key, p Point) (token Point) {
	t.Helper()
	var e ristretto.Element
	if !e.SetBytes(p[:]) {
		t.Fatal("no element")
	}
	if err := useScalar(key, func(k *edwards25519.Scalar) error { token = e.Multiply(k, &e).Bytes(); return nil }); err != nil {
		t.Fatal(err)
	}
	return token
}

// TestOpeningIsProved: an opening is that of the token, by the key; nothing else passes.
func TestOpeningIsProved(t *testing.T) {
	key, public := newKey(t)
	other, strange := newKey(t)
	number := nhsnumber.Number([]byte("9434765919"))
	token := tokenOf(t, key, Encode(number))
	o, err := OpenProved(key, public, 7, 3, token)
	if err != nil {
		t.Fatal(err)
	}
	if n, is := Decode(o.Point, false); !is || n != number {
		t.Error("it opens to somebody else")
	}
	if err := o.Verify(public, 7, 3, token); err != nil {
		t.Errorf("the control: %v", err)
	}
	if o.Verify(strange, 7, 3, token) == nil || o.Verify(public, 8, 3, token) == nil || o.Verify(public, 7, 4, token) == nil {
		t.Error("another key, domain or epoch passes")
	}
	if o.Verify(public, 7, 3, tokenOf(t, key, Encode(nhsnumber.Number([]byte("4010232137"))))) == nil {
		t.Error("another token passes")
	}
	for i := range o.Proof {
		changed := *o
		changed.Proof[i] ^= 1
		if changed.Verify(public, 7, 3, token) == nil {
			t.Errorf("byte %d of the proof does not matter", i)
		}
	}
	// A key holder that uses another key says somebody else: that shows.
	wrong, err := OpenProved(other, strange, 7, 3, token)
	if err != nil {
		t.Fatal(err)
	}
	if wrong.Verify(public, 7, 3, token) == nil {
		t.Error("an opening by another key passes")
	}
	for _, none := range []Point{{}, {0: 0xff, 31: 0xff}} {
		if _, err := OpenProved(key, public, 7, 3, none); !errors.Is(err, ErrElement) {
			t.Errorf("what is no element is opened: %v", err)
		}
	}
}

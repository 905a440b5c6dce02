package secret_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"tarn/keys/secret"
)

// TestMACIsHMAC: a prepared key gives what crypto/hmac gives, in any order of
// keys and messages.
func TestMACIsHMAC(t *testing.T) {
	hasher := secret.NewHasher()
	rapid.Check(t, func(t *rapid.T) {
		var b [secret.Size]byte
		copy(b[:], rapid.SliceOfN(rapid.Byte(), secret.Size, secret.Size).Draw(t, "key"))
		prepared := secret.New(b).MAC()
		for range 3 {
			message := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "message")
			want := hmac.New(sha256.New, b[:])
			want.Write(message)
			if got := hasher.Sum(prepared, message); !bytes.Equal(got[:], want.Sum(nil)) {
				t.Fatal("not the HMAC")
			}
		}
	})
}

func TestMACPrintsNothingAndAllocatesNothing(t *testing.T) {
	prepared := secret.New([secret.Size]byte{1, 2, 3}).MAC()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if text := fmt.Sprintf(verb, prepared); text != "[redacted]" {
			t.Errorf("%s prints %d characters", verb, len(text))
		}
	}
	hasher, message := secret.NewHasher(), []byte("9434765919")
	if n := testing.AllocsPerRun(100, func() { hasher.Sum(prepared, message) }); n != 0 {
		t.Errorf("%g allocations a message", n)
	}
}

func BenchmarkMAC(b *testing.B) {
	prepared, hasher, message := secret.New([secret.Size]byte{1}).MAC(), secret.NewHasher(), []byte("9434765919")
	b.ReportAllocs()
	for b.Loop() {
		hasher.Sum(prepared, message)
	}
}

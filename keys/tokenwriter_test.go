package keys_test

import (
	"testing"

	"pgregory.net/rapid"

	"tarn/keys"
)

// TestTokenWriterIsTheTextForm: it writes what Token.String, a library's Bech32m, does.
func TestTokenWriterIsTheTextForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		token := keys.Token{
			Scheme:   rapid.Uint8Range(keys.SchemeNoKeyedHash, keys.SchemeNoRelease).Draw(t, "scheme"),
			DomainNo: rapid.Uint32().Draw(t, "domain"), TokenEpoch: rapid.Uint16().Draw(t, "epoch"),
		}
		copy(token.Value[:], rapid.SliceOfN(rapid.Byte(), keys.TokenSize, keys.TokenSize).Draw(t, "value"))
		w := keys.NewTokenWriter(token.Scheme, token.DomainNo, token.TokenEpoch)
		if got := string(w.Append([]byte("before,"), &token.Value)); got != "before,"+token.String() {
			t.Fatalf("%s, want before,%s", got, token)
		}
	})
}

func TestTokenWriterAllocatesNothing(t *testing.T) {
	w, value, to := keys.NewTokenWriter(1, 7, 2), [keys.TokenSize]byte{1}, make([]byte, 0, 100)
	if n := testing.AllocsPerRun(100, func() { to = w.Append(to[:0], &value) }); n != 0 {
		t.Errorf("%g allocations a token", n)
	}
}

func BenchmarkTokenText(b *testing.B) {
	value := [keys.TokenSize]byte{1, 2, 3}
	b.Run("writer", func(b *testing.B) {
		w, to := keys.NewTokenWriter(1, 7, 2), make([]byte, 0, 100)
		for b.Loop() {
			to = w.Append(to[:0], &value)
		}
	})
	b.Run("library", func(b *testing.B) {
		for b.Loop() {
			_ = keys.Token{Scheme: 1, DomainNo: 7, TokenEpoch: 2, Value: value}.String()
		}
	})
}

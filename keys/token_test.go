package keys_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tarn/keys"
	"tarn/keys/secret"
)

// vectors are the known answers of the specification.
type vectors struct {
	KeyedHash struct {
		K        string `json:"K"`
		Domain   string `json:"domain"`
		Epoch    uint32 `json:"token_epoch"`
		Number   string `json:"nhs_number"`
		Token    string `json:"token"`
		TokenKCV string `json:"token_kcv"`
	} `json:"keyed_hash"`
	TokenText struct {
		Scheme   uint8  `json:"scheme"`
		DomainNo uint32 `json:"domain_no"`
		Epoch    uint16 `json:"token_epoch"`
		Token    string `json:"bytes"`
		Text     string `json:"text"`
	} `json:"token_text"`
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	b, err := os.ReadFile("../testdata/vectors/spec.json")
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestKeyedHashKnownAnswer: K_tok, its check value and a token.
func TestKeyedHashKnownAnswer(t *testing.T) {
	v := readVectors(t).KeyedHash
	var k [secret.Size]byte
	if n, err := hex.Decode(k[:], []byte(v.K)); err != nil || n != len(k) {
		t.Fatal(err)
	}
	file := &keys.KeyFile{Domain: v.Domain, TokenKey: secret.New(k)}
	kTok := file.TokenDeriver(v.Epoch)
	if got := keys.TokenKCV(kTok); got != v.TokenKCV {
		t.Errorf("check value %s, want %s", got, v.TokenKCV)
	}
	kTok.Derive([]byte(v.Number)).Use(func(b *[secret.Size]byte) {
		if got := hex.EncodeToString(b[:]); got != v.Token {
			t.Errorf("token %s, want %s", got, v.Token)
		}
	})
}

// TestTokenTextKnownAnswer: the text form, in both cases.
func TestTokenTextKnownAnswer(t *testing.T) {
	v := readVectors(t).TokenText
	want := keys.Token{Scheme: v.Scheme, DomainNo: v.DomainNo, TokenEpoch: v.Epoch}
	if _, err := hex.Decode(want.Value[:], []byte(v.Token)); err != nil {
		t.Fatal(err)
	}
	if got := want.String(); got != v.Text {
		t.Errorf("text %s, want %s", got, v.Text)
	}
	for _, text := range []string{v.Text, strings.ToUpper(v.Text)} {
		if got, err := keys.ParseToken(text); err != nil || got != want {
			t.Errorf("%s is read as %+v, %v", text, got, err)
		}
	}
	if _, err := keys.ParseToken(v.Text[:40] + strings.ToUpper(v.Text[40:])); err == nil {
		t.Error("mixed case is read")
	}
}

// TestTokenMistakesAreCaught: whatever one character is changed to, and which
// two neighbours change places.
func TestTokenMistakesAreCaught(t *testing.T) {
	const alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l1bio"
	text := readVectors(t).TokenText.Text
	refused := func(wrong string) {
		t.Helper()
		if _, err := keys.ParseToken(wrong); wrong != text && err == nil {
			t.Errorf("%s is read", wrong)
		}
	}
	for i := range text {
		for _, c := range alphabet {
			refused(text[:i] + string(c) + text[i+1:])
		}
		if i > 0 {
			refused(text[:i-1] + text[i:i+1] + text[i-1:i] + text[i+1:])
		}
		refused(text[:i])
		refused(text[:i] + "q" + text[i:])
	}
}

// TestTokenRoundTrip: 74 characters, read as they were written.
func TestTokenRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		token := keys.Token{Scheme: rapid.Uint8Range(1, 4).Draw(t, "scheme"), DomainNo: rapid.Uint32().Draw(t, "domain"), TokenEpoch: rapid.Uint16().Draw(t, "epoch")}
		copy(token.Value[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "value"))
		text := token.String()
		if got, err := keys.ParseToken(text); err != nil || got != token || len(text) != 74 || text != strings.ToLower(text) {
			t.Fatalf("%+v is written as %s and read as %+v, %v", token, text, got, err)
		}
	})
}

// FuzzParseToken: a text is one token's, in lower or in upper case.
func FuzzParseToken(f *testing.F) {
	text := keys.Token{Scheme: 1, DomainNo: 7, TokenEpoch: 3}.String()
	f.Add(text)
	f.Add(strings.ToUpper(text))
	f.Add(text[:73] + "q")
	f.Add("tarn1" + strings.Repeat("q", 69))
	f.Fuzz(func(t *testing.T, text string) {
		token, err := keys.ParseToken(text)
		if err == nil && token.String() != strings.ToLower(text) {
			t.Fatalf("read, and written as %s", token)
		}
		if err != nil && err != keys.ErrToken {
			t.Fatalf("another error: %v", err)
		}
	})
}

package enrol

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/hpke"
	"crypto/x509"
	"encoding/base32"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tarn/keys/api"
	"tarn/keys/fault"
)

// counting gives 0x80, 0x81, ...: a code that a test can know.
func counting(n int) *bytes.Reader {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(0x80 + i)
	}
	return bytes.NewReader(b)
}

func known(t testing.TB) Code {
	t.Helper()
	c, err := NewCode([]byte("a certificate"), counting(randomSize))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestKnownCode holds the text form and the digest to what Python makes of the
// same bytes (hashlib, base64.b32encode with Crockford's alphabet): codes and
// tables outlive a version.
func TestKnownCode(t *testing.T) {
	c := known(t)
	if got, want := c.Text(), "tarn-enrol-g20r-50w4-gp38-f249-ha5r-s3ce-hy0t-snv2-2g7t-d4n1-8a12-tbxy-9q37-z423"; got != want {
		t.Errorf("the text is %s, want %s", got, want)
	}
	digest := c.Digest()
	if got, want := hex.EncodeToString(digest[:]), "e5a0e822fc726c34e342561cc097c780191825dcd7c7937aaa5fbad26a10b120"; got != want {
		t.Errorf("the digest is %s, want %s", got, want)
	}
}

func TestCodeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		certificate := rapid.SliceOf(rapid.Byte()).Draw(t, "certificate")
		c, err := NewCode(certificate, bytes.NewReader(rapid.SliceOfN(rapid.Byte(), randomSize, randomSize).Draw(t, "random")))
		if err != nil {
			t.Fatal(err)
		}
		typed := c.Text()
		for _, change := range []func(string) string{
			func(s string) string { return s },
			strings.ToUpper,
			func(s string) string { return strings.ReplaceAll(s, "-", "") },
			func(s string) string { return strings.ReplaceAll(s, "-", " \u2013\t") + "\n" },
			func(s string) string {
				return prefix + strings.NewReplacer("0", "O", "1", "l").Replace(s[len(prefix):])
			},
			func(s string) string {
				return prefix + strings.NewReplacer("0", "o", "1", "I").Replace(s[len(prefix):])
			},
		} {
			again, err := ParseCode(change(typed))
			if err != nil {
				t.Fatalf("%q: %v", change(typed), err)
			}
			if again.Text() != typed || !SameDigest(again.Digest(), c.Digest()) || !again.Names(certificate) {
				t.Fatalf("%q is read as another code", change(typed))
			}
			if again.Names(append(certificate, 0)) {
				t.Fatal("a code names another authority")
			}
		}
	})
}

func TestNewCodeDiffersAndFailsLoudly(t *testing.T) {
	a, err := NewCode(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewCode(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if SameDigest(a.Digest(), b.Digest()) {
		t.Error("two codes have one digest")
	}
	if _, err := NewCode(nil, counting(randomSize-1)); err == nil {
		t.Error("a short read made a code")
	}
	if (Code{}).Valid() || !a.Valid() {
		t.Error("Valid is wrong")
	}
}

// TestEveryMistypedCharacterIsPlaced: another character anywhere is refused,
// and the error says which it is.
func TestEveryMistypedCharacterIsPlaced(t *testing.T) {
	text := known(t).Text()
	at := -1
	for i := len(prefix); i < len(text); i++ {
		if text[i] == '-' {
			continue
		}
		at++
		other := alphabet[(strings.IndexByte(alphabet, text[i])+1+at%31)%32]
		_, err := ParseCode(text[:i] + string(other) + text[i+1:])
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), place(at)+" is probably mistyped") {
			t.Fatalf("character %d as %c: %v", i, other, err)
		}
	}
	if at != digits-1 {
		t.Fatalf("%d places were tried, not %d", at+1, digits)
	}
}

func TestCodeRefusals(t *testing.T) {
	text := known(t).Text()
	swapped := []byte(text)
	swapped[len(prefix)], swapped[len(prefix)+1], swapped[len(prefix)+5] = 'z', 'z', 'z'
	tests := []struct{ name, text, want string }{
		{"empty", "", "does not begin with tarn-enrol-"},
		{"a share", "tarn-share1qqqq", "does not begin with tarn-enrol-"},
		{"cut", text[:len(text)-1], "it has 55 characters after tarn-enrol-, a code has 56"},
		{"longer", text + "0", "it has 57 characters"},
		{"u", text[:len(prefix)+5] + "u" + text[len(prefix)+6:], "character 1 of group 2 is a character that no code holds"},
		{"not ASCII", text[:len(prefix)+5] + "é" + text[len(prefix)+6:], "character 1 of group 2 is a character that no code holds"},
		{"not UTF-8", text[:len(prefix)+5] + "\xff" + text[len(prefix)+6:], "character 1 of group 2 is a character that no code holds"},
		{"three mistyped", string(swapped), "more than one of its characters is mistyped"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseCode(tt.text)
			if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want it to say %q", err, tt.want)
			}
		})
	}
	if _, err := ParseCode(text); err != nil {
		t.Errorf("the control: the code itself is refused: %v", err)
	}
}

// FuzzParseCode: no text makes it panic, what is read is written the same way,
// and errors hold nothing of it but numbers.
func FuzzParseCode(f *testing.F) {
	fixed := regexp.MustCompile(`^reading the enrolment code: (it does not begin with tarn-enrol-|it has \d+ characters after tarn-enrol-, a code has 56|` +
		`character [1-4] of group \d+ is (probably mistyped|a character that no code holds)|more than one of its characters is mistyped); [a-zA-Z, ]+$`)
	text := known(f).Text()
	f.Add(text)
	f.Add(strings.ToUpper(text))
	f.Add(strings.ReplaceAll(text, "-", ""))
	f.Add(text[:20] + "zz" + text[22:])
	f.Add(prefix + strings.Repeat("0", digits))
	f.Add("TARN ENROL " + strings.Repeat("İ", digits))
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCode(text)
		if err == nil {
			again, err := ParseCode(c.Text())
			if err != nil || !SameDigest(again.Digest(), c.Digest()) {
				t.Fatalf("what was read is not read again: %v", err)
			}
			return
		}
		if c.Valid() || fault.KindOf(err) != fault.Usage {
			t.Fatalf("refused with a code, or with another kind: %v", err)
		}
		if !fixed.MatchString(err.Error()) {
			t.Fatalf("the error says more than it may: %v", err)
		}
	})
}

func TestClientKeys(t *testing.T) {
	made, err := NewClientKeys()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(made.CSR)
	if err != nil {
		t.Fatal(err)
	}
	if err := csr.CheckSignature(); err != nil {
		t.Errorf("the request does not verify: %v", err)
	}
	if len(csr.Extensions) > 0 || len(csr.Subject.Names) > 0 {
		t.Error("the request asks for names")
	}
	var kept []byte
	err = made.UsePrivate(func(tlsKey, sealingKey []byte) error {
		kept = sealingKey
		block, rest := pem.Decode(tlsKey)
		if block == nil || block.Type != "PRIVATE KEY" || len(rest) > 0 {
			t.Fatal("the TLS key is not one PEM block")
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if !key.(*ecdsa.PrivateKey).PublicKey.Equal(csr.PublicKey) {
			t.Error("the request is for another key")
		}
		private, err := api.LeaseKEM().NewPrivateKey(sealingKey)
		if err != nil {
			t.Fatalf("leases cannot be opened with the sealing key: %v", err)
		}
		public, err := api.LeaseKEM().NewPublicKey(made.SealingPublic)
		if err != nil {
			t.Fatalf("leases cannot be sealed to the sealing key: %v", err)
		}
		sealed, err := hpke.Seal(public, hpke.HKDFSHA256(), hpke.AES256GCM(), nil, []byte("lease"))
		if err != nil {
			t.Fatal(err)
		}
		opened, err := hpke.Open(private, hpke.HKDFSHA256(), hpke.AES256GCM(), nil, sealed)
		if err != nil || string(opened) != "lease" {
			t.Errorf("what is sealed to the public half is not opened by the private: %v", err)
		}
		return errors.New("as f says")
	})
	if err == nil || err.Error() != "as f says" {
		t.Errorf("f's error is lost: %v", err)
	}
	other, err := NewClientKeys()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(other.SealingPublic, made.SealingPublic) {
		t.Error("two clients have one sealing key")
	}
	made.Destroy()
	if !bytes.Equal(kept, make([]byte, len(kept))) {
		t.Error("a destroyed key is there")
	}
}

// everyPrinting returns all that the standard library makes of v.
func everyPrinting(v any) string {
	var out bytes.Buffer
	for _, verb := range "vsdxXqobTp" {
		for _, flag := range []string{"%", "%+", "%#", "% "} {
			fmt.Fprintf(&out, flag+string(verb)+"\n", v)
		}
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v, slog.Any("g", v))
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
	b, err := json.Marshal(v)
	fmt.Fprintln(&out, string(b), err)
	fmt.Fprintln(&out, gob.NewEncoder(&out).Encode(v))
	return out.String()
}

// leaks reports whether a printing holds four bytes in a row of a secret, in a
// form that Go prints bytes in.
func leaks(printed string, secret []byte) bool {
	for i := 0; i+4 <= len(secret); i++ {
		part := secret[i : i+4]
		for _, form := range []string{
			string(part), fmt.Sprintf("%x", part), fmt.Sprintf("%X", part), fmt.Sprintf("% x", part), strings.Trim(fmt.Sprint(part), "[]"),
			strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", part), "[]byte{"), "}"),
			base64.RawStdEncoding.EncodeToString(secret[i:min(i+6, len(secret))]), base32.NewEncoding(alphabet).EncodeToString(secret[:5]),
		} {
			if strings.Contains(printed, form) {
				return true
			}
		}
	}
	return false
}

func TestNeverPrinted(t *testing.T) {
	c := known(t)
	random := make([]byte, randomSize)
	if _, err := counting(randomSize).Read(random); err != nil {
		t.Fatal(err)
	}
	type nested struct {
		Public  Code
		private Code
		any     any
	}
	for _, v := range []any{c, &c, nested{c, c, c}, []any{&nested{c, c, &c}}} {
		if printed := everyPrinting(v); leaks(printed, random) || strings.Contains(printed, c.Text()[len(prefix):len(prefix)+8]) {
			t.Errorf("%T is printed", v)
		}
	}
	made, err := NewClientKeys()
	if err != nil {
		t.Fatal(err)
	}
	holder := struct{ inner ClientKeys }{made}
	if err := made.UsePrivate(func(tlsKey, sealingKey []byte) error {
		for _, v := range []any{made, &made, holder, []any{holder}} {
			printed := everyPrinting(v)
			if leaks(printed, sealingKey) || leaks(printed, tlsKey[40:80]) {
				t.Errorf("%T is printed", v)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	// The control: a named array with a String method is found.
	if !leaks(everyPrinting(struct{ inner named }{named(random)}), random) {
		t.Error("a planted leak is not found: this test proves nothing")
	}
}

type named [randomSize]byte

func (named) String() string { return redacted }

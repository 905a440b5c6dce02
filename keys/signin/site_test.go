package signin

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/keys/fault"
	"tarn/keys/reidentify"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

const (
	issuer   = "https://identity.example/realms/nhs"
	audience = "tarn"
)

// The tests' signers are made of the standard library, not of the one that verifies.

func text64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

type object = map[string]any

// signer is a private key with its name, and what it signs with.
type signer struct {
	id, algorithm string
	private       crypto.Signer
}

func (s signer) sign(message []byte) []byte {
	switch private := s.private.(type) {
	case ed25519.PrivateKey:
		return ed25519.Sign(private, message)
	case *rsa.PrivateKey:
		sum := sha256.Sum256(message)
		signature, err := rsa.SignPKCS1v15(nil, private, crypto.SHA256, sum[:])
		if s.algorithm == "PS256" {
			signature, err = rsa.SignPSS(rand.Reader, private, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
		if err != nil {
			panic(err)
		}
		return signature
	case *ecdsa.PrivateKey:
		sum := sha256.Sum256(message)
		r, t, err := ecdsa.Sign(rand.Reader, private, sum[:])
		if err != nil {
			panic(err)
		}
		return append(r.FillBytes(make([]byte, 32)), t.FillBytes(make([]byte, 32))...)
	}
	return nil
}

// raw signs a header and a payload as they are written.
func (s signer) raw(header, payload string) string {
	message := text64([]byte(header)) + "." + text64([]byte(payload))
	return message + "." + text64(s.sign([]byte(message)))
}

func document(v any) string {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (s signer) header() object { return object{"alg": s.algorithm, "kid": s.id, "typ": "JWT"} }

func (s signer) token(claims object) string { return s.raw(document(s.header()), document(claims)) }

// jwk is the public key as a key set has it.
func (s signer) jwk() object {
	o := object{"kid": s.id, "alg": s.algorithm, "use": "sig"}
	switch private := s.private.(type) {
	case ed25519.PrivateKey:
		o["kty"], o["crv"], o["x"] = "OKP", "Ed25519", text64(private.Public().(ed25519.PublicKey))
	case *rsa.PrivateKey:
		o["kty"], o["n"], o["e"] = "RSA", text64(private.N.Bytes()), text64(big.NewInt(int64(private.E)).Bytes())
	case *ecdsa.PrivateKey:
		point, err := private.PublicKey.Bytes()
		if err != nil {
			panic(err)
		}
		o["kty"], o["crv"], o["x"], o["y"] = "EC", "P-256", text64(point[1:33]), text64(point[33:])
	}
	return o
}

// hmacToken is signed with bytes that everybody has.
func hmacToken(secret []byte, id string, claims object) string {
	message := text64([]byte(document(object{"alg": "HS256", "kid": id, "typ": "JWT"}))) + "." + text64([]byte(document(claims)))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(message))
	return message + "." + text64(mac.Sum(nil))
}

// signers are the issuer's: making keys of RSA takes a while.
var signers = sync.OnceValue(func() map[string]signer {
	all := map[string]signer{}
	for _, id := range []string{"rsa", "rsa-2"} {
		private, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		all[id] = signer{id, "RS256", private}
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(i)
	}
	all["ec"] = signer{"ec", "ES256", ec}
	all["ed"] = signer{"ed", "EdDSA", ed25519.NewKeyFromSeed(seed)}
	return all
})

// cis2 are claims of a sign-in that is good.
func cis2() object {
	return object{
		"iss": issuer, "aud": audience, "sub": "910000000001", "exp": noon.Add(5 * time.Minute).Unix(), "iat": noon.Unix(), "nbf": noon.Unix(),
		"auth_time": noon.Add(-time.Minute).Unix(), "acr": "AAL3", "sid": "s-1", "nhsid_useruid": "555000000001", "selected_roleid": "2",
		"nhsid_nrbac_roles": []any{
			object{"person_roleid": "1", "org_code": "A81002", "role_code": "S8000:G8000:R8001", "activity_codes": []string{"B0001"}},
			object{"person_roleid": "2", "org_code": "A81001", "role_code": "S0030:G0100:R0570", "activity_codes": []string{"B0264", "B0370"}, "role_name": `"Clinical":"GP"`},
		},
		"name": "Wendy Withers",
	}
}

// but returns claims that differ; nil leaves a claim out.
func but(claims, differ object) object {
	o := maps.Clone(claims)
	maps.Copy(o, differ)
	maps.DeleteFunc(o, func(_ string, value any) bool { return value == nil })
	return o
}

var silent = slog.New(slog.DiscardHandler)

// keySet writes a key set, and returns where it is.
func keySet(t testing.TB, all ...object) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(path, []byte(document(object{"keys": all})), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func keysOf(t testing.TB, all ...object) KeySource {
	t.Helper()
	source, err := KeysInFile(keySet(t, all...), silent)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func options(t testing.TB) Options {
	t.Helper()
	var all []object
	for _, s := range signers() {
		all = append(all, s.jwk())
	}
	return Options{
		Issuer: issuer, Audience: audience, Algorithms: []string{"RS256", "ES256", "EdDSA"}, Keys: keysOf(t, all...),
		Claims: Claims{Preset: PresetCIS2}, Clock: func() time.Time { return noon },
	}
}

func verifier(t testing.TB, o Options) *Verifier {
	t.Helper()
	v, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// refused fails unless a token is not taken for this reason, in words that repeat nothing
// of it.
func refused(t testing.TB, v *Verifier, token string, reason Reason) {
	t.Helper()
	person, err := v.Verify(t.Context(), token)
	var known *Error
	if !errors.As(err, &known) || known.Reason != reason {
		t.Errorf("it is %v, not refused for %s: %+v", err, reason, person)
		return
	}
	if person.Subject != "" || person.Role != "" || person.Session != "" {
		t.Errorf("whom nobody vouches for is %+v", person)
	}
	if kind := fault.KindOf(err); (kind == fault.Unavailable) != (reason == KeysUnavailable) || kind == fault.Internal {
		t.Errorf("the error's kind is %v", kind)
	}
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 3 && strings.Contains(err.Error(), part) {
			t.Errorf("the error repeats the token: %v", err)
		}
	}
	for _, said := range []string{"910000000001", "555000000001", "Wendy", "A81001", "evil"} {
		if strings.Contains(err.Error(), said) {
			t.Errorf("the error repeats a claim: %v", err)
		}
	}
}

func taken(t testing.TB, v *Verifier, token string) reidentify.Person {
	t.Helper()
	person, err := v.Verify(t.Context(), token)
	if err != nil {
		t.Fatalf("control: %v", err)
	}
	return person
}

package codeflow

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"io"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/keys/fault"
	"tarn/keys/secret"
)

// pending is what a browser keeps while somebody signs in, sealed.
type pending struct {
	State    string    `json:"state"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"`
	ReturnTo string    `json:"return_to"`
	Begun    time.Time `json:"begun"`
	Fresh    bool      `json:"fresh"` // whoever signs in does so anew
}

// signInTime is how long somebody may take to sign in.
const signInTime = 10 * time.Minute

// sealed binds a cookie to what it is for.
const sealedLabel = "tarn/signing-in/v1"

// sealer seals what browsers keep, with a key of this process only.
type sealer struct {
	aead  cipher.AEAD
	rand  io.Reader
	clock func() time.Time
}

func newSealer(random io.Reader, clock func() time.Time) (*sealer, error) {
	key, err := secret.Generate(random)
	if err != nil {
		return nil, err
	}
	defer key.Destroy()
	s := &sealer{rand: random, clock: clock}
	key.Use(func(b *[secret.Size]byte) {
		block, failed := aes.NewCipher(b[:])
		if err = failed; err == nil {
			s.aead, err = cipher.NewGCM(block)
		}
	})
	return s, err
}

func (s *sealer) seal(p *pending) (string, error) {
	p.Begun = s.clock()
	text, err := json.Marshal(p)
	if err != nil {
		return "", fault.New(fault.Internal, "beginning a sign-in", "what the browser keeps cannot be written", "")
	}
	nonce := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+len(text)+s.aead.Overhead())
	if _, err := io.ReadFull(s.rand, nonce); err != nil {
		return "", fault.New(fault.Internal, "beginning a sign-in", "no random bytes can be had", "")
	}
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nonce, nonce, text, []byte(sealedLabel))), nil
}

func (s *sealer) open(cookie string) (*pending, error) {
	const other = "the sign-in did not begin in this browser, or the key holder was started again meanwhile"
	sealed, err := base64.RawURLEncoding.DecodeString(cookie)
	if err != nil || len(sealed) < s.aead.NonceSize() {
		return nil, refuse(other)
	}
	text, err := s.aead.Open(nil, sealed[:s.aead.NonceSize()], sealed[s.aead.NonceSize():], []byte(sealedLabel))
	if err != nil {
		return nil, refuse(other)
	}
	p := new(pending)
	if err := json.Unmarshal(text, p); err != nil {
		return nil, refuse(other)
	}
	if age := s.clock().Sub(p.Begun); age < 0 || age > signInTime {
		return nil, refuse("the sign-in took too long")
	}
	return p, nil
}

// Package parcel is what a conversion for another party needs besides its arithmetic
// ([tarn/keys/oprf]): the keys of a recipient, the seal of each row, and the seal of what
// the key holder answers, so that nobody but the recipient reads either.
package parcel

import (
	"crypto/hpke"
	"encoding/hex"
	"errors"
	"io"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/oprf"
	"tarn/keys/secret"
)

// The schemas of a recipient's documents.
const (
	RecipientSchema     = "tarn.recipient/1"
	RecipientKeysSchema = "tarn.recipient-keys/1"
)

// Recipient is the public half of a recipient's keys, which a grant names.
type Recipient struct {
	Schema     string `json:"schema"`
	Software   string `json:"software,omitzero"`
	Created    string `json:"created,omitzero"`
	Name       string `json:"name"`
	TokenKey   string `json:"token_key"`   // Y = yG in hex: tokens are encrypted under it
	SealingKey []byte `json:"sealing_key"` // HPKE public key of MLKEM768X25519: rows and answers are sealed to it
}

// Check refuses keys that are none.
func (r *Recipient) Check() error {
	if r.Schema != RecipientSchema {
		return errors.New(`member schema is not "` + RecipientSchema + `"`)
	}
	if !keys.ValidName(r.Name) {
		return errors.New("member name is not 1 to 32 of a-z, 0-9 and -")
	}
	point, err := r.Point()
	if err != nil {
		return err
	}
	if _, err := oprf.NewEncrypter(point, 1); err != nil {
		return errors.New("member token_key is no element of the group")
	}
	if _, err := kem().NewPublicKey(r.SealingKey); err != nil {
		return errors.New("member sealing_key is no key of MLKEM768X25519")
	}
	return nil
}

// Point returns Y.
func (r *Recipient) Point() (oprf.Point, error) {
	b, err := hex.DecodeString(r.TokenKey)
	if err != nil || len(b) != oprf.PointSize {
		return oprf.Point{}, errors.New("member token_key is not of 64 hexadecimal digits")
	}
	return oprf.Point(b), nil
}

// Keys are both halves of a recipient's keys. They are in closures: nothing prints them.
type Keys struct {
	Public Recipient
	token  secret.Key // y
	seal   secret.Key // the seed of the HPKE key
}

// keysDocument is a recipient's keys as they lie on disk, of mode 0600. It lives only
// inside the functions that read and write it.
type keysDocument struct {
	Schema     string `json:"schema"`
	Software   string `json:"software,omitzero"`
	Created    string `json:"created,omitzero"`
	Name       string `json:"name"`
	TokenKey   string `json:"token_key"`
	SealingKey string `json:"sealing_key"`
}

// NewKeys draws a recipient's keys: y from r, or from the operating system where r is nil,
// the sealing key always from the operating system, since crypto/hpke takes no other.
func NewKeys(name, software, created string, r io.Reader) (*Keys, error) {
	y, err := oprf.NewKey(r)
	if err != nil {
		return nil, err
	}
	private, err := kem().GenerateKey()
	if err != nil {
		return nil, errors.New("making the sealing key failed")
	}
	seed, err := private.Bytes()
	if err != nil || len(seed) != secret.Size {
		return nil, errors.New("writing the sealing key failed")
	}
	defer clear(seed)
	return withPublic(keysDocument{Name: name, Software: software, Created: created}, y, secret.New([secret.Size]byte(seed)))
}

// withPublic makes the public half of the private one.
func withPublic(d keysDocument, token, seal secret.Key) (*Keys, error) {
	y, err := oprf.PublicKey(token)
	if err != nil {
		return nil, errors.New("member token_key is no key")
	}
	k := &Keys{token: token, seal: seal}
	private, err := k.sealing()
	if err != nil {
		return nil, errors.New("member sealing_key is no key")
	}
	k.Public = Recipient{
		Schema: RecipientSchema, Software: d.Software, Created: d.Created, Name: d.Name,
		TokenKey: hex.EncodeToString(y[:]), SealingKey: private.PublicKey().Bytes(),
	}
	return k, k.Public.Check()
}

// sealing returns the HPKE key.
func (k *Keys) sealing() (private hpke.PrivateKey, err error) {
	k.seal.Use(func(seed *[secret.Size]byte) { private, err = kem().NewPrivateKey(seed[:]) })
	return private, err
}

// Destroy overwrites the keys, for every copy. What crypto/hpke made on the way is left to
// the garbage collector.
func (k *Keys) Destroy() {
	k.token.Destroy()
	k.seal.Destroy()
}

// Write writes the keys to a file of mode 0600.
func (k *Keys) Write(path string) error {
	p := &k.Public
	b, err := keys.Encode(keysDocument{RecipientKeysSchema, p.Software, p.Created, p.Name, keys.HexKey(k.token), keys.HexKey(k.seal)})
	if err != nil {
		return fault.New(fault.Internal, "writing "+path, "the keys could not be written down", "")
	}
	defer clear(b)
	if err := keys.WriteFile(path, b); err != nil {
		return fault.Wrap(fault.Internal, "writing "+path, err, "choose a folder that exists and can be written")
	}
	return nil
}

// ReadKeys reads what [Keys.Write] wrote. A file that anyone but its owner can read is
// refused. Errors hold no byte of a key.
func ReadKeys(path string) (*Keys, error) {
	doing, next := "reading the recipient's keys "+path, "give the file that tokeniser recipient wrote"
	b, err := keys.ReadPrivate(path, keys.Private{Doing: doing, Next: next, Known: "make new keys, and ask for a new grant", Limit: 64 << 10})
	if err != nil {
		return nil, err
	}
	defer clear(b)
	k, err := parseKeys(b)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, next)
	}
	return k, nil
}

func parseKeys(document []byte) (*Keys, error) {
	var d keysDocument
	if err := keys.DecodeStrict(document, &d); err != nil {
		return nil, errors.New("it is no document of a recipient's keys") // a member's name might be a key
	}
	if d.Schema != RecipientKeysSchema {
		return nil, errors.New(`member schema is not "` + RecipientKeysSchema + `"`)
	}
	token, err := keys.ParseKey(d.TokenKey)
	if err != nil {
		return nil, errors.New("member token_key is not of 64 hexadecimal digits")
	}
	seal, err := keys.ParseKey(d.SealingKey)
	if err != nil {
		return nil, errors.New("member sealing_key is not of 64 hexadecimal digits")
	}
	return withPublic(d, token, seal)
}

package custody

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"

	"github.com/cloudflare/circl/secretsharing"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/secret"
)

// Given is what somebody gives to unseal: one member, the one that the method
// takes. Its own methods keep fmt, slog and encoders from it, but not where it
// lies in an unexported field of another type, nor from the verb %p, which go
// vet refuses: it is made where it is given away, and kept nowhere.
type Given struct {
	Share      string
	Passphrase string
	Identity   string // an identity file's content
}

// Format implements [fmt.Formatter]; it prints a fixed text for every verb.
func (g Given) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue implements [slog.LogValuer] with a fixed text.
func (g Given) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText refuses.
func (g Given) MarshalText() ([]byte, error) { return nil, errors.New("custody: refusing to marshal") }

// MarshalBinary refuses: encoding/gob would else write the members.
func (g Given) MarshalBinary() ([]byte, error) {
	return nil, errors.New("custody: refusing to marshal")
}

// Status says how far unsealing has got.
type Status struct {
	Method     Method
	Deployment string // see [Document.Deployment]
	Given      int    // shares that were given and are right
	Needed     int    // shares that are needed; 0 where custody is not in shares
	Shares     int    // shares that there are; 0 where custody is not in shares
}

// Unsealer gathers what opens a document. It keeps nothing but right shares
// while there are too few of them, and those only until there are enough or it
// is reset. It is safe for concurrent use; of several who give at once, one
// gets the key.
type Unsealer struct {
	_   [0]func()
	get func() *unsealer
}

type unsealer struct {
	document Document
	deriving sync.Mutex // one derivation from a passphrase at a time: each takes much memory
	mu       sync.Mutex
	shares   []share
}

// NewUnsealer returns an Unsealer of a document.
func NewUnsealer(d Document) *Unsealer {
	u := &unsealer{document: d}
	return &Unsealer{get: func() *unsealer { return u }}
}

// Status says how many shares were given and are needed.
func (u *Unsealer) Status() Status {
	own := u.get()
	own.mu.Lock()
	defer own.mu.Unlock()
	return Status{
		Method: own.document.Method, Deployment: own.document.Deployment(), Given: len(own.shares), Needed: own.document.Threshold, Shares: own.document.Shares,
	}
}

// Reset forgets the shares that were given.
func (u *Unsealer) Reset() {
	own := u.get()
	own.mu.Lock()
	defer own.mu.Unlock()
	own.reset()
}

func (u *unsealer) reset() {
	clear(u.shares)
	u.shares = nil
}

// Give takes one thing. Once there is enough it returns the root key, which the
// caller destroys, and keeps nothing. What is refused changes nothing: right
// shares that were given before stay.
func (u *Unsealer) Give(given Given) (root secret.Key, complete bool, err error) {
	identity, complete, err := u.Collect(given)
	if err != nil || !complete {
		return secret.Key{}, false, err
	}
	defer identity.Forget()
	root, err = u.get().document.Open(identity)
	return root, err == nil, err
}

// Collect is Give for the identity itself, which opens backups too. The caller
// forgets it. It is the document's, but the document's own seal was not opened.
func (u *Unsealer) Collect(given Given) (identity Identity, complete bool, err error) {
	own := u.get()
	d := &own.document
	if err := d.check(); err != nil {
		return nil, false, damaged(err.Error())
	}
	if err := d.takes(given); err != nil {
		return nil, false, err
	}
	var found *inMemory
	switch d.Method {
	case MethodIdentity:
		content := []byte(given.Identity)
		defer clear(content)
		found, err = parseIdentity(content)
	case MethodPassphrase:
		found, err = own.passphrase(given.Passphrase)
	default:
		found, err = own.share(given.Share)
	}
	if err != nil || found == nil {
		return nil, false, err
	}
	if found.Recipient() != d.Recipient {
		found.Forget()
		return nil, false, wrongIdentity("it is another deployment's")
	}
	return found, true, nil
}

// takes refuses what is not one thing of the document's method.
func (d *Document) takes(given Given) error {
	want := map[Method]struct {
		text string
		name string
	}{
		MethodIdentity: {given.Identity, "its identity file"}, MethodPassphrase: {given.Passphrase, "its passphrase"}, MethodShares: {given.Share, "its shares, one at a time"},
	}[d.Method]
	if want.text == "" || len(want.text) != len(given.Identity)+len(given.Passphrase)+len(given.Share) {
		return &fault.Error{Kind: fault.Usage, Doing: "unsealing", Wrong: "this deployment is unsealed with " + want.name, Next: "give that, and nothing else", Cause: ErrMethod}
	}
	return nil
}

func (u *unsealer) passphrase(text string) (*inMemory, error) {
	typed := []byte(text)
	defer clear(typed)
	passphrase, err := normal(typed)
	if err != nil {
		return nil, err
	}
	defer clear(passphrase)
	u.deriving.Lock()
	defer u.deriving.Unlock()
	key := u.document.Argon2.key(passphrase)
	defer key.Destroy()
	identity, err := u.document.unwrap(key)
	if err != nil {
		return nil, &fault.Error{Kind: fault.Disagreement, Doing: "checking the passphrase", Wrong: "it does not open this deployment", Next: "type it again; if it is right, " + FileName + " is damaged: restore it from the newest backup", Cause: ErrPassphrase}
	}
	return identity, nil
}

// share takes a share, and returns the identity once there are enough.
func (u *unsealer) share(text string) (*inMemory, error) {
	s, err := parseShare(text)
	if err != nil {
		return nil, err
	}
	defer clear(s.value[:])
	if err := u.document.checkShare(&s); err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if slices.ContainsFunc(u.shares, func(other share) bool { return other.number == s.number }) {
		return nil, shareFault(fault.Usage, fmt.Sprintf("share %d was given already", s.number), "give another share", ErrShareDuplicate)
	}
	if u.shares == nil {
		u.shares = make([]share, 0, u.document.Threshold) // never grown: a copy would stay behind
	}
	u.shares = append(u.shares, s)
	if len(u.shares) < u.document.Threshold {
		return nil, nil
	}
	defer u.reset()
	key, err := recoverKey(&u.document, u.shares)
	if err != nil {
		return nil, damaged("its shares give no key")
	}
	defer key.Destroy()
	identity, err := u.document.unwrap(key)
	if err != nil {
		return nil, damaged("the identity is not sealed under the key that its shares give")
	}
	return identity, nil
}

// recoverKey puts the key of enough right shares together.
func recoverKey(d *Document, shares []share) (secret.Key, error) {
	var points []secretsharing.Share
	defer func() {
		for _, p := range points {
			wipe(p.Value)
		}
	}()
	for i := range shares {
		p, err := shares[i].point()
		if err != nil {
			return secret.Key{}, err
		}
		points = append(points, p)
	}
	scalar, err := secretsharing.Recover(uint(d.Threshold-1), points)
	if err != nil {
		return secret.Key{}, err
	}
	defer wipe(scalar)
	b, err := scalar.MarshalBinary()
	if err != nil || len(b) != secret.Size {
		return secret.Key{}, errors.New("not a scalar")
	}
	defer clear(b)
	return secret.New([secret.Size]byte(b)), nil
}

// wrapping returns the cipher under which the identity lies: AES-256-GCM with a
// random nonce before the ciphertext, under a key derived from the passphrase's
// or the shared one.
func wrapping(key secret.Key) (cipher.AEAD, error) {
	derived := key.Derive(keys.LP(keys.Text("tarn/custody-wrap/v1")))
	defer derived.Destroy()
	var block cipher.Block
	var err error
	derived.Use(func(b *[secret.Size]byte) { block, err = aes.NewCipher(b[:]) })
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// wrap seals an identity's text, bound to all that says how it is held.
func (d *Document) wrap(key secret.Key, identity []byte) error {
	aead, err := wrapping(key)
	if err != nil {
		return fault.New(fault.Internal, "sealing the custody identity", "there is no cipher", "")
	}
	d.Wrapped = aead.Seal(nil, nil, identity, d.custodyPart())
	return nil
}

func (d *Document) unwrap(key secret.Key) (*inMemory, error) {
	aead, err := wrapping(key)
	if err != nil {
		return nil, err
	}
	text, err := aead.Open(nil, nil, d.Wrapped, d.custodyPart())
	if err != nil {
		return nil, err
	}
	defer clear(text)
	return parseIdentity(text)
}

// Format implements [fmt.Formatter]; it prints a fixed text for every verb.
func (u *Unsealer) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue implements [slog.LogValuer] with a fixed text.
func (u *Unsealer) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText refuses.
func (u *Unsealer) MarshalText() ([]byte, error) {
	return nil, errors.New("custody: refusing to marshal")
}

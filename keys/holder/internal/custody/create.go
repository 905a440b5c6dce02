package custody

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"filippo.io/age"
	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/secretsharing"

	"tarn/keys/fault"
	"tarn/keys/secret"
)

// Origin is what new custody is given.
type Origin struct {
	Now      time.Time
	Software string    // at most 200 bytes
	Rand     io.Reader // for the root key and the salt; nil is the operating system's generator
	// Replaces is the document of a deployment whose custody is replaced; nil for a
	// new deployment. It must have been opened. Nothing of its custody stays: the
	// identity, and so the recipient, what is handed out and the root key are new,
	// and the generation is the following one, so that what opened it opens nothing
	// that is sealed from now on.
	Replaces *Document
}

// Deployment is a new deployment's custody, or the new custody of one that there
// is: what lies in its folder, the root
// key, and what must be handed out.
type Deployment struct {
	Document Document
	Root     secret.Key // the caller destroys it
	Handout  Handout
}

// Handout is what must be handed out when custody begins, and exists nowhere
// else. Only its named methods give it away.
type Handout struct {
	_   [0]func()
	get func() *handout
}

type handout struct {
	identity []byte
	shares   []share
}

func newHandout(h handout) Handout { return Handout{get: func() *handout { return &h }} }

// Identity returns the content of the identity file, which is one of age's;
// empty where custody is not by identity. The caller clears it.
func (h Handout) Identity() []byte { return append([]byte(nil), h.get().identity...) }

// Shares returns the text of every share, in the order of their numbers; none
// where custody is not in shares.
func (h Handout) Shares() []string {
	var texts []string
	for i := range h.get().shares {
		texts = append(texts, h.get().shares[i].text())
	}
	return texts
}

// Destroy overwrites what is to be handed out, for every copy of h.
func (h Handout) Destroy() {
	clear(h.get().identity)
	clear(h.get().shares)
}

// Format implements [fmt.Formatter]; it prints a fixed text for every verb.
func (h Handout) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue implements [slog.LogValuer] with a fixed text.
func (h Handout) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText refuses: it is handed out by Identity and Shares only.
func (h Handout) MarshalText() ([]byte, error) {
	return nil, errors.New("custody: refusing to marshal")
}

const creating = "making new custody"

// NewWithIdentity makes custody whose identity is a file.
func NewWithIdentity(o Origin) (Deployment, error) {
	identity, d, err := begin(o, MethodIdentity)
	if err != nil {
		return Deployment{}, err
	}
	file := fmt.Appendf(nil, "# custody identity of the key holder's deployment %s\n# created: %s\n# public key: %s\n%s\n",
		d.Deployment(), d.Created.Format(time.RFC3339), d.Recipient, identity.String())
	return finish(o, d, handout{identity: file}, Given{Identity: string(file)})
}

// NewWithPassphrase makes custody whose identity is sealed under a
// passphrase of at least 16 characters. The salt of cost is drawn. The caller
// clears the passphrase.
func NewWithPassphrase(o Origin, passphrase []byte, cost Argon2) (Deployment, error) {
	chosen, err := normal(passphrase)
	if err != nil {
		return Deployment{}, err
	}
	defer clear(chosen)
	if err := strongEnough(chosen); err != nil {
		return Deployment{}, err
	}
	cost.Salt = make([]byte, saltSize)
	if err := cost.check(); err != nil {
		return Deployment{}, fault.New(fault.Usage, creating, argon2OutOfRange, "give others")
	}
	if _, err := io.ReadFull(o.source(), cost.Salt); err != nil {
		return Deployment{}, fault.Wrap(fault.Internal, creating, err, "")
	}
	identity, d, err := begin(o, MethodPassphrase)
	if err != nil {
		return Deployment{}, err
	}
	d.Argon2 = &cost
	key := cost.key(chosen)
	defer key.Destroy()
	if err := d.wrapText(key, identity); err != nil {
		return Deployment{}, err
	}
	return finish(o, d, handout{}, Given{Passphrase: string(chosen)})
}

// NewWithShares makes custody whose identity is sealed under a key in
// shares, of which threshold open it: 2 <= threshold <= shares <= 32.
func NewWithShares(o Origin, threshold, shares int) (Deployment, error) {
	if err := checkThreshold(threshold, shares); err != nil {
		return Deployment{}, fault.Wrap(fault.Usage, creating, err, "choose other numbers; for one person alone take a passphrase or an identity file")
	}
	identity, d, err := begin(o, MethodShares)
	if err != nil {
		return Deployment{}, err
	}
	d.Threshold, d.Shares = threshold, shares
	scalar := group.Ristretto255.RandomNonZeroScalar(rand.Reader)
	defer wipe(scalar)
	polynomial := secretsharing.New(rand.Reader, uint(threshold-1), scalar)
	for _, c := range polynomial.CommitSecret() {
		b, err := c.MarshalBinary()
		if err != nil {
			return Deployment{}, fault.New(fault.Internal, creating, "a commitment cannot be written", "")
		}
		d.Commitments = append(d.Commitments, b)
	}
	out := handout{shares: make([]share, 0, shares)}
	for i, p := range polynomial.Share(uint(shares)) {
		b, err := p.Value.MarshalBinary()
		wipe(p.Value)
		if err != nil || len(b) != scalarSize {
			return Deployment{}, fault.New(fault.Internal, creating, "a share cannot be written", "")
		}
		out.shares = append(out.shares, share{deployment: d.deployment(), number: uint8(i + 1), threshold: uint8(threshold), value: [scalarSize]byte(b)})
		clear(b)
	}
	key, err := recoverKey(&d, out.shares)
	if err != nil {
		return Deployment{}, fault.New(fault.Internal, creating, "the shares give no key", "")
	}
	defer key.Destroy()
	if err := d.wrapText(key, identity); err != nil {
		return Deployment{}, err
	}
	var opening []Given
	for i := range out.shares {
		opening = append(opening, Given{Share: out.shares[i].text()})
	}
	return finish(o, d, out, opening[shares-threshold:]...)
}

func (o *Origin) source() io.Reader {
	if o.Rand == nil {
		return rand.Reader
	}
	return o.Rand
}

func begin(o Origin, method Method) (*age.HybridIdentity, Document, error) {
	identity, err := age.GenerateHybridIdentity()
	if err != nil {
		return nil, Document{}, fault.New(fault.Internal, creating, "no identity could be made", "")
	}
	d := Document{
		Schema: Schema, Generation: 1, Method: method, Recipient: identity.Recipient().String(), Created: o.Now.UTC().Truncate(time.Second), Software: o.Software,
	}
	if before := o.Replaces; before != nil {
		if before.Generation >= maxGeneration {
			return nil, Document{}, fault.New(fault.Internal, creating, "there are no more generations", "")
		}
		d.Generation, d.Created, d.Software = before.Generation+1, before.Created, before.Software
	}
	d.Store = storeName(d.Generation)
	return identity, d, nil
}

func (d *Document) wrapText(key secret.Key, identity *age.HybridIdentity) error {
	text := []byte(identity.String())
	defer clear(text)
	return d.wrap(key, text)
}

// finish draws the root key and seals it. A deployment that cannot be opened
// again with what is handed out is not handed out.
func finish(o Origin, d Document, out handout, opening ...Given) (Deployment, error) {
	root, err := secret.Generate(o.source())
	if err != nil {
		return Deployment{}, fault.Wrap(fault.Internal, creating, err, "")
	}
	fail := func(err error) (Deployment, error) {
		root.Destroy()
		return Deployment{}, err
	}
	if d, err = d.seal(root); err != nil {
		return fail(err)
	}
	if err := d.check(); err != nil {
		return fail(fault.Wrap(fault.Internal, creating, err, ""))
	}
	u := NewUnsealer(d)
	defer u.Reset()
	for i, given := range opening {
		again, complete, err := u.Give(given)
		if err != nil || complete != (i == len(opening)-1) || complete && !again.Equal(root) {
			return fail(fault.New(fault.Internal, creating, "what was made does not open again", "try again; if it persists, this build is broken"))
		}
		if complete {
			again.Destroy()
		}
	}
	return Deployment{Document: d, Root: root, Handout: newHandout(out)}, nil
}

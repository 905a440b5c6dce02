package custody

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"filippo.io/age"

	"tarn/keys/fault"
)

const redacted = "[redacted]"

// Identity opens what is sealed to a deployment's recipient. That of this
// package works in memory; one in a hardware module would do the same.
type Identity interface {
	// Recipient returns the public half, as root.json names it.
	Recipient() string
	// OpenStream returns what was sealed. Reading to its end shows that nothing
	// was changed or cut off; what is read before may be used only after.
	OpenStream(sealed io.Reader) (io.Reader, error)
	// Forget ends the identity's use, and removes what can be removed of it.
	Forget()
}

// Seal returns a writer to something that only a deployment's custody identity
// opens. It must be closed.
func Seal(w io.Writer, recipient string) (io.WriteCloser, error) {
	const doing = "sealing to the deployment's recipient"
	to, err := age.ParseHybridRecipient(recipient)
	if err != nil {
		return nil, fault.New(fault.Usage, doing, "it is not a hybrid age recipient", "give the member recipient of "+FileName)
	}
	sealed, err := age.Encrypt(w, to)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "")
	}
	return sealed, nil
}

// inMemory is an identity in memory. The closure keeps it from fmt, which would
// reach age's fields by reflection.
type inMemory struct {
	recipient string
	get       func() *age.HybridIdentity
	forget    func()
}

func newInMemory(identity *age.HybridIdentity) *inMemory {
	return &inMemory{
		recipient: identity.Recipient().String(),
		get:       func() *age.HybridIdentity { return identity },
		forget:    func() { identity = nil },
	}
}

func (i *inMemory) Recipient() string { return i.recipient }

func (i *inMemory) OpenStream(sealed io.Reader) (io.Reader, error) {
	const doing = "opening what was sealed"
	identity := i.get()
	if identity == nil {
		return nil, fault.New(fault.Internal, doing, "the identity was forgotten", "unseal again")
	}
	stream, err := age.Decrypt(sealed, identity)
	var other *age.NoIdentityMatchError
	if errors.As(err, &other) {
		return nil, wrongIdentity("this was sealed to another")
	}
	if err != nil { // its text may hold something of what was read
		return nil, fault.New(fault.Usage, doing, "it is not sealed by age, is damaged, or cannot be read", "give the file as it was written")
	}
	return stream, nil
}

// Forget lets go of the identity. age gives no way to overwrite it.
func (i *inMemory) Forget() { i.forget() }

func (i *inMemory) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }
func (i *inMemory) LogValue() slog.Value       { return slog.StringValue(redacted) }
func (i *inMemory) MarshalText() ([]byte, error) {
	return nil, errors.New("custody: refusing to marshal")
}

func wrongIdentity(wrong string) error {
	return &fault.Error{Kind: fault.Disagreement, Doing: "checking the custody identity", Wrong: wrong, Next: "give the identity of this deployment", Cause: ErrIdentity}
}

// parseIdentity reads an identity file: one hybrid identity, with comments, as
// age writes it. The error repeats nothing of it.
func parseIdentity(content []byte) (*inMemory, error) {
	refuse := func(wrong string) (*inMemory, error) {
		return nil, &fault.Error{Kind: fault.Usage, Doing: "reading the custody identity", Wrong: wrong, Next: "give the identity file as it was handed out", Cause: ErrIdentity}
	}
	if len(content) > maxDocument {
		return refuse("it is longer than 64 KiB")
	}
	found, err := age.ParseIdentities(bytes.NewReader(content))
	if err != nil { // its text may hold a character of the identity
		return refuse("it is not an identity, or not whole")
	}
	hybrid, ok := found[0].(*age.HybridIdentity)
	if len(found) != 1 || !ok {
		return refuse("it is not one hybrid identity (AGE-SECRET-KEY-PQ-1...)")
	}
	return newInMemory(hybrid), nil
}

// Package custody keeps a key holder's root key sealed, and opens it for those
// who hold the deployment's custody identity: as a file, under a passphrase, or
// in shares of which a number suffices.
//
// Everything is sealed to the identity's public half, the recipient, which lies
// open in root.json. So a new root key needs nobody's share, and a backup
// nobody's passphrase. What is done with the private half lies behind
// [Identity], so that a hardware module can take its place.
//
// It promises that root.json is taken only as it was written, that what does
// not belong to the deployment is refused with a reason and changes nothing,
// and that no error and no printing holds a key, a share or a passphrase.
//
// It does not promise that memory is clean. Its own copies of secrets are
// overwritten when they have served; age, circl and argon2 make copies that it
// cannot reach (an identity's text and scalars, polynomials, the blocks of a
// derivation), and so does Go with every string and every buffer that grows.
// They are left to the garbage collector: a key holder's process allows no core
// dump and no debugger, and its machine no swap in the clear.
//
// Randomness of identities, shares and streams is the operating system's: age
// and circl take no other.
package custody

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"filippo.io/age"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/secret"
)

// Schema is the schema member of root.json.
const Schema = "tarn.keyholder-root/1"

// FileName is the document's name in a key holder's folder.
const FileName = "root.json"

// Method says how the custody identity is held.
type Method string

// The methods.
const (
	MethodIdentity   Method = "identity"   // as a file
	MethodPassphrase Method = "passphrase" // sealed under a passphrase
	MethodShares     Method = "shares"     // sealed under a key in m-of-n shares
)

// What is refused, for errors.Is. Each comes in a [fault.Error] that says what
// to do.
var (
	ErrDocument       = errors.New("custody: root.json is damaged")
	ErrMethod         = errors.New("custody: not what this deployment is unsealed with")
	ErrIdentity       = errors.New("custody: wrong identity")
	ErrPassphrase     = errors.New("custody: wrong passphrase")
	ErrShareMistyped  = errors.New("custody: mistyped share")
	ErrShareForeign   = errors.New("custody: share of another deployment")
	ErrShareWrong     = errors.New("custody: wrong share")
	ErrShareDuplicate = errors.New("custody: share given already")
)

// Limits of root.json, so that a hostile one costs nothing.
const (
	maxDocument   = 1 << 16 // bytes
	maxGeneration = 1 << 40
	maxSoftware   = 200  // bytes
	maxWrapped    = 1024 // bytes
	maxSealed     = 8192 // bytes
)

// Document is root.json. It holds nothing secret that is not sealed.
type Document struct {
	Schema      string    `json:"schema"`
	Generation  uint64    `json:"generation"` // of the root key: from 1
	Store       string    `json:"store"`      // the folder of the generation's store: store.GENERATION
	Method      Method    `json:"method"`
	Recipient   string    `json:"recipient"`            // age1pq1...
	Argon2      *Argon2   `json:"argon2,omitzero"`      // of MethodPassphrase
	Threshold   int       `json:"threshold,omitzero"`   // of MethodShares: how many shares open
	Shares      int       `json:"shares,omitzero"`      // of MethodShares: how many there are
	Commitments [][]byte  `json:"commitments,omitzero"` // of MethodShares: Feldman's, threshold of them, ristretto255
	Wrapped     []byte    `json:"wrapped,omitzero"`     // the identity, sealed under the passphrase's or the shared key
	Sealed      []byte    `json:"sealed"`               // the root key and its MAC over all other members, age to the recipient
	Created     time.Time `json:"created"`              // of the deployment
	Software    string    `json:"software"`             // what made the deployment
}

// Parse reads root.json. It takes the bytes that Encode gives and no others. No
// error repeats a value.
func Parse(document []byte) (Document, error) {
	refuse := func(wrong string) (Document, error) { return Document{}, damaged(wrong) }
	if len(document) > maxDocument {
		return refuse("it is longer than 64 KiB")
	}
	var d Document
	if err := keys.DecodeStrict(document, &d); err != nil {
		return refuse(err.Error())
	}
	if err := d.check(); err != nil {
		return refuse(err.Error())
	}
	written, err := d.Encode()
	if err != nil || !bytes.Equal(written, document) {
		return refuse("it is not written as the key holder writes it")
	}
	return d, nil
}

func damaged(wrong string) error {
	return &fault.Error{Kind: fault.Usage, Doing: "reading " + FileName, Wrong: wrong, Next: "restore it, with the store, from the newest backup", Cause: ErrDocument}
}

// check refuses what no deployment has. The errors name members, not values.
func (d *Document) check() error {
	switch {
	case d.Schema != Schema:
		return fmt.Errorf("member schema is not %q", Schema)
	case d.Generation == 0 || d.Generation > maxGeneration:
		return errors.New("member generation is out of range")
	case d.Store != storeName(d.Generation):
		return errors.New("member store is not the folder of the generation")
	case len(d.Sealed) == 0 || len(d.Sealed) > maxSealed:
		return errors.New("member sealed is empty or too long")
	case d.Created.IsZero():
		return errors.New("member created is missing")
	case len(d.Software) > maxSoftware:
		return errors.New("member software is too long")
	case (d.Method == MethodPassphrase) != (d.Argon2 != nil):
		return errors.New("member argon2 does not agree with member method")
	case d.Method != MethodShares && (d.Threshold != 0 || d.Shares != 0 || len(d.Commitments) > 0):
		return errors.New("members threshold, shares and commitments do not agree with member method")
	case (d.Method == MethodIdentity) != (len(d.Wrapped) == 0) || len(d.Wrapped) > maxWrapped:
		return errors.New("member wrapped does not agree with member method, or is too long")
	}
	if _, err := age.ParseHybridRecipient(d.Recipient); err != nil {
		return errors.New("member recipient is not a hybrid age recipient")
	}
	switch d.Method {
	case MethodIdentity:
		return nil
	case MethodPassphrase:
		return d.Argon2.check()
	case MethodShares:
		if err := checkThreshold(d.Threshold, d.Shares); err != nil {
			return fmt.Errorf("members threshold and shares: %w", err)
		}
		_, err := d.commitments()
		return err
	default:
		return errors.New("member method is none of identity, passphrase and shares")
	}
}

// Encode returns root.json.
func (d *Document) Encode() ([]byte, error) { return keys.Encode(d) }

// Read reads root.json of a key holder's folder. A file that others than its
// owner may use is refused: who can replace it can replace the deployment.
func Read(dir string) (Document, error) {
	b, err := keys.ReadSecret(filepath.Join(dir, FileName))
	if err != nil {
		return Document{}, err
	}
	return Parse(b)
}

// Write writes root.json into a key holder's folder: complete, in one step, and
// on the disk when it returns, the folder's entry included. What follows may
// remove what the document before spoke of.
func Write(dir string, d Document) error {
	doing := "writing " + filepath.Join(dir, FileName)
	b, err := d.Encode()
	if err != nil {
		return fault.New(fault.Internal, doing, "the document could not be made", "")
	}
	if _, err := Parse(b); err != nil {
		return fault.New(fault.Internal, doing, "the document would not be read again", "")
	}
	if err := keys.WriteFile(filepath.Join(dir, FileName), b); err != nil {
		return fault.Wrap(fault.Internal, doing, err, "see that the folder can be written and has space")
	}
	if err := keys.SyncFolder(dir); err != nil {
		return fault.Wrap(fault.Internal, doing, err, "see that the disk is well: the file may not outlast a power cut")
	}
	return nil
}

// WriteSecret writes a new file for its owner only, complete or not at all. One
// that is there is not replaced: what was handed out cannot be made again.
func WriteSecret(path string, content []byte) error {
	doing := "writing " + path
	if _, err := os.Lstat(path); err == nil {
		return fault.New(fault.Usage, doing, "it exists already, and what it holds may not be had again", "choose another path, or move it away first")
	}
	if err := keys.WriteFile(path, content); err != nil {
		return fault.Wrap(fault.Internal, doing, err, "choose a folder that can be written")
	}
	return nil
}

func storeName(generation uint64) string { return "store." + strconv.FormatUint(generation, 10) }

// IsStore reports whether a folder's name is that of some generation's store.
func IsStore(name string) bool {
	return regexp.MustCompile(`^store\.[1-9][0-9]{0,12}$`).MatchString(name)
}

// deploymentSize is how much of the recipient's digest names a deployment.
const deploymentSize = 8

func (d *Document) deployment() (id [deploymentSize]byte) {
	digest := sha256.Sum256([]byte(d.Recipient))
	copy(id[:], digest[:])
	return id
}

// Deployment returns what tells deployments apart, and the custody of one from
// that which replaced it, as shares carry it: the first 8 bytes of the SHA-256
// of the recipient's text, in hex.
func (d *Document) Deployment() string {
	id := d.deployment()
	return hex.EncodeToString(id[:])
}

// custodyPart is all that says how the identity is held, in one layout.
func (d *Document) custodyPart() []byte {
	part := keys.LP(keys.Text("tarn/custody-identity/v1"), keys.Text(string(d.Method)), keys.Text(d.Recipient), keys.U32(uint32(d.Threshold)), keys.U32(uint32(d.Shares)))
	if a := d.Argon2; a != nil {
		part = keys.AppendLP(part, keys.U32(a.Time), keys.U32(a.MemoryKiB), keys.U32(uint32(a.Threads)), a.Salt)
	}
	return keys.AppendLP(part, d.Commitments...)
}

// mac is the root key's MAC over every member but the sealed one. Anybody can
// seal to the recipient; only who knows the root key can make this.
func (d *Document) mac(root secret.Key) secret.Key {
	custody := sha256.Sum256(d.custodyPart())
	return root.Derive(keys.LP(keys.Text("tarn/keyholder-root/v1"), keys.Text(d.Schema), binary.BigEndian.AppendUint64(nil, d.Generation), keys.Text(d.Store),
		custody[:], d.Wrapped, keys.Text(d.Created.Format(time.RFC3339Nano)), keys.Text(d.Software)))
}

// seal returns d with a root key sealed in it.
func (d Document) seal(root secret.Key) (Document, error) {
	const doing = "sealing the root key"
	var out bytes.Buffer
	w, err := Seal(&out, d.Recipient)
	if err != nil {
		return Document{}, err
	}
	var plain [2 * secret.Size]byte
	defer clear(plain[:])
	root.Use(func(b *[secret.Size]byte) { copy(plain[:], b[:]) })
	d.mac(root).Use(func(b *[secret.Size]byte) { copy(plain[secret.Size:], b[:]) })
	_, err = w.Write(plain[:])
	if err := errors.Join(err, w.Close()); err != nil {
		return Document{}, fault.New(fault.Internal, doing, "it could not be encrypted", "")
	}
	d.Sealed = out.Bytes()
	return d, nil
}

// Rotate returns the document of the following generation, with a new root key
// sealed to the same recipient: nobody's share is needed. d must have been
// opened: of a document that was not, nobody knows whose recipient it names.
func (d Document) Rotate(root secret.Key) (Document, error) {
	if d.Generation >= maxGeneration {
		return Document{}, fault.New(fault.Internal, "changing the root key", "there are no more generations", "")
	}
	d.Generation++
	d.Store = storeName(d.Generation)
	d.Commitments = slices.Clone(d.Commitments)
	return d.seal(root)
}

// Open returns the root key, if the identity is the deployment's and no member
// of the document was changed.
func (d Document) Open(identity Identity) (secret.Key, error) {
	if err := d.check(); err != nil {
		return secret.Key{}, damaged(err.Error())
	}
	if identity.Recipient() != d.Recipient {
		return secret.Key{}, wrongIdentity("it is another deployment's")
	}
	stream, err := identity.OpenStream(bytes.NewReader(d.Sealed))
	if err != nil {
		return secret.Key{}, damaged("the sealed root key does not open")
	}
	var plain [2*secret.Size + 1]byte
	defer clear(plain[:])
	n, err := io.ReadFull(stream, plain[:])
	if !errors.Is(err, io.ErrUnexpectedEOF) || n != 2*secret.Size {
		return secret.Key{}, damaged("the sealed root key does not open")
	}
	root := secret.New([secret.Size]byte(plain[:secret.Size]))
	mac := d.mac(root)
	defer mac.Destroy()
	if !mac.Equal(secret.New([secret.Size]byte(plain[secret.Size : 2*secret.Size]))) {
		root.Destroy()
		return secret.Key{}, damaged("a member was changed, or the sealed root key is another generation's")
	}
	return root, nil
}

package custody

import (
	"bytes"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"tarn/keys/fault"
	"tarn/keys/secret"
)

// Argon2 are the parameters of argon2id (RFC 9106) for a passphrase.
type Argon2 struct {
	Time      uint32 `json:"time"`       // passes: 1 to 16
	MemoryKiB uint32 `json:"memory_kib"` // 19,456 (19 MiB) to 1,048,576 (1 GiB)
	Threads   uint8  `json:"threads"`    // lanes: 1 to 16
	Salt      []byte `json:"salt"`       // 16 bytes
}

// DefaultArgon2 returns the second recommendation of RFC 9106, section 4, for
// machines that cannot spare 2 GiB: 3 passes over 64 MiB in 4 lanes.
func DefaultArgon2() Argon2 { return Argon2{Time: 3, MemoryKiB: 64 << 10, Threads: 4} }

const (
	saltSize         = 16
	maxTime          = 16
	minMemoryKiB     = 19 << 10
	maxMemoryKiB     = 1 << 20
	maxThreads       = 16
	minPassphrase    = 16   // characters
	minDistinct      = 6    // characters that differ
	maxPassphrase    = 1024 // bytes
	argon2OutOfRange = "the parameters of argon2 are out of range: time 1 to 16, memory_kib 19456 to 1048576, threads 1 to 16, salt 16 bytes"
)

func (a *Argon2) check() error {
	if a.Time < 1 || a.Time > maxTime || a.MemoryKiB < minMemoryKiB || a.MemoryKiB > maxMemoryKiB || a.Threads < 1 || a.Threads > maxThreads || len(a.Salt) != saltSize {
		return errors.New(argon2OutOfRange)
	}
	return nil
}

// key derives the key of a passphrase, which is in the form that normal gives.
func (a *Argon2) key(passphrase []byte) secret.Key {
	derived := argon2.IDKey(passphrase, a.Salt, a.Time, a.MemoryKiB, a.Threads, secret.Size)
	defer clear(derived)
	return secret.New([secret.Size]byte(derived))
}

// normal returns a passphrase in the one form (Unicode NFC) that every keyboard
// gives, without the end of its line. The caller clears it.
func normal(passphrase []byte) ([]byte, error) {
	refuse := func(wrong string) ([]byte, error) {
		return nil, &fault.Error{Kind: fault.Usage, Doing: "reading the passphrase", Wrong: wrong, Next: "type it again", Cause: ErrPassphrase}
	}
	passphrase = bytes.TrimSuffix(bytes.TrimSuffix(passphrase, []byte("\n")), []byte("\r"))
	switch {
	case len(passphrase) > maxPassphrase:
		return refuse(fmt.Sprintf("it is longer than %d bytes", maxPassphrase))
	case !utf8.Valid(passphrase) || bytes.ContainsFunc(passphrase, unicode.IsControl):
		return refuse("it holds control characters, or is not UTF-8")
	}
	return norm.NFC.Append(make([]byte, 0, 2*len(passphrase)), passphrase...), nil
}

// strongEnough refuses a new passphrase that is soon found.
func strongEnough(passphrase []byte) error {
	distinct := map[rune]bool{}
	for _, r := range string(passphrase) {
		distinct[r] = true
	}
	if utf8.RuneCount(passphrase) < minPassphrase || len(distinct) < minDistinct {
		return &fault.Error{
			Kind: fault.Usage, Doing: "choosing the passphrase", Wrong: fmt.Sprintf("it has fewer than %d characters, or fewer than %d different ones", minPassphrase, minDistinct),
			Next: "choose a longer one, such as six words drawn at random", Cause: ErrPassphrase,
		}
	}
	return nil
}

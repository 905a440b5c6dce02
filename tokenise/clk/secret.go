package clk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"unicode/utf8"

	"tarn/keys"
	"tarn/keys/fault"
)

// Secret is the text that the parties of a linkage share. Unlike a
// keys/secret.Key it has any length, because people choose it. The zero Secret
// is invalid.
//
// The bytes sit behind a closure, which prints as an address only.
type Secret struct {
	_   [0]func() // not comparable: == would not be constant-time
	get func() []byte
}

const redacted = "[redacted]"

// maxSecretBytes bounds what is read as a secret.
const maxSecretBytes = 1 << 16

// NewSecret returns a Secret of a copy of these bytes: UTF-8, at least one.
func NewSecret(text []byte) (Secret, error) {
	switch {
	case len(text) == 0:
		return Secret{}, errors.New("it is empty")
	case !utf8.Valid(text):
		return Secret{}, errors.New("it is not UTF-8")
	case bytes.HasPrefix(text, []byte("\ufeff")):
		return Secret{}, errors.New("it begins with a byte order mark, which would be part of the secret")
	}
	kept := bytes.Clone(text)
	return Secret{get: func() []byte { return kept }}, nil
}

// ReadSecretFile reads the secret that a file holds, all of it but one line end
// (LF or CRLF) where it ends in one: anonlink takes the secret as an argument,
// which has none. A file that anyone but its owner can read is refused. Errors
// are of kind [fault.Usage] and hold no byte of the secret.
func ReadSecretFile(path string) (Secret, error) {
	doing := "reading the secret file " + path
	next := "give a file that this user can read with --secret-file"
	text, err := keys.ReadPrivate(path, keys.Private{Doing: doing, Next: next, Known: "agree a new secret", Limit: maxSecretBytes})
	if err != nil {
		return Secret{}, err
	}
	defer clear(text)
	if len(text) > maxSecretBytes {
		return Secret{}, fault.New(fault.Usage, doing, "it is too long for a secret", next)
	}
	text = withoutLineEnd(text)
	if len(text) > 0 && bytes.IndexByte([]byte("\r\n"), text[len(text)-1]) >= 0 {
		// A shell's $(cat FILE) drops all line ends: one side would have another secret.
		return Secret{}, fault.New(fault.Usage, doing, "it ends in more than one line end", "write the secret as one line of UTF-8")
	}
	secret, err := NewSecret(text)
	if err != nil {
		return Secret{}, fault.Wrap(fault.Usage, doing, err, "write the secret as one line of UTF-8")
	}
	return secret, nil
}

// withoutLineEnd takes one line end away.
func withoutLineEnd(text []byte) []byte {
	text, found := bytes.CutSuffix(text, []byte("\n"))
	if found {
		text = bytes.TrimSuffix(text, []byte("\r"))
	}
	return text
}

// Format implements [fmt.Formatter]; it prints a fixed text for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements [slog.LogValuer] with a fixed text.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText refuses: a secret is never written.
func (s Secret) MarshalText() ([]byte, error) { return nil, errors.New("clk: refusing to marshal") }

package keys

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/btcsuite/btcd/btcutil/bech32"

	"tarn/keys/secret"
)

// TokenSize is the length of a token's value in bytes.
const TokenSize = 32

// Scheme numbers of the text form, specification (f).
const (
	SchemeNoKeyedHash uint8 = 1
	SchemeNoOblivious uint8 = 2
	SchemeNoRFC9497   uint8 = 3
	SchemeNoRelease   uint8 = 4
)

// Token is a pseudonym with what it needs to be read on its own.
type Token struct {
	Scheme     uint8
	DomainNo   uint32
	TokenEpoch uint16
	Value      [TokenSize]byte
}

const (
	tokenPrefix     = "tarn"
	tokenTextLength = 74
	tokenPayload    = 1 + 4 + 2 + TokenSize
)

// String returns the text form of specification (f): Bech32m (BIP-350),
// 74 characters, lower case.
func (t Token) String() string {
	payload := make([]byte, 0, tokenPayload)
	payload = append(payload, t.Scheme)
	payload = binary.BigEndian.AppendUint32(payload, t.DomainNo)
	payload = binary.BigEndian.AppendUint16(payload, t.TokenEpoch)
	payload = append(payload, t.Value[:]...)
	groups, err := bech32.ConvertBits(payload, 8, 5, true)
	if err != nil {
		panic("keys: a token's payload has a fixed size and always converts")
	}
	text, err := bech32.EncodeM(tokenPrefix, groups)
	if err != nil {
		panic("keys: a token's payload has a fixed size and always encodes")
	}
	return text
}

// ErrToken says that a text is not a token's text form; the text itself is
// not repeated.
var ErrToken = errors.New("not a token: a token is 74 characters that begin with tarn1, all lower or all upper case")

// ParseToken reads the text form. Lower case and all upper case are accepted;
// mixed case, other lengths, a wrong checksum, an unknown scheme and non-zero
// padding are [ErrToken].
func ParseToken(text string) (Token, error) {
	if len(text) != tokenTextLength || (strings.ToLower(text) != text && strings.ToUpper(text) != text) {
		return Token{}, ErrToken
	}
	prefix, groups, version, err := bech32.DecodeGeneric(text)
	if err != nil || prefix != tokenPrefix || version != bech32.VersionM {
		return Token{}, ErrToken
	}
	payload, err := bech32.ConvertBits(groups, 5, 8, false) // refuses non-zero padding
	if err != nil || len(payload) != tokenPayload {
		return Token{}, ErrToken
	}
	t := Token{Scheme: payload[0], DomainNo: binary.BigEndian.Uint32(payload[1:]), TokenEpoch: binary.BigEndian.Uint16(payload[5:])}
	if t.Scheme < SchemeNoKeyedHash || t.Scheme > SchemeNoRelease {
		return Token{}, ErrToken
	}
	copy(t.Value[:], payload[7:])
	return t, nil
}

// CheckValueSize is the length of a key check value in bytes.
const CheckValueSize = 16

// TokenKCV returns the key check value of a keyed-hash token key K_tok, in
// hex: HMAC(K_tok, LP("tarn/kcv/v1"))[0:16], specification (d).
func TokenKCV(kTok secret.Key) string {
	var text string
	kTok.Derive(LP(Text("tarn/kcv/v1"))).Use(func(b *[secret.Size]byte) { text = hex.EncodeToString(b[:CheckValueSize]) })
	return text
}

// PublicKCV returns the key check value of an evaluated scheme's token key, in hex, of
// its public key: SHA-256(LP("tarn/kcv/v1", K))[0:16], specification (d).
func PublicKCV(public []byte) string {
	sum := sha256.Sum256(LP(Text("tarn/kcv/v1"), public))
	return hex.EncodeToString(sum[:CheckValueSize])
}

// SchemeNo returns the number of a scheme's name in the text form.
func SchemeNo(name string, release bool) (uint8, error) {
	switch {
	case release:
		return SchemeNoRelease, nil
	case name == SchemeKeyedHash:
		return SchemeNoKeyedHash, nil
	case name == SchemeOblivious:
		return SchemeNoOblivious, nil
	case name == SchemeRFC9497:
		return SchemeNoRFC9497, nil
	}
	return 0, fmt.Errorf("keys: unknown token scheme")
}

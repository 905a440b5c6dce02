package custody

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/btcsuite/btcd/btcutil/bech32"
	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/secretsharing"

	"tarn/keys/fault"
)

// The text form of a share: Bech32m (BIP-350) of deployment, number, threshold
// and value, 85 characters. Its checksum finds every mistake in up to four
// characters, and one in a single character is placed.
const (
	sharePrefix     = "tarn-share"
	scalarSize      = 32
	sharePayload    = deploymentSize + 1 + 1 + scalarSize
	shareTextLength = len(sharePrefix) + 1 + (8*sharePayload+4)/5 + 6

	maxShares = 32
	// bech32Digits is the alphabet of Bech32: no 1, b, i or o.
	bech32Digits = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
)

// share is one share of the key under which the identity is sealed.
type share struct {
	deployment        [deploymentSize]byte
	number, threshold uint8
	value             [scalarSize]byte // of the polynomial at number
}

func checkThreshold(threshold, shares int) error {
	if threshold < 2 || threshold > shares || shares > maxShares {
		return fmt.Errorf("at least 2 shares must be needed, no more than there are, and there may be %d", maxShares)
	}
	return nil
}

func (s *share) text() string {
	payload := append(s.deployment[:len(s.deployment):len(s.deployment)], s.number, s.threshold)
	payload = append(payload, s.value[:]...)
	defer clear(payload)
	groups, err := bech32.ConvertBits(payload, 8, 5, true)
	if err != nil {
		panic("custody: a share has a fixed size and always converts")
	}
	defer clear(groups)
	text, err := bech32.EncodeM(sharePrefix, groups)
	if err != nil {
		panic("custody: a share has a fixed size and always encodes")
	}
	return text
}

func shareFault(kind fault.Kind, wrong, next string, cause error) error {
	return &fault.Error{Kind: kind, Doing: "reading the share", Wrong: wrong, Next: next, Cause: cause}
}

// parseShare reads a share as people type it: upper or lower case, blanks
// anywhere. The error says what is wrong and where, as far as that can be
// known, and repeats nothing of the share.
func parseShare(text string) (s share, err error) {
	mistyped := func(wrong string) (share, error) {
		return share{}, shareFault(fault.Usage, wrong, "compare it with the share that was handed out, blanks not counted", ErrShareMistyped)
	}
	if len(text) > 4*shareTextLength {
		return mistyped("it is too long")
	}
	typed := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, text)
	if !strings.HasPrefix(typed, sharePrefix+"1") {
		return mistyped("it does not begin with " + sharePrefix + "1")
	}
	place := len(sharePrefix) + 1
	for _, r := range typed[place:] {
		if place++; r > unicode.MaxASCII || !strings.ContainsRune(bech32Digits, r) {
			return mistyped(fmt.Sprintf("character %d is one that no share holds", place))
		}
	}
	if len(typed) != shareTextLength {
		return mistyped(fmt.Sprintf("it has %d characters, a share has %d", len(typed), shareTextLength))
	}
	s, ok := decodeShare(typed)
	if ok {
		return s, nil
	}
	if at := mistypedAt(typed); at >= 0 {
		return mistyped(fmt.Sprintf("character %d is mistyped", at+1))
	}
	return mistyped("more than one of its characters is mistyped")
}

func decodeShare(typed string) (s share, ok bool) {
	prefix, groups, version, err := bech32.DecodeGeneric(typed)
	if err != nil || prefix != sharePrefix || version != bech32.VersionM {
		return share{}, false
	}
	defer clear(groups)
	payload, err := bech32.ConvertBits(groups, 5, 8, false) // refuses non-zero padding
	if err != nil || len(payload) != sharePayload {
		return share{}, false
	}
	defer clear(payload)
	copy(s.deployment[:], payload)
	s.number, s.threshold = payload[deploymentSize], payload[deploymentSize+1]
	copy(s.value[:], payload[deploymentSize+2:])
	return s, true
}

// mistypedAt returns which single character would, as another, make a share of
// the text, or -1. Bech32m texts of up to 90 characters differ in five or more,
// so that there is one at most.
func mistypedAt(typed string) int {
	b := []byte(typed)
	defer clear(b)
	for i := len(sharePrefix) + 1; i < len(b); i++ {
		was := b[i]
		for _, digit := range []byte(bech32Digits) {
			b[i] = digit
			if s, ok := decodeShare(string(b)); ok {
				clear(s.value[:])
				return i
			}
		}
		b[i] = was
	}
	return -1
}

// commitments returns Feldman's commitments to the polynomial's coefficients.
func (d *Document) commitments() (secretsharing.SecretCommitment, error) {
	if len(d.Commitments) != d.Threshold {
		return nil, errors.New("member commitments is not one for each share that is needed")
	}
	var all secretsharing.SecretCommitment
	for _, b := range d.Commitments {
		e := group.Ristretto255.NewElement()
		if len(b) != scalarSize || e.UnmarshalBinary(b) != nil || e.IsIdentity() {
			return nil, errors.New("member commitments holds something else than commitments")
		}
		all = append(all, e)
	}
	return all, nil
}

// point returns a share as circl takes it. The caller wipes it.
func (s *share) point() (secretsharing.Share, error) {
	id, value := group.Ristretto255.NewScalar().SetUint64(uint64(s.number)), group.Ristretto255.NewScalar()
	if s.number == 0 || value.UnmarshalBinary(s.value[:]) != nil {
		return secretsharing.Share{}, errors.New("not a point of a polynomial")
	}
	return secretsharing.Share{ID: id, Value: value}, nil
}

// wipe overwrites a scalar, as far as circl lets it be reached.
func wipe(scalars ...group.Scalar) {
	for _, s := range scalars {
		s.SetUint64(0)
	}
}

// checkShare refuses a share that is not of this deployment, or was not made
// with its commitments.
func (d *Document) checkShare(s *share) error {
	if s.deployment != d.deployment() {
		return shareFault(fault.Disagreement, "it is a share of another deployment, or one that was replaced", "give a share of "+d.Deployment()+", which was handed out last", ErrShareForeign)
	}
	wrong := shareFault(fault.Disagreement, "it is no share of this deployment's key: it was made up, or is of a sharing that was replaced", "give the share that was handed out last", ErrShareWrong)
	if int(s.threshold) != d.Threshold || int(s.number) > d.Shares {
		return wrong
	}
	commitments, err := d.commitments()
	if err != nil {
		return damaged(err.Error())
	}
	p, err := s.point()
	if err != nil {
		return wrong
	}
	defer wipe(p.Value)
	if !secretsharing.Verify(uint(d.Threshold-1), p, commitments) {
		return wrong
	}
	return nil
}

// Package keys is the vocabulary that every party shares: projects, domains,
// epochs, tokens, the byte layout that keys are derived over, and the two files
// that carry them (project.json, keys.json). It computes no encoding and reads
// no data.
package keys

import (
	"encoding/binary"
	"regexp"

	"tarn/keys/nhsnumber"
)

// The schemes by which tokens are made.
const (
	// SchemeKeyedHash is HMAC with a leased key, specification (g).
	SchemeKeyedHash = "keyed-hash"
	// SchemeOblivious has the key holder evaluate what it cannot see, specification (h).
	SchemeOblivious = "oblivious"
	// SchemeRFC9497 is the same by the letter of RFC 9497: its tokens can be neither
	// rotated, converted nor opened.
	SchemeRFC9497 = "rfc9497"
)

// Schemes returns every scheme.
func Schemes() []string { return []string{SchemeOblivious, SchemeKeyedHash, SchemeRFC9497} }

// Evaluated reports whether a scheme's tokens are made by the key holder, of what it
// cannot see, and no key of it is ever leased.
func Evaluated(scheme string) bool { return scheme == SchemeOblivious || scheme == SchemeRFC9497 }

var (
	namePattern    = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	datasetPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)
)

// ValidName reports whether s may name a project or a domain:
// [a-z0-9][a-z0-9-]{0,31}, and no NHS number, since names stand in logs, in the
// key holder's log and on screens.
func ValidName(s string) bool { return namePattern.MatchString(s) && !nhsnumber.In(s) }

// ValidSourceDataset reports whether s may name a party's data set. Files are
// named after it, so it holds no separator and no dot, and no NHS number.
func ValidSourceDataset(s string) bool { return datasetPattern.MatchString(s) && !nhsnumber.In(s) }

// MaxPart is the longest part, in bytes, that LP can carry.
const MaxPart = 1<<16 - 1

// AppendLP appends, for each part, its length as a big-endian u16 and its
// bytes: the length-prefixed layout LP that every derivation uses.
//
// A part longer than MaxPart is a programming error and panics: callers bound
// what comes from outside.
func AppendLP(dst []byte, parts ...[]byte) []byte {
	for _, part := range parts {
		if len(part) > MaxPart {
			panic("keys: a part of a length-prefixed message is longer than 65535 bytes")
		}
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(part)))
		dst = append(dst, part...)
	}
	return dst
}

// LP returns the length-prefixed layout of parts.
func LP(parts ...[]byte) []byte { return AppendLP(nil, parts...) }

// Text returns s as a part of LP.
func Text(s string) []byte { return []byte(s) }

// U32 returns n in the layout's integer form, four bytes big-endian.
func U32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

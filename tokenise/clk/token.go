package clk

import (
	"encoding/binary"
	"hash/maphash"
	"strconv"
	"unicode/utf8"

	"tarn/tokenise/reason"
)

// featureWorker makes the filters of one feature's values. Filters are bytes,
// the first bit the most significant of the first byte, as in a CLK.
type featureWorker struct {
	normaliser
	*caches
	column uint16
	hasher hasher
	direct *direct // nil where the feature has no tokens for it
	cached int     // the number of positions that are kept of a token

	trial   trial
	looked  bool   // the value was looked up
	hash    uint64 // of the value
	place   place  // of the value in its cache
	key     []byte // the value
	padded  []byte // the text between its spaces
	starts  []int  // of the characters of padded, and its end
	token   []byte
	decimal []byte // of numbers
}

// caches are shared by the features of a worker, so that each gets as much of
// them as its values need.
type caches struct {
	seed   maphash.Seed
	values *cache // filters, by the value as it is in the table
	tokens *cache // positions, of 16 bits each, by the token
}

// Keys of the caches are at most so long, in bytes; what is longer is encoded
// anew each time.
const (
	longestValue = 44
	longestToken = 12
)

// mostCached is the number of positions that are kept of a token, if it need
// not be more for the tokens of a feature that has bitsPerToken.
const mostCached = 64

// cachedBits returns how many positions are kept of a token of the feature.
func (f *feature) cachedBits(length int) int {
	if f.ignored || length > 1<<16 {
		return 0
	}
	return max(f.perToken, min(f.perFeature, mostCached))
}

// newCaches makes caches of an eighth of so many bytes; the rest is for direct
// tables. The cache of values is small on purpose: what the processor's own cache
// does not hold takes longer to fetch than to make of tokens that are at hand.
func newCaches(s *Schema, bytes int) *caches {
	most := 0
	for i := range s.features {
		most = max(most, s.features[i].cachedBits(s.workLength()))
	}
	return &caches{seed: maphash.MakeSeed(), values: newCache(bytes/16, longestValue, filterBytes(s.workLength())), tokens: newCache(bytes/16, longestToken, 2*most)}
}

// filterBytes returns the size of a filter, which is padded to whole words.
func filterBytes(length int) int { return (length + 63) / 64 * 8 }

// lookUp is the first step of encoding a value: where it may be kept. A value
// whose tokens are at hand as fast as memory is read is not looked for.
func (f *featureWorker) lookUp(value string) {
	if f.looked = !f.quick(value); f.looked {
		f.hash = hashOf(f.seed, f.column, value)
	}
}

// quick reports whether a value is best made of its tokens.
func (f *featureWorker) quick(value string) bool {
	if value == "" {
		return f.sentinel == nil && f.format == formatString
	}
	if f.direct == nil {
		return false
	}
	if k, _ := f.share(len(value) + f.gram - 1); k >= f.direct.each {
		return false // more positions than are at hand
	}
	return f.positional || f.trial.off()
}

// addTo adds the bits of a value that was not looked up.
func (f *featureWorker) addTo(filter []byte, value string) reason.Code {
	f.key = append(f.key[:0], value...)
	text, code := f.value(f.key)
	if code == "" {
		code = f.addTokens(filter, text)
	}
	return code
}

// encode returns the filter of a value, valid until the next call, or why the
// value is refused. The value's hash and place must be set.
func (f *featureWorker) encode(value string) ([]byte, reason.Code) {
	s := at(f.values, f.place, f.column, value)
	f.trial.result(s.filled)
	if !s.filled {
		f.key = append(f.key[:0], value...)
		text, code := f.value(f.key)
		if code == "" {
			code = f.addTokens(s.value, text)
		}
		if code != "" {
			clear(s.value)
			*s.code = codeNumber(code)
		}
	}
	return s.value, codes[*s.code]
}

// addTokens sets the bits of all tokens of a text. An empty text has none.
func (f *featureWorker) addTokens(filter, text []byte) reason.Code {
	switch {
	case len(text) == 0:
	case f.numeric != nil:
		k, more := f.share(2*f.numeric.resolution + 1)
		ok := f.numeric.tokens(&f.decimal, text, func(token []byte) {
			bits := k
			if more > 0 {
				bits++
				more--
			}
			f.add(filter, token, bits)
		})
		if !ok {
			return ValueNotNumber
		}
	case f.direct != nil && ascii(text):
		f.addASCII(filter, text)
	case f.gram > 0:
		f.addGrams(filter, text)
	default: // exact
		f.add(filter, text, f.mostBits())
	}
	return ""
}

// addGrams adds the n-grams of a text with n-1 spaces on both sides, by code
// point.
func (f *featureWorker) addGrams(filter, text []byte) {
	f.padded = appendSpaces(f.padded[:0], f.gram-1)
	f.padded = append(f.padded, text...)
	f.padded = appendSpaces(f.padded, f.gram-1)
	f.starts = f.starts[:0]
	for at := 0; at < len(f.padded); {
		f.starts = append(f.starts, at)
		_, n := utf8.DecodeRune(f.padded[at:])
		at += n
	}
	f.starts = append(f.starts, len(f.padded))
	n := len(f.starts) - f.gram
	k, more := f.share(n)
	for i := range n {
		token := f.padded[f.starts[i]:f.starts[i+f.gram]]
		if f.positional {
			f.token = strconv.AppendInt(f.token[:0], int64(i+1), 10)
			f.token = append(f.token, ' ')
			f.token = append(f.token, token...)
			token = f.token
		}
		bits := k
		if i < more {
			bits++
		}
		f.add(filter, token, bits)
	}
}

func appendSpaces(b []byte, n int) []byte {
	for range n {
		b = append(b, ' ')
	}
	return b
}

// share returns the number of bits of each of n tokens, and how many of them,
// the first, get one more: bitsPerFeature is divided until it is used up. A
// token may get none.
func (f *featureWorker) share(n int) (k, more int) {
	if f.perToken > 0 {
		return f.perToken, 0
	}
	return f.perFeature / n, f.perFeature % n
}

// add sets the first k bits of a token.
func (f *featureWorker) add(filter, token []byte, k int) {
	if k > f.cached || len(token) > longestToken {
		for _, position := range f.hasher.find(token, k) {
			setBit(filter, position)
		}
		return
	}
	s := at(f.tokens, f.tokens.find(hashOf(f.seed, f.column, token)), f.column, token)
	if !s.filled {
		for i, position := range f.hasher.find(token, f.cached) {
			binary.LittleEndian.PutUint16(s.value[2*i:], uint16(position))
		}
	}
	for positions := s.value[:2*k]; len(positions) >= 2; positions = positions[2:] {
		setBit(filter, uint32(binary.LittleEndian.Uint16(positions)))
	}
}

func setBit(filter []byte, position uint32) {
	filter[position/8] |= 0x80 >> (position % 8)
}

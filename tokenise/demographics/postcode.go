package demographics

import (
	"strings"

	"tarn/tokenise/reason"
)

// longestPostcode is the most characters of a postcode or of what stands for
// one, without blanks.
const longestPostcode = 8

// postcodeTables is pseudo_postcodes and postcode_areas.
type postcodeTables struct {
	pseudo   map[string]bool
	prefixes []string
	areas    map[string]bool
}

var postcodes = loadPostcodes()

func loadPostcodes() *postcodeTables {
	t := &postcodeTables{pseudo: map[string]bool{}, areas: map[string]bool{}}
	for _, line := range lines(TablePseudoPostcodes) {
		code, _, _ := strings.Cut(line, " : ")
		code = strings.NewReplacer(" ", "", "-", "").Replace(code)
		switch prefix, all := strings.CutSuffix(code, "*"); {
		case len(code) > longestPostcode || code != strings.ToUpper(code) || prefix == "":
			bad(TablePseudoPostcodes, line)
		case all:
			t.prefixes = append(t.prefixes, prefix)
		default:
			t.pseudo[code] = true
		}
	}
	for _, line := range lines(TablePostcodeAreas) {
		for _, area := range strings.Fields(line) {
			t.areas[area] = true
		}
	}
	return t
}

func (t *postcodeTables) isPseudo(text []byte) bool {
	for _, prefix := range t.prefixes {
		if len(text) >= len(prefix) && string(text[:len(prefix)]) == prefix {
			return true
		}
	}
	return t.pseudo[string(text)]
}

// Postcode returns a UK postcode in the form of BS 7666: upper case with one
// space before the last three characters. Blanks, hyphens and full stops in it
// do not count. A text that is a postcode as it is written stays what it is. In
// others O and 0, and I and 1, are exchanged where only the other can stand and
// a postcode of an existing area comes of it, never elsewhere.
//
// Missing and unusable values give "": with postcode_pseudo for the codes of
// the table pseudo_postcodes (no fixed abode, abroad, unknown), which say
// nothing of where somebody lives; with postcode_invalid for what fits none of
// the formats; without a code where nothing was given.
func Postcode(raw string) (string, reason.Code) {
	var memory [32]byte
	written, ok := plain(memory[:0], raw)
	if ok && len(written) == 0 {
		return "", ""
	}
	var room [longestPostcode + 1]byte
	text, fits := compact(room[:0], written)
	switch {
	case !ok || !fits:
		return "", reason.PostcodeInvalid
	case postcodes.isPseudo(text):
		return "", reason.PostcodePseudo
	case !correct(text):
		return "", reason.PostcodeInvalid
	}
	n := len(text)
	text = append(text, text[n-1])
	copy(text[n-2:], text[n-3:n])
	text[n-3] = ' '
	if string(text) == raw {
		return raw, ""
	}
	return string(text), ""
}

// compact appends the letters, in upper case, and digits of text to dst. It
// reports false for other characters than blanks, hyphens and full stops, for
// text that is too long, and for none at all.
func compact(dst, text []byte) ([]byte, bool) {
	for _, c := range text {
		switch {
		case c == ' ' || c == '-' || c == '.':
			continue
		case c >= 'a' && c <= 'z':
			c -= 'a' - 'A'
		case !digit(c):
			return dst, false
		}
		if len(dst) == longestPostcode {
			return dst, false
		}
		dst = append(dst, c)
	}
	return dst, len(dst) > 0
}

// correct makes text a postcode without its space, or reports that it is none.
func correct(text []byte) bool {
	if len(text) < 5 || len(text) > 7 {
		return false
	}
	outward, inward := text[:len(text)-3], text[len(text)-3:]
	if string(outward) == "GIR" || string(outward) == "G1R" {
		outward[1], inward[0] = 'I', toDigit(inward[0])
		return string(inward) == "0AA"
	}
	written := digit(inward[0])
	inward[0] = toDigit(inward[0])
	if !digit(inward[0]) || !inwardLetter(inward[1]) || !inwardLetter(inward[2]) {
		return false
	}
	if outwardFits(outward) {
		return written || areaExists(outward)
	}
	return correctOutward(outward)
}

// toDigit and toLetter correct a character in place where only a digit or only
// a letter can stand.
func toDigit(c byte) byte {
	switch c {
	case 'O':
		return '0'
	case 'I':
		return '1'
	}
	return c
}

func toLetter(c byte) byte {
	switch c {
	case '0':
		return 'O'
	case '1':
		return 'I'
	}
	return c
}

func letter(c byte) bool { return c >= 'A' && c <= 'Z' }

// inwardLetter accepts the letters of an inward code: all but C I K M O V, so
// that no digit there can be meant for a letter.
func inwardLetter(c byte) bool { return letter(c) && !in(c, "CIKMOV") }

func in(c byte, set string) bool { return strings.IndexByte(set, c) >= 0 }

// The letters of an outward code that may be last in their place.
const (
	thirdLetters  = "ABCDEFGHJKPSTUW"
	fourthLetters = "ABEHMNPRVWXY"
)

// outwardFormats of BS 7666 by length: A letter, 9 digit.
var outwardFormats = [5][]string{2: {"A9"}, 3: {"A99", "A9A", "AA9"}, 4: {"AA99", "AA9A"}}

// correctOutward puts O/0 and I/1 right where the formats leave one reading
// that is of an existing area. More than one, or none, is no postcode.
func correctOutward(out []byte) bool {
	var found [4]byte
	known := false
	for _, format := range outwardFormats[len(out)] {
		var memory [4]byte
		fixed := append(memory[:0], out...)
		for i, c := range fixed {
			if format[i] == '9' {
				fixed[i] = toDigit(c)
			} else {
				fixed[i] = toLetter(c)
			}
		}
		if !outwardFits(fixed) || !areaExists(fixed) {
			continue
		}
		if known && memory != found {
			return false
		}
		found, known = memory, true
	}
	copy(out, found[:])
	return known
}

// areaExists looks the first letters of a well-formed outward code up.
func areaExists(out []byte) bool {
	n := 1
	if letter(out[1]) {
		n = 2
	}
	return postcodes.areas[string(out[:n])]
}

// outwardFits reports whether an outward code has one of the formats A9, A99,
// A9A, AA9, AA99, AA9A and the letters that may stand there. Districts of two
// digits do not begin with 0.
func outwardFits(out []byte) bool {
	if !letter(out[0]) || in(out[0], "QVX") {
		return false
	}
	rest := out[1:]
	last := thirdLetters
	if letter(rest[0]) {
		if in(rest[0], "IJZ") {
			return false
		}
		rest, last = rest[1:], fourthLetters
	}
	switch len(rest) {
	case 1:
		return digit(rest[0])
	case 2:
		return digit(rest[0]) && (digit(rest[1]) && rest[0] != '0' || in(rest[1], last))
	}
	return false
}

package demographics

import (
	"strings"

	"tarn/tokenise/reason"
)

// Postcode returns a UK postcode in the form of BS 7666: upper case with one
// space before the last three characters. O and 0, and I and 1, are exchanged
// where only the other can stand, never elsewhere.
//
// Missing and unusable values give "": with postcode_pseudo for the ZZ99 codes
// of the Organisation Data Service (no fixed abode, abroad, unknown), which say
// nothing of where somebody lives; with postcode_invalid for what fits none of
// the formats; without a code where nothing was given.
func Postcode(raw string) (string, reason.Code) {
	var buffer [8]byte
	n := 0
	for _, r := range raw {
		switch {
		case r >= 'a' && r <= 'z':
			r -= 'a' - 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		case blank(r), r == '-', r == '.':
			continue
		default:
			return "", reason.PostcodeInvalid
		}
		if n == len(buffer) {
			return "", reason.PostcodeInvalid
		}
		buffer[n] = byte(r)
		n++
	}
	text := buffer[:n]
	if n == 0 {
		return "", ""
	}
	if n >= 4 && string(text[:4]) == "ZZ99" {
		return "", reason.PostcodePseudo
	}
	if n < 5 || n > 7 {
		return "", reason.PostcodeInvalid
	}
	outward, inward := text[:n-3], text[n-3:]
	if !correctInward(inward) {
		return "", reason.PostcodeInvalid
	}
	outwardText, ok := correctOutward(outward)
	if !ok {
		return "", reason.PostcodeInvalid
	}
	if outwardText == "ZZ99" {
		return "", reason.PostcodePseudo
	}
	return outwardText + " " + string(inward), ""
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

// correctInward accepts a digit and two letters that are not C I K M O V.
func correctInward(in []byte) bool {
	in[0], in[1], in[2] = toDigit(in[0]), toLetter(in[1]), toLetter(in[2])
	return digit(in[0]) && inwardLetter(in[1]) && inwardLetter(in[2])
}

func inwardLetter(c byte) bool { return letter(c) && !strings.ContainsRune("CIKMOV", rune(c)) }

// The formats of an outward code: A letter, 9 digit, and the letters that may
// be last in their place.
const (
	thirdLetters  = "ABCDEFGHJKPSTUW"
	fourthLetters = "ABEHMNPRVWXY"
)

// correctOutward returns the outward code with O/0 and I/1 put right where the
// format leaves one reading: first as it is written, then corrected. More than
// one corrected reading, or none, is no postcode.
func correctOutward(out []byte) (string, bool) {
	if string(out) == "GIR" {
		return "GIR", true
	}
	if outwardFits(string(out)) {
		return string(out), true
	}
	var found string
	for _, format := range outwardFormats {
		if len(format) != len(out) {
			continue
		}
		fixed := make([]byte, len(out))
		for i, c := range out {
			if format[i] == '9' {
				fixed[i] = toDigit(c)
			} else {
				fixed[i] = toLetter(c)
			}
		}
		if text := string(fixed); fits(text, format) && text != found {
			if found != "" {
				return "", false
			}
			found = text
		}
	}
	return found, found != ""
}

// outwardFormats of BS 7666: A9 A99 AA9 AA99 A9A AA9A.
var outwardFormats = []string{"A9", "A99", "A9A", "AA9", "AA99", "AA9A"}

func outwardFits(out string) bool {
	for _, format := range outwardFormats {
		if fits(out, format) {
			return true
		}
	}
	return false
}

func fits(out, format string) bool {
	if len(out) != len(format) {
		return false
	}
	for i := range len(out) {
		if format[i] == '9' && !digit(out[i]) || format[i] == 'A' && !letter(out[i]) {
			return false
		}
	}
	if strings.IndexByte("QVX", out[0]) >= 0 {
		return false
	}
	if format[1] == 'A' && strings.IndexByte("IJZ", out[1]) >= 0 && out != "ZZ99" {
		return false
	}
	switch format {
	case "A9A":
		return strings.IndexByte(thirdLetters, out[2]) >= 0
	case "AA9A":
		return strings.IndexByte(fourthLetters, out[3]) >= 0
	}
	return true
}

package nhsnumber

import "strings"

// In reports whether a text holds a number as people write it: ten digits, or
// three, three and four with the same separator (a blank, a hyphen, an underscore
// or a full stop) twice, with no other digit beside them, that Parse takes for the
// number of a person or of the test range. It is for texts that are to hold none,
// such as names and log lines; where a number is expected Parse is more generous.
func In[T string | []byte](text T) bool {
	for at := 0; at < len(text); at++ {
		if at > 0 && isDigit(text[at-1]) || !isDigit(text[at]) {
			continue
		}
		if n, end, ok := grouped(text[at:]); ok && (at+end == len(text) || !isDigit(text[at+end])) {
			if _, state, _ := Parse(string(n[:])); state.Identifies(true) {
				return true
			}
		}
	}
	return false
}

// grouped reads a number at the beginning of a text, and returns its length there.
func grouped[T string | []byte](text T) (n Number, length int, ok bool) {
	separator, at := byte(0), 0
	for i := range n {
		switch {
		case i == 3 && at < len(text) && strings.IndexByte(" -_.", text[at]) >= 0:
			separator = text[at]
			at++
		case i == 6 && separator != 0:
			if at >= len(text) || text[at] != separator {
				return n, 0, false
			}
			at++
		}
		if at >= len(text) || !isDigit(text[at]) {
			return n, 0, false
		}
		n[i] = text[at]
		at++
	}
	return n, at, true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

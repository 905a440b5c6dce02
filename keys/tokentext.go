package keys

import (
	"fmt"
	"strings"
)

// tokenAlphabet are the characters of Bech32 (BIP-173): 1, b, i and o are left out, which
// people confuse with others.
const tokenAlphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

// ExplainToken says what is wrong with a text that ParseToken refuses, and where, as far
// as that can be known; nil for a token. It repeats nothing of the text and mends
// nothing: the nearest token may be another patient's.
func ExplainToken(text string) error {
	if _, err := ParseToken(text); err == nil {
		return nil
	}
	trimmed := strings.TrimSpace(text)
	lower := strings.ToLower(trimmed)
	switch {
	case trimmed != text && ExplainToken(trimmed) == nil:
		return fmt.Errorf("there are blanks around it: take them away")
	case len(trimmed) != tokenTextLength:
		return fmt.Errorf("it has %d characters, and a token has %d: copy the whole of it", len(trimmed), tokenTextLength)
	case !strings.HasPrefix(lower, tokenPrefix+"1"):
		return fmt.Errorf("it does not begin with %s1, as every token does", tokenPrefix)
	case lower != trimmed && strings.ToUpper(trimmed) != trimmed:
		return fmt.Errorf("it has small and capital letters: a token is all of one kind; copy it again")
	}
	for i := len(tokenPrefix) + 1; i < len(lower); i++ {
		if !strings.ContainsRune(tokenAlphabet, rune(lower[i])) {
			return fmt.Errorf("character %d is not one that tokens have (1, b, i and o, which are easily confused with others, they have not): look at it again", i+1)
		}
	}
	if at := mistyped(lower); len(at) == 1 {
		return fmt.Errorf("one character is wrong, probably the %d%s: look at it again", at[0]+1, ordinal(at[0]+1))
	}
	for i := len(tokenPrefix) + 1; i+1 < len(lower); i++ {
		if _, err := ParseToken(lower[:i] + string(lower[i+1]) + string(lower[i]) + lower[i+2:]); err == nil {
			return fmt.Errorf("characters %d and %d were probably exchanged: look at them again", i+1, i+2)
		}
	}
	return fmt.Errorf("several characters are wrong, or it was not made by Tarn: copy it again")
}

// mistyped returns the places at which another single character would make it a token.
func mistyped(text string) (at []int) {
	for i := len(tokenPrefix) + 1; i < len(text); i++ {
		for _, c := range tokenAlphabet {
			if byte(c) == text[i] {
				continue
			}
			if _, err := ParseToken(text[:i] + string(c) + text[i+1:]); err == nil {
				at = append(at, i)
				break
			}
		}
	}
	return at
}

func ordinal(n int) string {
	switch {
	case n%100 >= 11 && n%100 <= 13:
		return "th"
	case n%10 == 1:
		return "st"
	case n%10 == 2:
		return "nd"
	case n%10 == 3:
		return "rd"
	}
	return "th"
}

// SchemeName returns the name of a scheme's number; release tokens are of no scheme of a
// domain.
func SchemeName(number uint8) string {
	switch number {
	case SchemeNoKeyedHash:
		return SchemeKeyedHash
	case SchemeNoOblivious:
		return SchemeOblivious
	case SchemeNoRFC9497:
		return SchemeRFC9497
	case SchemeNoRelease:
		return "release"
	}
	return ""
}

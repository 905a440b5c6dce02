package clk

import (
	"errors"
	"strings"
	"unicode/utf8"
)

const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// lenientBase64 does base64.b64decode(text), which skips characters that are
// not of the alphabet and ends at the first complete padding: a salt pasted
// with line ends, or one of the URL alphabet, gives the bytes it gives clkhash.
func lenientBase64(text string) ([]byte, error) {
	var decoded []byte
	var group uint
	place, pads := 0, 0
	if strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return nil, errors.New("holds a character that is not ASCII")
	}
	for i := range len(text) {
		if text[i] == '=' {
			if place >= 2 {
				if pads++; place+pads >= 4 {
					return decoded, nil
				}
			}
			continue
		}
		value := strings.IndexByte(base64Alphabet, text[i])
		if value < 0 {
			continue
		}
		pads = 0
		group = group<<6 | uint(value)
		if place > 0 {
			decoded = append(decoded, byte(group>>(6-2*place)))
		}
		place = (place + 1) % 4
	}
	if place != 0 {
		return nil, errors.New("is not base64: it ends too soon")
	}
	return decoded, nil
}

package encode

import (
	"crypto/sha256"
	"strconv"
)

// longToken returns what stands for a token of more than 14 bytes: the first
// 14 bytes of its SHA-256.
func longToken(token []byte) []byte {
	sum := sha256.Sum256(token)
	return sum[:maxToken]
}

// tokens calls yield with each token of a value. A token may come twice: a
// filter is a set. The slice is reused.
func (w *Worker) tokens(f *Field, value *Value, yield func(token []byte)) {
	switch f.Tokens {
	case TokensBigrams:
		for _, part := range value.Parts {
			w.bigrams(part, yield)
		}
	case TokensWords:
		for _, part := range value.Parts {
			w.token = append(w.token[:0], part...)
			yield(w.token)
		}
	case TokensPostcode:
		w.postcode(value.Parts[0], yield)
	case TokensPositional:
		w.positional(value.Parts[0], yield)
	case TokensDate:
		w.date(value, yield)
	}
}

// bigrams gives the bigrams of _part_.
func (w *Worker) bigrams(part string, yield func([]byte)) {
	before := byte('_')
	for i := range len(part) {
		w.token = append(w.token[:0], before, part[i])
		yield(w.token)
		before = part[i]
	}
	w.token = append(w.token[:0], before, '_')
	yield(w.token)
}

// postcode gives o+outward code, a<i><c> for each outward and b<i><c> for each
// inward character, i from 0.
func (w *Worker) postcode(text string, yield func([]byte)) {
	space := len(text) - 4 // one space before the last three
	outward, inward := text[:space], text[space+1:]
	w.token = append(append(w.token[:0], 'o'), outward...)
	yield(w.token)
	w.characters('a', outward, yield)
	w.characters('b', inward, yield)
}

// positional gives the whole code as w+code and c<i><c> for each character, i
// from 0.
func (w *Worker) positional(text string, yield func([]byte)) {
	w.token = append(append(w.token[:0], 'w'), text...)
	yield(w.token)
	w.characters('c', text, yield)
}

func (w *Worker) characters(letter byte, text string, yield func([]byte)) {
	for i := range len(text) {
		w.token = strconv.AppendInt(append(w.token[:0], letter), int64(i), 10)
		w.token = append(w.token, text[i])
		yield(w.token)
	}
}

// date gives d22 m10 y1973 e197 l3 for 1973-10-22: day, month, year, decade
// and the year's last digit.
func (w *Worker) date(value *Value, yield func([]byte)) {
	d := value.Date
	for _, part := range []struct {
		letter byte
		number int
	}{{'d', d.Day}, {'m', d.Month}, {'y', d.Year}, {'e', d.Year / 10}, {'l', d.Year % 10}} {
		w.token = append(w.token[:0], part.letter)
		if (part.letter == 'd' || part.letter == 'm') && part.number < 10 {
			w.token = append(w.token, '0')
		}
		w.token = strconv.AppendInt(w.token, int64(part.number), 10)
		yield(w.token)
	}
}

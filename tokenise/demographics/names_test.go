package demographics_test

import (
	"testing"
	"unsafe"

	"tarn/tokenise/demographics"
)

// TestNamesForget: words that were met are remembered, the same text each time, and all
// forgotten where they are more than may be.
func TestNamesForget(t *testing.T) {
	const letters = "abcdefghij"
	var n demographics.Names
	text := func(i int) *byte {
		parts, code := n.Append(nil, "qu"+string([]byte{letters[i/10], letters[i%10]}))
		if len(parts) != 1 {
			t.Fatalf("%d parts, %s", len(parts), code)
		}
		return unsafe.StringData(parts[0])
	}
	first := text(0)
	for i := range 100 {
		text(i)
	}
	if n.Forget(100); text(0) != first {
		t.Error("of 100 words that may be 100 one is forgotten")
	}
	if n.Forget(99); text(0) == first {
		t.Error("of 100 words that may be 99 one is remembered")
	}
}

package keys_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tarn/keys"
)

// TestTokensAreExplained: what is wrong is said, and where, and nothing of the text.
func TestTokensAreExplained(t *testing.T) {
	good := keys.Token{Scheme: keys.SchemeNoOblivious, DomainNo: 7, TokenEpoch: 1, Value: [32]byte{1, 2, 3}}.String()
	if err := keys.ExplainToken(good); err != nil {
		t.Error(err)
	}
	swapped := []byte(good)
	for i := 20; ; i++ {
		if swapped[i] != swapped[i+1] {
			swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
			break
		}
	}
	for name, tt := range map[string]struct{ text, want string }{
		"nothing":       {"", "it has 0 characters"},
		"cut off":       {good[:73], "it has 73 characters"},
		"blanks":        {" " + good + "\n", "blanks around it"},
		"another's":     {"tern" + good[4:], "does not begin with tarn1"},
		"mixed":         {good[:30] + strings.ToUpper(good[30:]), "small and capital"},
		"a letter o":    {good[:40] + "o" + good[41:], "character 41 is not one"},
		"exchanged":     {string(swapped), "were probably exchanged"},
		"a wrong one":   {good[:21] + other(good[21]) + good[22:], "probably the 22nd"},
		"capitals":      {strings.ToUpper(good[:72] + other(good[72]) + good[73:]), "probably the 73rd"},
		"several wrong": {good[:10] + other(good[10]) + other(good[11]) + other(good[12]) + other(good[13]) + good[14:50] + other(good[50]) + good[51:], "several characters"},
	} {
		err := keys.ExplainToken(tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		} else if len(tt.text) > 8 && strings.Contains(err.Error(), tt.text[5:]) {
			t.Errorf("%s: the text is repeated", name)
		}
	}
}

func other(c byte) string {
	if c == 'q' {
		return "p"
	}
	return "q"
}

// TestAnyMistypedCharacterIsFound at its place.
func TestAnyMistypedCharacterIsFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		token := keys.Token{Scheme: uint8(rapid.IntRange(1, 4).Draw(t, "scheme")), DomainNo: rapid.Uint32().Draw(t, "domain"), TokenEpoch: rapid.Uint16().Draw(t, "epoch")}
		copy(token.Value[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "value"))
		text, at := token.String(), rapid.IntRange(5, 73).Draw(t, "at")
		if _, err := keys.ParseToken(text[:at] + other(text[at]) + text[at+1:]); err == nil {
			t.Fatal("a mistyped token is a token")
		}
		if err := keys.ExplainToken(text[:at] + other(text[at]) + text[at+1:]); err == nil || !strings.Contains(err.Error(), "one character is wrong") {
			t.Fatalf("at %d: %v", at, err)
		}
	})
}

// FuzzToken: a text is a token that is written again as it was read, but for its case, or
// is explained; nothing is both.
func FuzzToken(f *testing.F) {
	good := keys.Token{Scheme: keys.SchemeNoOblivious, DomainNo: 7, TokenEpoch: 1}.String()
	for _, text := range []string{good, strings.ToUpper(good), good[:73], good + "q", "tarn1", "", " " + good, strings.Repeat("é", 37)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		token, err := keys.ParseToken(text)
		explained := keys.ExplainToken(text)
		if (err == nil) != (explained == nil) {
			t.Fatalf("read %v, explained %v", err, explained)
		}
		if err == nil && token.String() != strings.ToLower(text) {
			t.Fatal("what was read is written otherwise")
		}
	})
}

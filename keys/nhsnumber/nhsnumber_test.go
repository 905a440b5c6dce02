package nhsnumber

import (
	"fmt"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

func TestKnownNumbers(t *testing.T) {
	for _, c := range []struct {
		raw     string
		want    string
		state   State
		problem Problem
	}{
		{"9434765919", "9434765919", Valid, None},
		{"943 476 5919", "9434765919", Valid, None},
		{"943-476-5919", "9434765919", Valid, None},
		{" 943\u00a0476\u20095919 ", "9434765919", Valid, None},
		{"\"9434765919\"", "9434765919", Valid, None},
		{"'9434765919", "9434765919", Valid, None},
		{"9434765919.0", "9434765919", Valid, None},
		{"９４３４７６５９１９", "9434765919", Valid, None},
		{"943–476–5919", "9434765919", Valid, None},
		{"", "", Absent, None},
		{"   ", "", Absent, None},
		{"-", "", Absent, None},
		{"9434765918", "", Invalid, WrongCheckDigit},
		{"943476591", "", Invalid, WrongLength},
		{"94347659190", "", Invalid, WrongLength},
		{"943476591A", "", Invalid, WrongLength},
		{"9434765919A", "", Invalid, WrongLength},
		{"9434765919.00", "9434765919", Valid, None},
		{"\"9434765919.0\"", "9434765919", Valid, None},
		{"=\"9434765919\"", "9434765919", Valid, None},
		{"943.476.5919", "9434765919", Valid, None},
		{"943476591.9", "", Invalid, WrongLength},
		{"-9434765919", "", Invalid, WrongLength}, {" \u22129434765919", "", Invalid, WrongLength}, {"-", "", Absent, None},
		{"9434765919.1", "", Invalid, WrongLength},
		{"9434765919.0 0", "", Invalid, WrongLength},
		{"9.434765919E9", "", Invalid, WrongLength},
		{"9434765919 9434765919", "", Invalid, WrongLength},
		{"9434765919=", "", Invalid, WrongLength},
		{"unknown", "", Invalid, WrongLength},
		{"0000000000", "", Invalid, Repeated},
		{"1111111111", "", Invalid, Repeated},
		{"9999999999", "", Invalid, Repeated},
		{"9990000018", "9990000018", Test, TestRange},
	} {
		n, state, problem := Parse(c.raw)
		got := ""
		if n != (Number{}) {
			got = string(n[:])
		}
		if got != c.want || state != c.state || problem != c.problem {
			t.Errorf("%q: got %q %v %v, want %q %v %v", c.raw, got, state, problem, c.want, c.state, c.problem)
		}
	}
}

// number completes nine digits, if they can be.
func number(prefix string) (string, bool) {
	digit, ok := CheckDigit([9]byte([]byte(prefix)))
	return prefix + string(digit), ok
}

func TestRangesGetTheirState(t *testing.T) {
	for prefix, want := range map[string]State{
		"010101": CHI, "311299": CHI, "290200": CHI, "320000": HSCNI, "399999": HSCNI, "401023": Valid, "485000": Valid,
		"600000": Valid, "799999": Valid, "900000": Valid, "998999": Valid, "999000": Test, "999999": Test,
	} {
		for tail := 1; tail < 40; tail++ {
			text, ok := number(fmt.Sprintf("%s%03d", prefix, tail))
			if !ok {
				continue
			}
			if _, state, _ := Parse(text); state != want && state != Invalid {
				t.Errorf("a number that begins with %s: got %v, want %v", prefix, state, want)
			}
		}
	}
}

// TestEveryWrongDigitIsCaught is what the check digit is for.
func TestEveryWrongDigitIsCaught(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, ok := number(rapid.StringMatching(`[4679][0-9]{8}`).Draw(t, "nine"))
		if !ok {
			return
		}
		if _, state, problem := Parse(text); state != Valid && state != Test && problem != Repeated {
			t.Fatalf("a completed number is %v", state)
		}
		at := rapid.IntRange(0, 9).Draw(t, "at")
		wrong := []byte(text)
		wrong[at] = '0' + (wrong[at]-'0'+byte(rapid.IntRange(1, 9).Draw(t, "by")))%10
		if _, state, _ := Parse(string(wrong)); state != Invalid {
			t.Fatalf("one wrong digit at %d was accepted as %v", at, state)
		}
	})
}

func TestNothingIsAllocated(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Parse("943 476 5919") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzNHSNumber: what is taken for a number is made of the digits of the text
// and no others, in their order, with nothing but zeros of a fraction after
// them; and it parses to itself.
func FuzzNHSNumber(f *testing.F) {
	for _, seed := range []string{"", "9434765919", "943 476 5919", "９４３４７６５９１９", "\xff\xfe", "9990000018", "-.0", ".0", "9434765919.00", "=\"9434765919\"", "9.434765919E9", "943.476.5919.0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		n, state, problem := Parse(raw)
		if state.Identifies(true) != (n != Number{}) || (state == Valid || state == Absent) != (problem == None) {
			t.Fatalf("state %v and problem %v with number %v", state, problem, n != Number{})
		}
		if n == (Number{}) {
			return
		}
		if again, s, p := Parse(string(n[:])); again != n || s != state || p != problem {
			t.Fatal("a number does not parse to itself")
		}
		digits := strings.Map(func(r rune) rune {
			switch {
			case r >= '０' && r <= '９':
				return r - '０' + '0'
			case r >= '0' && r <= '9':
				return r
			}
			return -1
		}, raw)
		rest, ok := strings.CutPrefix(digits, string(n[:]))
		if !ok || strings.Trim(rest, "0") != "" || rest != "" && !strings.Contains(raw, ".") {
			t.Fatalf("%+q was read as %s", raw, n[:])
		}
		if strings.ContainsFunc(raw, func(r rune) bool {
			return unicode.IsLetter(r) || unicode.IsSymbol(r) && !strings.ContainsRune("=`\u00b4\u2212", r)
		}) {
			t.Fatalf("%+q was read as a number", raw)
		}
	})
}

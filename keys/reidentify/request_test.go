package reidentify

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"

	"tarn/bench/peer"
	"tarn/keys"
)

var madeAt = time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)

const domainNo = 7

// tokenOf is a token, of which nothing but the form is right.
func tokenOf(value byte, change ...func(*keys.Token)) string {
	t := keys.Token{Scheme: keys.SchemeNoOblivious, DomainNo: domainNo, TokenEpoch: 3, Value: [32]byte{value}}
	for _, f := range change {
		f(&t)
	}
	return t.String()
}

func zeroes() io.Reader { return bytes.NewReader(make([]byte, 32)) }

func draftOf(tokens ...string) Draft {
	d := Draft{
		Requester: Person{Issuer: "https://sign-in.example.nhs.uk", Subject: "gp-1", Organisation: "Y12345", Role: "R8000"},
		Project:   "care", Organisation: "Y12345", Purpose: Treatment, Reason: Reason{Code: "care", Text: "Called back about a blood result."},
	}
	for i, t := range tokens {
		d.Items = append(d.Items, Item{Row: i + 1, Token: t})
	}
	return d
}

func toSource(references ...Reference) Draft {
	d := draftOf()
	d.Route, d.Purpose = ToSource, CareManagement
	for i := range references {
		d.Items = append(d.Items, Item{Row: i, Reference: &references[i]})
	}
	return d
}

// TestKnownHash: the bytes that approvers sign, written by hand and hashed once with another
// program.
func TestKnownHash(t *testing.T) {
	for name, c := range map[string]struct {
		draft Draft
		want  string
	}{
		"tokens":     {draftOf(tokenOf(2), strings.ToUpper(tokenOf(1))), "53308f2b064189850f179f2c62b3fc438ab205ceb35352bd65984d70c91d2490"},
		"references": {toSource(Reference{"south", strings.Repeat("b", 32)}, Reference{"north", strings.Repeat("a", 32)}), "9d7ec4e8a650bb51e8f3f5740edecc98809ae40876fdec0c8c0750386116967a"},
	} {
		r, err := New(c.draft, "pond", domainNo, madeAt, zeroes())
		if err != nil {
			t.Fatal(name, err)
		}
		if got := r.Reason.Commitment(); got != "5c5ad695762b95eb09c5f14a0da08f545898d7e703ee28961a79775d3268b2f1" {
			t.Errorf("%s: the commitment is %s", name, got)
		}
		if r.Hash != c.want {
			t.Errorf("%s: the hash is %s", name, r.Hash)
		}
	}
}

type twinRequest struct {
	Op         string         `json:"op"`
	Request    map[string]any `json:"request,omitempty"`
	Tokens     []string       `json:"tokens"`
	References []Reference    `json:"references,omitempty"`
	Salt       string         `json:"salt,omitempty"`
	Code       string         `json:"code,omitempty"`
	Text       string         `json:"text,omitempty"`
}

type twinAnswer struct {
	Commitment, Hash string
	Digits           [][2]int
	Holds            bool
}

func newTwin(t *testing.T) *peer.Peer {
	return peer.Start(t, cmp.Or(os.Getenv("TARN_PYTHON"), "python3"), "reidentification.py")
}

// TestHashAgreesWithPython: whatever is asked, both make the same canonical form; whatever
// of it is changed, the hash is another.
func TestHashAgreesWithPython(t *testing.T) {
	python := newTwin(t)
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-z][a-z0-9-]{0,9}`)
		d := draftOf()
		d.Project, d.Requester.Subject, d.Requester.Role = name.Draw(t, "project"), name.Draw(t, "subject"), name.Draw(t, "role")
		d.Reason.Text = rapid.StringMatching(`[a-zé<>&"\\\n]{10,40}`).Draw(t, "reason") + "ten letters"
		asked := twinRequest{Op: "request", Tokens: []string{}}
		values := rapid.SliceOfNDistinct(rapid.Byte(), 1, 5, rapid.ID[byte]).Draw(t, "values")
		if rapid.Bool().Draw(t, "references") {
			d.Route = ToSource
			for i, v := range values {
				reference := Reference{name.Draw(t, "source"), fmt.Sprintf("%032x", v)}
				d.Items, asked.References = append(d.Items, Item{Row: i, Reference: &reference}), append(asked.References, reference)
			}
		} else {
			for i, v := range values {
				d.Items, asked.Tokens = append(d.Items, Item{Row: i, Token: tokenOf(v)}), append(asked.Tokens, tokenOf(v))
			}
		}
		r, err := New(d, "pond", domainNo, madeAt.Add(time.Duration(rapid.IntRange(0, 1e9).Draw(t, "ms"))*time.Millisecond), bytes.NewReader(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "random")))
		if err != nil {
			t.Fatal(err)
		}
		asked.Salt, asked.Code, asked.Text = hex.EncodeToString(r.Reason.Salt[:]), r.Reason.Code, r.Reason.Text
		asked.Request = map[string]any{
			"created": r.Created.Format(TimeLayout), "expires": r.Expires.Format(TimeLayout), "domain": "pond", "epoch": r.Epoch, "nonce": r.Nonce, "org": d.Organisation,
			"project": d.Project, "purpose": d.Purpose, "requester": map[string]string{"iss": d.Requester.Issuer, "sub": d.Requester.Subject}, "role": d.Requester.Role,
		}
		var answer twinAnswer
		python.Ask(t, asked, &answer)
		if answer.Hash != r.Hash || answer.Commitment != r.Reason.Commitment() {
			t.Fatalf("it has %+v, not %s and %s", answer, r.Hash, r.Reason.Commitment())
		}
		changes := []func(*Request){
			func(r *Request) { r.Requester.Subject += "x" }, func(r *Request) { r.Requester.Issuer += "x" }, func(r *Request) { r.Requester.Role += "x" },
			func(r *Request) { r.Project += "x" }, func(r *Request) { r.Organisation += "X" }, func(r *Request) { r.Purpose += "X" }, func(r *Request) { r.Domain += "x" },
			func(r *Request) { r.Epoch++ }, func(r *Request) { r.Nonce = "0" + r.Nonce }, func(r *Request) { r.Created = r.Created.Add(time.Millisecond) },
			func(r *Request) { r.Expires = r.Expires.Add(time.Millisecond) }, func(r *Request) { r.Reason.Text += "." }, func(r *Request) { r.Reason.Salt[0]++ },
			func(r *Request) { r.Items = r.Items[1:] },
		}
		other := *r
		rapid.SampledFrom(changes).Draw(t, "change")(&other)
		if hash, err := other.hash(); err != nil || hash == r.Hash {
			t.Fatalf("another request has the same hash, or none: %v", err)
		}
	})
}

// TestFormErrors: what cannot be read as a request is told by the place where it is wrong,
// and nothing of it is repeated.
func TestFormErrors(t *testing.T) {
	good := func() Draft { return draftOf(tokenOf(1), tokenOf(2)) }
	if _, err := New(good(), "pond", domainNo, madeAt, zeroes()); err != nil {
		t.Fatal(err)
	}
	reference := Reference{"north", strings.Repeat("a", 32)}
	if _, err := New(toSource(reference), "pond", domainNo, madeAt, zeroes()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		pointer string
		change  func(*Draft)
	}{
		{"/items", func(d *Draft) { d.Items = nil }},
		{"/items", func(d *Draft) { d.Items = make([]Item, MaxItems+1) }},
		{"/organisation", func(d *Draft) { d.Organisation = "y12345" }},
		{"/organisation", func(d *Draft) { d.Organisation = "" }},
		{"/purpose", func(d *Draft) { d.Purpose = "CURIOUS" }},
		{"/route", func(d *Draft) { d.Route = "home" }},
		{"/items/1/row", func(d *Draft) { d.Items[1].Row = d.Items[0].Row }},
		{"/items/0/row", func(d *Draft) { d.Items[0].Row = -1 }},
		{"/items/0/row", func(d *Draft) { d.Items[0].Row = 1_000_000_001 }},
		{"/items/1", func(d *Draft) { d.Items[1].Token = strings.ToUpper(d.Items[0].Token) }},
		{"/items/1/token", func(d *Draft) { d.Items[1].Token = "" }},
		{"/items/1/token", func(d *Draft) { d.Items[1].Token = "9434765919" }},
		{"/items/0/token", func(d *Draft) { d.Items[0].Token = "T" + d.Items[0].Token[1:] }},
		{"/items/0/token", func(d *Draft) { d.Items[0].Token = d.Items[0].Token[:73] + "q" }},
		{"/items/0/token", func(d *Draft) { d.Items[0].Token = tokenOf(1, func(t *keys.Token) { t.Scheme = keys.SchemeNoRelease }) }},
		{"/items/0/token", func(d *Draft) { d.Items[0].Token = tokenOf(1, func(t *keys.Token) { t.Scheme = keys.SchemeNoRFC9497 }) }},
		{"/items/0/token", func(d *Draft) { d.Items[0].Token = tokenOf(1, func(t *keys.Token) { t.DomainNo++ }) }},
		{"/items/1/token", func(d *Draft) { d.Items[1].Token = tokenOf(1, func(t *keys.Token) { t.TokenEpoch++ }) }},
		{"/items/0/reference", func(d *Draft) { d.Items[0] = Item{Reference: &reference} }},
		{"/items/0", func(d *Draft) { d.Route = ToSource }},
		{"/items/0", func(d *Draft) { *d = toSource(reference); d.Items[0].Token = tokenOf(1) }},
		{"/items/1", func(d *Draft) { *d = toSource(reference, reference) }},
		{"/items/0/reference/source_dataset", func(d *Draft) { *d = toSource(Reference{"North Trust", reference.UniqueID}) }},
		{"/items/0/reference/unique_id", func(d *Draft) { *d = toSource(Reference{"north", "9434765919"}) }},
		{"/reason", func(d *Draft) { d.Reason.Code = "curious" }},
		{"/reason", func(d *Draft) { d.Reason.Text = "short" }},
		{"/reason", func(d *Draft) { d.Reason.Text = "It is 943 476 5919 who called." }},
	} {
		d := good()
		c.change(&d)
		_, err := New(d, "pond", domainNo, madeAt, zeroes())
		var form *FormError
		if !errors.As(err, &form) || form.Pointer != c.pointer {
			t.Errorf("%v, want an error at %s", err, c.pointer)
			continue
		}
		for _, value := range []string{"9434765919", "943 476", "North Trust", "y12345", "CURIOUS", "curious", tokenOf(1)} {
			if strings.Contains(err.Error(), value) {
				t.Errorf("the error repeats %q", value)
			}
		}
	}
	if _, err := New(good(), "pond", domainNo, madeAt, bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("a request is made without random bytes")
	}
}

// TestLifetimes: how long a request lives is a question of what it is.
func TestLifetimes(t *testing.T) {
	emergency, worklist := draftOf(tokenOf(1)), toSource(Reference{"north", strings.Repeat("a", 32)})
	emergency.BreakGlass = true
	for _, c := range []struct {
		draft Draft
		want  time.Duration
	}{{draftOf(tokenOf(1)), 72 * time.Hour}, {emergency, time.Hour}, {worklist, 14 * 24 * time.Hour}} {
		r, err := New(c.draft, "pond", domainNo, madeAt, zeroes())
		if err != nil {
			t.Fatal(err)
		}
		r.State = Pending
		if r.StateAt(madeAt.Add(c.want-time.Millisecond)) != Pending || r.StateAt(madeAt.Add(c.want)) != Expired {
			t.Errorf("it does not expire after %v", c.want)
		}
	}
}

// TestNumbersInReasons: an NHS number is found however people write it, and in whatever
// script; what has ten digits and no check digit is not one.
func TestNumbersInReasons(t *testing.T) {
	const number = "9434765919"
	written := []string{
		number, "943 476 5919", "943-476-5919", "943.476.5919", "943_476_5919", "943/476/5919", "943,476,5919", "943\u00a0476\u00a05919", "943\u2011476\u20115919", "943\u2212476\u22125919",
		"943\u2009476\u20095919", "9 4 3 4 7 6 5 9 1 9", "943\n476\n5919", "943\u200b4765919", "943\u00ad4765919", "x" + number + "y", "12" + number, number + "34", "943 - 476 - 5919", "943·476·5919",
	}
	for _, zero := range []rune{'\u0660', '\u06f0', '\u0966', '\uff10', '\U0001d7ce', '\U0001d7f6', '\U0001fbf0', '\U0001e950'} {
		written = append(written, strings.Map(func(c rune) rune { return c - '0' + zero }, number))
	}
	written = append(written, "⁹⁴³⁴⁷⁶⁵⁹¹⁹", "⑨④③④⑦⑥⑤⑨①⑨")
	keycaps := ""
	for _, c := range number {
		keycaps += string(c) + "\ufe0f\u20e3"
	}
	for _, text := range append(written, keycaps) {
		for _, around := range []string{"%s", "The patient %s has called.", "tel. %s"} {
			if text := fmt.Sprintf(around, text); checkText(text, 500) != ErrTextNumber {
				t.Errorf("%q is not found: %v", text, checkText(text, 500))
			}
		}
	}
	for _, text := range []string{
		"9434765918", "943 476 591", "943a476b5919", "943:476:5919", "Room 12, ward 34, bed 5.", "Called on 26/11/2026 at 09:30.", "ten digits 1234567890 of no patient",
	} {
		if err := checkText(text, 500); err != nil {
			t.Errorf("%q is refused: %v", text, err)
		}
	}
	// What is no number and is refused all the same, known and accepted: one run of ten digits
	// in eleven passes the check.
	for _, text := range []string{"ask 020 7946 0000 please"} {
		if checkText(text, 500) != ErrTextNumber {
			t.Errorf("%q is not refused any more", text)
		}
	}
}

// TestDigitsOfEveryScript: as the Unicode database of another language has them.
func TestDigitsOfEveryScript(t *testing.T) {
	var answer twinAnswer
	newTwin(t).Ask(t, twinRequest{Op: "digits", Tokens: []string{}}, &answer)
	compared := 0
	for _, d := range answer.Digits {
		got, is := digitOf(rune(d[0]))
		if !unicode.Is(unicode.Nd, rune(d[0])) {
			continue // of a later Unicode
		}
		compared++
		if !is || int(got-'0') != d[1] {
			t.Errorf("U+%04X is %c, %v, not %d", d[0], got, is, d[1])
		}
	}
	if compared < 600 {
		t.Errorf("%d digits were compared", compared)
	}
}

// TestNumbersAgreeWithPython: of digits and what stands between them.
func TestNumbersAgreeWithPython(t *testing.T) {
	python := newTwin(t)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`([0-9]{1,9}[-_., /]{0,2}|[a-z]?[0-9]{8,12}){1,4}`).Draw(t, "text")
		var answer twinAnswer
		python.Ask(t, twinRequest{Op: "number", Tokens: []string{}, Text: text}, &answer)
		if got := holdsNumber(text); got != answer.Holds {
			t.Fatalf("%q: %v, it says %v", text, got, answer.Holds)
		}
	})
}

// TestTexts: bounds are of characters, and what is no text is refused.
func TestTexts(t *testing.T) {
	for text, want := range map[string]error{
		strings.Repeat("é", 500): nil, strings.Repeat("é", 501): ErrTextLong, "a\x00b": ErrTextForm, "a\x1b[31m": ErrTextForm, "a\xffb": ErrTextForm, "a\u0085b": ErrTextForm, "a\tb\r\nc": nil, "": nil,
	} {
		if err := CheckComment(text); err != want {
			t.Errorf("%.20q: %v, want %v", text, err, want)
		}
	}
	for text, want := range map[string]error{"ten char.": ErrReasonShort, "  ten char.  ": ErrReasonShort, "ten chars.": nil, "éééééééééé": nil} {
		if err := (&Reason{Code: "care", Text: text}).check(); err != want {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
}

// FuzzText: whatever is written, the answer is one of few, a number in it is refused, and
// what is refused stays so when more is written after it.
func FuzzText(f *testing.F) {
	for _, seed := range []string{"943 476 5919", "٩٤٣٤٧٦٥٩١٩", "a\xff", "Called back about a result."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		err := checkText(text, MaxComment)
		if err == ErrTextNumber && checkText(text+" x", MaxComment+2) != ErrTextNumber {
			t.Errorf("%q is a number, and with more it is none", text)
		}
		if err == nil && checkText("9434765919 "+text, MaxComment+11) != ErrTextNumber {
			t.Errorf("before %q a number is not found", text)
		}
	})
}

// FuzzNew: whatever is given as a token, it is refused with its place or is in the hash in
// its own form.
func FuzzNew(f *testing.F) {
	f.Add(tokenOf(1), "Y12345", 1)
	f.Add(strings.ToUpper(tokenOf(1)), "Y12345", -1)
	f.Fuzz(func(t *testing.T, token, organisation string, row int) {
		d := draftOf(tokenOf(9), token)
		d.Organisation, d.Items[1].Row = organisation, row
		r, err := New(d, "pond", domainNo, madeAt, zeroes())
		var form *FormError
		switch {
		case err == nil && (r.Items[1].Token != strings.ToLower(token) || len(r.Hash) != 64 || !r.Same(&d) || d.Items[1].Token != token):
			t.Errorf("%+v of %+v", r, d)
		case err != nil && (!errors.As(err, &form) || len(token) > 8 && strings.Contains(err.Error(), token)):
			t.Errorf("%v", err)
		}
	})
}

package custody

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/btcsuite/btcd/btcutil/bech32"
	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/math/polynomial"
	"pgregory.net/rapid"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/secret"
)

const passphrase = "correct horse battery staple"

func origin() Origin {
	return Origin{Now: time.Date(2026, 11, 26, 12, 0, 0, 5, time.FixedZone("CET", 3600)), Software: "keyholder test"}
}

// cheap are the least parameters that are taken.
func cheap() Argon2 { return Argon2{Time: 1, MemoryKiB: minMemoryKiB, Threads: 1} }

// made is a deployment with all that was given out for it.
type made struct {
	Deployment
	givens []Given // enough of them open
}

func give(t testing.TB, d Deployment, err error) made {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	m := made{Deployment: d}
	switch d.Document.Method {
	case MethodIdentity:
		m.givens = []Given{{Identity: string(d.Handout.Identity())}}
	case MethodPassphrase:
		m.givens = []Given{{Passphrase: passphrase}}
	case MethodShares:
		for _, text := range d.Handout.Shares() {
			m.givens = append(m.givens, Given{Share: text})
		}
	}
	return m
}

func byIdentity(t testing.TB) made {
	t.Helper()
	d, err := NewWithIdentity(origin())
	return give(t, d, err)
}

func byPassphrase(t testing.TB) made {
	t.Helper()
	d, err := NewWithPassphrase(origin(), []byte(passphrase), cheap())
	return give(t, d, err)
}

func byShares(t testing.TB, threshold, shares int) made {
	t.Helper()
	d, err := NewWithShares(origin(), threshold, shares)
	return give(t, d, err)
}

// open gives all to a new unsealer, and returns the root key or the first error.
func open(d Document, givens []Given) (secret.Key, error) {
	u := NewUnsealer(d)
	for _, given := range givens {
		root, complete, err := u.Give(given)
		if err != nil || complete {
			return root, err
		}
	}
	return secret.Key{}, errors.New("sealed")
}

func mustOpen(t testing.TB, d Document, givens []Given, want secret.Key) {
	t.Helper()
	root, err := open(d, givens)
	if err != nil {
		t.Fatalf("%s: %v", d.Method, err)
	}
	if !root.Equal(want) {
		t.Fatalf("%s: another root key", d.Method)
	}
}

func TestRoundTrip(t *testing.T) {
	for _, m := range []made{byIdentity(t), byPassphrase(t), byShares(t, 2, 3)} {
		dir := t.TempDir()
		if err := Write(dir, m.Document); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, FileName))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("root.json has mode %v: %v", info.Mode(), err)
		}
		d, err := Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(d, m.Document) {
			t.Errorf("%s: what was read is not what was written", d.Method)
		}
		mustOpen(t, d, m.givens, m.Root)
		if d.Generation != 1 || d.Store != "store.1" || !IsStore(d.Store) || d.Created.Format(time.RFC3339Nano) != "2026-11-26T11:00:00Z" {
			t.Errorf("%s: another generation, store or date", d.Method)
		}
		if err := os.Chmod(filepath.Join(dir, FileName), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("root.json that all can read: %v", err)
		}
	}
	for name, want := range map[string]bool{"store.1": true, "store.120": true, "store.0": false, "store.01": false, "store": false, "store.1x": false, "store.": false, "xstore.1": false} {
		if IsStore(name) != want {
			t.Errorf("IsStore(%q) is %v", name, !want)
		}
	}
}

// TestKnownDeployments opens deployments of this format's first version: what
// was sealed must open for good.
func TestKnownDeployments(t *testing.T) {
	for _, method := range []Method{MethodIdentity, MethodPassphrase, MethodShares} {
		document, err := os.ReadFile(filepath.Join("testdata", string(method)+".json"))
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join("testdata", string(method)+"-given.json"))
		if err != nil {
			t.Fatal(err)
		}
		var known struct {
			Root  string
			Given []struct{ Share, Passphrase, Identity string }
		}
		if err := json.Unmarshal(text, &known); err != nil {
			t.Fatal(err)
		}
		var givens []Given
		for _, given := range known.Given {
			givens = append(givens, Given(given))
		}
		d, err := Parse(document)
		if err != nil {
			t.Fatal(err)
		}
		root, err := open(d, givens)
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		root.Use(func(b *[secret.Size]byte) {
			if hex.EncodeToString(b[:]) != known.Root {
				t.Errorf("%s: another root key", method)
			}
		})
	}
}

// TestEverySubsetOfShares: as many as are needed open, whichever they are and
// in whatever order; one fewer do not, not even where the count is forged.
func TestEverySubsetOfShares(t *testing.T) {
	for _, c := range []struct{ threshold, shares int }{{2, 2}, {2, 4}, {3, 4}, {4, 5}, {5, 5}} {
		m := byShares(t, c.threshold, c.shares)
		opened, stayed := 0, 0
		for set := range 1 << c.shares {
			var some []Given
			var parsed []share
			for i := range c.shares {
				if set&(1<<i) != 0 {
					some = append([]Given{m.givens[i]}, some...)
					s, err := parseShare(m.givens[i].Share)
					if err != nil {
						t.Fatal(err)
					}
					parsed = append(parsed, s)
				}
			}
			switch len(some) {
			case c.threshold:
				mustOpen(t, m.Document, some, m.Root)
				opened++
			case c.threshold - 1:
				u := NewUnsealer(m.Document)
				for i, given := range some {
					if _, complete, err := u.Give(given); complete || err != nil {
						t.Fatalf("%d of %d: %v, %v", i+1, c.threshold, complete, err)
					}
					if s := u.Status(); s.Given != i+1 || s.Needed != c.threshold || s.Shares != c.shares || s.Method != MethodShares || s.Deployment != m.Document.Deployment() {
						t.Fatalf("the status is %+v", s)
					}
				}
				forged := m.Document
				forged.Threshold--
				key, err := recoverKey(&forged, parsed)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := m.Document.unwrap(key); err == nil {
					t.Fatalf("%d shares of %d open", len(some), c.threshold)
				}
				stayed++
			}
		}
		if opened == 0 || stayed == 0 {
			t.Fatal("no subset was tried")
		}
	}
	for _, c := range [][2]int{{1, 3}, {0, 0}, {-1, 2}, {4, 3}, {2, 33}} {
		if _, err := NewWithShares(origin(), c[0], c[1]); fault.KindOf(err) != fault.Usage {
			t.Errorf("%d of %d: %v", c[0], c[1], err)
		}
	}
}

// TestShareRefusals: each wrong share is refused by itself with its own error,
// and the right ones before it stay.
func TestShareRefusals(t *testing.T) {
	m, other := byShares(t, 3, 4), byShares(t, 3, 4)
	changed := func(change func(*share)) string {
		s, err := parseShare(m.givens[1].Share)
		if err != nil {
			t.Fatal(err)
		}
		change(&s)
		return s.text()
	}
	good := m.givens[1].Share
	tests := []struct {
		name, text string
		want       error
		says       string
	}{
		{"duplicate", m.givens[0].Share, ErrShareDuplicate, "share 1 was given already"},
		{"duplicate in another form", strings.ToUpper(m.givens[0].Share[:40]) + " \n" + m.givens[0].Share[40:], ErrShareDuplicate, "share 1 was given already"},
		{"of another deployment", other.givens[1].Share, ErrShareForeign, "it is a share of another deployment"},
		{"another value", changed(func(s *share) { s.value[3] ^= 1 }), ErrShareWrong, "no share of this deployment's key"},
		{"another number", changed(func(s *share) { s.number = 3 }), ErrShareWrong, "no share of this deployment's key"},
		{"number 0", changed(func(s *share) { s.number = 0 }), ErrShareWrong, "no share of this deployment's key"},
		{"number too high", changed(func(s *share) { s.number = 5 }), ErrShareWrong, "no share of this deployment's key"},
		{"another threshold", changed(func(s *share) { s.threshold = 2 }), ErrShareWrong, "no share of this deployment's key"},
		{"value of 0", changed(func(s *share) { s.value = [scalarSize]byte{} }), ErrShareWrong, "no share of this deployment's key"},
		{"value that is no scalar", changed(func(s *share) { s.value[scalarSize-1] = 0xff }), ErrShareWrong, "no share of this deployment's key"},
		{"number that was never handed out", changed(func(s *share) { // who has enough shares can make it
			var x, y []group.Scalar
			for _, given := range m.givens[:3] {
				parsed, err := parseShare(given.Share)
				if err != nil {
					t.Fatal(err)
				}
				p, err := parsed.point()
				if err != nil {
					t.Fatal(err)
				}
				x, y = append(x, p.ID), append(y, p.Value)
			}
			s.number = 5
			b, err := polynomial.NewLagrangePolynomial(x, y).Evaluate(group.Ristretto255.NewScalar().SetUint64(5)).MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			copy(s.value[:], b)
			five := m.Document
			five.Shares = 5
			if err := five.checkShare(s); err != nil {
				t.Fatalf("the control: %v", err)
			}
		}), ErrShareWrong, "no share of this deployment's key"},
		{"value of another sharing", changed(func(s *share) {
			o, err := parseShare(other.givens[1].Share)
			if err != nil {
				t.Fatal(err)
			}
			s.value = o.value
		}), ErrShareWrong, "no share of this deployment's key"},
		{"mistyped", good[:20] + swap(good[20]) + good[21:], ErrShareMistyped, "character 21 is mistyped"},
		{"twice mistyped", good[:20] + swap(good[20]) + swap(good[21]) + good[22:], ErrShareMistyped, "more than one of its characters is mistyped"},
		{"a character that is in none", good[:30] + "b" + good[31:], ErrShareMistyped, "character 31 is one that no share holds"},
		{"not ASCII", good[:30] + "é" + good[31:], ErrShareMistyped, "character 31 is one that no share holds"},
		{"cut", good[:84], ErrShareMistyped, "it has 84 characters, a share has 85"},
		{"a token", "tarn1qqqq", ErrShareMistyped, "it does not begin with tarn-share1"},
		{"blanks only", " ", ErrShareMistyped, "it does not begin with tarn-share1"},
		{"endless", strings.Repeat("q", 1000), ErrShareMistyped, "it is too long"},
	}
	u := NewUnsealer(m.Document)
	if _, complete, err := u.Give(m.givens[0]); complete || err != nil {
		t.Fatalf("the control: %v", err)
	}
	all := []error{ErrDocument, ErrMethod, ErrIdentity, ErrPassphrase, ErrShareMistyped, ErrShareForeign, ErrShareWrong, ErrShareDuplicate}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, complete, err := u.Give(Given{Share: tt.text})
			for _, one := range all {
				if errors.Is(err, one) != (one == tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
			}
			if complete || !strings.Contains(err.Error(), tt.says) || u.Status().Given != 1 {
				t.Errorf("got %v, want it to say %q", err, tt.says)
			}
		})
	}
	for i, given := range m.givens[1:3] {
		root, complete, err := u.Give(given)
		if err != nil || complete != (i == 1) || complete && !root.Equal(m.Root) {
			t.Fatalf("right shares after wrong ones: %v, %v", complete, err)
		}
	}
}

// swap returns another digit of Bech32.
func swap(digit byte) string {
	i := strings.IndexByte(bech32Digits, digit)
	return string(bech32Digits[(i+7)%len(bech32Digits)])
}

// TestEveryMistypedCharacterIsPlaced: another character anywhere is refused,
// and the error says which it is.
func TestEveryMistypedCharacterIsPlaced(t *testing.T) {
	good := byShares(t, 2, 2).givens[0].Share
	if len(good) != 85 || shareTextLength != 85 {
		t.Fatalf("a share has %d characters", len(good))
	}
	for i := len(sharePrefix) + 1; i < len(good); i++ {
		_, err := parseShare(good[:i] + swap(good[i]) + good[i+1:])
		if !errors.Is(err, ErrShareMistyped) || !strings.Contains(err.Error(), fmt.Sprintf("character %d is mistyped", i+1)) {
			t.Fatalf("character %d: %v", i+1, err)
		}
	}
}

// TestSharesAreBech32m: the older checksum is not taken.
func TestSharesAreBech32m(t *testing.T) {
	good := byShares(t, 2, 2).givens[0].Share
	_, groups, err := bech32.Decode(good)
	if err != nil {
		t.Fatal(err)
	}
	older, err := bech32.Encode(sharePrefix, groups)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := decodeShare(older); ok || older[:79] != good[:79] {
		t.Error("a share with the checksum of Bech32 is taken")
	}
}

// TestMistakesAreNeverTaken: up to four other characters, or two swapped
// neighbours, never make another share.
func TestMistakesAreNeverTaken(t *testing.T) {
	good := byShares(t, 2, 2).givens[0].Share
	rapid.Check(t, func(t *rapid.T) {
		typed := []byte(good)
		if rapid.Bool().Draw(t, "swapped") {
			i := rapid.IntRange(0, len(typed)-2).Draw(t, "at")
			typed[i], typed[i+1] = typed[i+1], typed[i]
		} else {
			for range rapid.IntRange(1, 4).Draw(t, "mistakes") {
				i := rapid.IntRange(len(sharePrefix)+1, len(typed)-1).Draw(t, "at")
				typed[i] = rapid.SampledFrom([]byte(bech32Digits)).Draw(t, "as")
			}
		}
		if _, ok := decodeShare(string(typed)); ok != (string(typed) == good) {
			t.Fatalf("taken: %v", ok)
		}
	})
}

func TestWrongPassphrase(t *testing.T) {
	m := byPassphrase(t)
	for name, wrong := range map[string]string{
		"another": "correct horse battery stable", "case": strings.ToUpper(passphrase), "blank": passphrase + " ", "empty line": "\n", "control": "a\tb", "not UTF-8": "\xff", "endless": strings.Repeat("x", 2000),
	} {
		if _, err := open(m.Document, []Given{{Passphrase: wrong}}); !errors.Is(err, ErrPassphrase) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustOpen(t, m.Document, []Given{{Passphrase: passphrase + "\r\n"}}, m.Root)
}

// TestPassphraseInAnyKeyboardsForm: composed and decomposed letters are one.
func TestPassphraseInAnyKeyboardsForm(t *testing.T) {
	d, err := NewWithPassphrase(origin(), []byte("m\u00fcde F\u00fcchse tr\u00e4umen"), cheap())
	if err != nil {
		t.Fatal(err)
	}
	mustOpen(t, d.Document, []Given{{Passphrase: "mu\u0308de Fu\u0308chse tra\u0308umen"}}, d.Root)
}

func TestNewPassphraseRefusals(t *testing.T) {
	for name, weak := range map[string]string{"empty": "", "short": "fifteen chars..", "short in many bytes": "ääääbbbbccddeé", "repeated": strings.Repeat("abcde", 10), "control": "correct horse\tbattery"} {
		_, err := NewWithPassphrase(origin(), []byte(weak), cheap())
		if !errors.Is(err, ErrPassphrase) || fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, cost := range []Argon2{{}, {Time: 1, MemoryKiB: 100, Threads: 1}, {Time: 1, MemoryKiB: 100 << 20, Threads: 1}, {Time: 17, MemoryKiB: minMemoryKiB, Threads: 1}, {Time: 1, MemoryKiB: minMemoryKiB, Threads: 17}} {
		if _, err := NewWithPassphrase(origin(), []byte(passphrase), cost); fault.KindOf(err) != fault.Usage || err == nil || !strings.Contains(err.Error(), "out of range") {
			t.Errorf("%+v: %v", cost, err)
		}
	}
	if d := DefaultArgon2(); (&Argon2{d.Time, d.MemoryKiB, d.Threads, make([]byte, saltSize)}).check() != nil {
		t.Error("the default parameters are refused")
	}
}

func TestWrongIdentity(t *testing.T) {
	m, other := byIdentity(t), byIdentity(t)
	file := m.givens[0].Identity
	line := file[strings.Index(file, "AGE-SECRET"):]
	for _, tt := range []struct {
		name, content string
		kind          fault.Kind
	}{
		{"another deployment's", other.givens[0].Identity, fault.Disagreement},
		{"empty", "\n", fault.Usage},
		{"cut", line[:len(line)-5], fault.Usage},
		{"mistyped", strings.Replace(line, line[30:31], "B", 1), fault.Usage},
		{"two", file + other.givens[0].Identity, fault.Usage},
		{"not hybrid", "AGE-SECRET-KEY-1QYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQS3290GQ\n", fault.Usage},
		{"endless", strings.Repeat("#\n", maxDocument) + line, fault.Usage},
	} {
		if _, err := open(m.Document, []Given{{Identity: tt.content}}); !errors.Is(err, ErrIdentity) || fault.KindOf(err) != tt.kind {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, complete, err := NewUnsealer(m.Document).Collect(other.givens[0]); complete || !errors.Is(err, ErrIdentity) {
		t.Errorf("another deployment's, without its root key: %v", err)
	}
	mustOpen(t, m.Document, []Given{{Identity: line}}, m.Root)
}

// TestOnlyTheMethodIsTaken: what another method takes, nothing, and more than
// one thing are refused.
func TestOnlyTheMethodIsTaken(t *testing.T) {
	all := map[Method]made{MethodIdentity: byIdentity(t), MethodPassphrase: byPassphrase(t), MethodShares: byShares(t, 2, 2)}
	for method, m := range all {
		for other, o := range all {
			if _, _, err := NewUnsealer(m.Document).Give(o.givens[0]); errors.Is(err, ErrMethod) != (method != other) {
				t.Errorf("%s given for %s: %v", other, method, err)
			}
		}
		both := m.givens[0]
		both.Share, both.Passphrase = "x", "x"
		for _, given := range []Given{{}, both} {
			if _, _, err := NewUnsealer(m.Document).Give(given); !errors.Is(err, ErrMethod) {
				t.Errorf("%s: %v", method, err)
			}
		}
	}
}

// TestChangedBytesAreRefused changes bytes in every member of root.json, as it
// lies on the disk, evenly spread over each: as many as can be tried in a short
// time.
func TestChangedBytesAreRefused(t *testing.T) {
	for _, c := range []struct {
		made
		each int // bytes of a member that are changed
	}{{byIdentity(t), 150}, {byPassphrase(t), 2}, {byShares(t, 2, 3), 12}} {
		document, err := c.Document.Encode()
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(document, &members); err != nil {
			t.Fatal(err)
		}
		for name, value := range members {
			from := bytes.Index(document, fmt.Appendf(nil, "\n  %q: ", name))
			if from < 0 {
				t.Fatalf("member %s is not found", name)
			}
			to := from + 7 + len(name) + len(value)
			for at := from; at < to; at += max(1, (to-from)/c.each) {
				changed := bytes.Clone(document)
				changed[at] ^= 1
				d, err := Parse(changed)
				if err == nil {
					_, err = open(d, c.givens)
				} else if !errors.Is(err, ErrDocument) {
					t.Fatalf("%s, member %s: %v", c.Document.Method, name, err)
				}
				if err == nil {
					t.Fatalf("%s, member %s: a changed byte %d is taken", c.Document.Method, name, at-from)
				}
			}
		}
	}
}

// TestChangedMembersAreRefused changes members so that the document is in
// itself right, as somebody would who wants to change custody unseen.
func TestChangedMembersAreRefused(t *testing.T) {
	identity, other := byIdentity(t), byIdentity(t)
	pass, shares, others := byPassphrase(t), byShares(t, 2, 3), byShares(t, 2, 3)
	next, err := identity.Document.Rotate(identity.Root)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[len(b)/2] ^= 1
		return b
	}
	changes := map[string]struct {
		of     made
		change func(*Document)
	}{
		"schema":      {identity, func(d *Document) { d.Schema = "tarn.keyholder-root/2" }},
		"generation":  {identity, func(d *Document) { d.Generation, d.Store = 2, "store.2" }},
		"store":       {identity, func(d *Document) { d.Store = "store.2" }},
		"method":      {shares, func(d *Document) { d.Method, d.Argon2 = MethodPassphrase, pass.Document.Argon2 }},
		"recipient":   {identity, func(d *Document) { d.Recipient = other.Document.Recipient }},
		"argon2":      {pass, func(d *Document) { a := *d.Argon2; a.Time++; d.Argon2 = &a }},
		"threshold":   {shares, func(d *Document) { d.Threshold = 3; d.Commitments = append(d.Commitments, d.Commitments[0]) }},
		"shares":      {shares, func(d *Document) { d.Shares++ }},
		"commitments": {shares, func(d *Document) { d.Commitments = others.Document.Commitments }},
		"wrapped":     {shares, func(d *Document) { d.Wrapped = flip(d.Wrapped) }},
		"sealed":      {identity, func(d *Document) { d.Sealed = flip(d.Sealed) }},
		"created":     {identity, func(d *Document) { d.Created = d.Created.Add(time.Second) }},
		"software":    {identity, func(d *Document) { d.Software = "" }},
		// more ways for the same members
		"argon2 salt":                  {pass, func(d *Document) { a := *d.Argon2; a.Salt = flip(a.Salt); d.Argon2 = &a }},
		"argon2 memory":                {pass, func(d *Document) { a := *d.Argon2; a.MemoryKiB++; d.Argon2 = &a }},
		"argon2 threads":               {pass, func(d *Document) { a := *d.Argon2; a.Threads++; d.Argon2 = &a }},
		"wrapped of a passphrase":      {pass, func(d *Document) { d.Wrapped = flip(d.Wrapped) }},
		"sealed of another":            {identity, func(d *Document) { d.Sealed = other.Document.Sealed }},
		"sealed of another generation": {identity, func(d *Document) { d.Sealed = next.Sealed }},
	}
	for name, c := range changes {
		d := c.of.Document
		mustOpen(t, d, c.of.givens, c.of.Root) // the control
		c.change(&d)
		if _, err := open(d, c.of.givens); err == nil || err.Error() == "sealed" {
			t.Errorf("%s: taken, %v", name, err)
		}
	}
	for i := range reflect.TypeFor[Document]().NumField() {
		name, _, _ := strings.Cut(reflect.TypeFor[Document]().Field(i).Tag.Get("json"), ",")
		if _, ok := changes[name]; !ok {
			t.Errorf("no change of member %s is tried", name)
		}
	}
}

// TestHostileDocuments: what would take memory or time, or is not as the key
// holder writes it, is refused when it is read.
func TestHostileDocuments(t *testing.T) {
	pass, shares := byPassphrase(t), byShares(t, 2, 2)
	text := func(d Document) string {
		b, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	p, s := text(pass.Document), text(shares.Document)
	for name, document := range map[string]string{
		"empty":               "",
		"null":                "null",
		"memory":              strings.Replace(p, `"memory_kib": 19456`, `"memory_kib": 104857600`, 1),
		"passes":              strings.Replace(p, `"time": 1`, `"time": 4000000000`, 1),
		"no argon2":           strings.Replace(p, `"argon2"`, `"argon3"`, 1),
		"unknown member":      strings.Replace(p, `"store"`, `"x": 1, "store"`, 1),
		"member twice":        strings.Replace(p, `"store"`, `"generation": 1, "store"`, 1),
		"other case":          strings.Replace(p, `"store"`, `"Store"`, 1),
		"other form":          strings.Replace(p, "\n  ", "\n ", 1),
		"trailing":            p + " ",
		"store elsewhere":     strings.Replace(p, `"store.1"`, `"../x"`, 1),
		"generation 0":        strings.Replace(strings.Replace(p, `"generation": 1`, `"generation": 0`, 1), "store.1", "store.0", 1),
		"generation, endless": strings.Replace(strings.Replace(p, `"generation": 1`, `"generation": 1099511627777`, 1), "store.1", "store.1099511627777", 1),
		"threshold of 1":      strings.Replace(s, `"threshold": 2`, `"threshold": 1`, 1),
		"threshold, endless":  strings.Replace(s, `"threshold": 2`, `"threshold": 2000000000`, 1),
		"shares, endless":     strings.Replace(s, `"shares": 2`, `"shares": 2000000000`, 1),
		"shares, negative":    strings.Replace(s, `"shares": 2`, `"shares": -2`, 1),
		"identity as a commitment": func() string {
			d := shares.Document
			d.Commitments = [][]byte{make([]byte, 32), d.Commitments[1]}
			return text(d)
		}(),
		"endless": strings.Replace(p, "keyholder test", strings.Repeat("x", maxDocument), 1),
	} {
		if _, err := Parse([]byte(document)); !errors.Is(err, ErrDocument) || fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, document := range []string{p, s} {
		if _, err := Parse([]byte(document)); err != nil {
			t.Errorf("the control: %v", err)
		}
	}
	broken := pass.Document
	broken.Sealed = nil
	if err := Write(t.TempDir(), broken); err == nil {
		t.Error("a document that cannot be read was written")
	}
	if _, _, err := NewUnsealer(Document{}).Give(pass.givens[0]); !errors.Is(err, ErrDocument) {
		t.Errorf("an empty document: %v", err)
	}
}

// TestRotate: a new root key needs nobody, opens with what was handed out
// before, and neither generation's seal opens in the other's document.
func TestRotate(t *testing.T) {
	for _, m := range []made{byIdentity(t), byPassphrase(t), byShares(t, 2, 3)} {
		root, err := secret.Generate(nil)
		if err != nil {
			t.Fatal(err)
		}
		next, err := m.Document.Rotate(root)
		if err != nil {
			t.Fatal(err)
		}
		if next.Generation != 2 || next.Store != "store.2" || m.Document.Generation != 1 {
			t.Error("the generations are others")
		}
		mustOpen(t, next, m.givens, root)
		mustOpen(t, m.Document, m.givens, m.Root)
		mixed := next
		mixed.Sealed = m.Document.Sealed
		if _, err := open(mixed, m.givens); !errors.Is(err, ErrDocument) {
			t.Errorf("the old root key in the new document: %v", err)
		}
		mixed = m.Document
		mixed.Sealed = next.Sealed
		if _, err := open(mixed, m.givens); !errors.Is(err, ErrDocument) {
			t.Errorf("the new root key in the old document: %v", err)
		}
		b, err := next.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(b); err != nil {
			t.Errorf("the new document is not read: %v", err)
		}
	}
}

// TestSealOfAnotherLength: what is sealed is a root key and its MAC, and nothing
// else.
func TestSealOfAnotherLength(t *testing.T) {
	m := byIdentity(t)
	plain := make([]byte, 0, 100)
	m.Root.Use(func(b *[secret.Size]byte) { plain = append(plain, b[:]...) })
	m.Document.mac(m.Root).Use(func(b *[secret.Size]byte) { plain = append(plain, b[:]...) })
	for _, n := range []int{0, secret.Size, 2*secret.Size - 1, 2 * secret.Size, 2*secret.Size + 1, 100} {
		var out bytes.Buffer
		w, err := Seal(&out, m.Document.Recipient)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Write(plain[:n])
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		d := m.Document
		d.Sealed = out.Bytes()
		if _, err := open(d, m.givens); (err == nil) != (n == 2*secret.Size) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestNothingIsKept: when there is enough, after a failure and after a reset
// the shares are gone, and their memory is overwritten.
func TestNothingIsKept(t *testing.T) {
	m := byShares(t, 2, 3)
	damagedDocument := m.Document
	damagedDocument.Wrapped = bytes.Clone(damagedDocument.Wrapped)
	damagedDocument.Wrapped[20] ^= 1
	for name, end := range map[string]struct {
		document Document
		end      func(*Unsealer)
	}{
		"enough": {m.Document, func(u *Unsealer) {
			if _, complete, err := u.Give(m.givens[1]); !complete || err != nil {
				t.Fatalf("%v, %v", complete, err)
			}
		}},
		"failure": {damagedDocument, func(u *Unsealer) {
			if _, _, err := u.Give(m.givens[1]); !errors.Is(err, ErrDocument) {
				t.Fatal(err)
			}
		}},
		"reset": {m.Document, (*Unsealer).Reset},
	} {
		u := NewUnsealer(end.document)
		if _, _, err := u.Give(m.givens[0]); err != nil {
			t.Fatal(err)
		}
		kept := u.get().shares[:cap(u.get().shares)]
		if kept[0].value == ([scalarSize]byte{}) {
			t.Fatal("the control: no share is kept while there are too few")
		}
		end.end(u)
		if u.Status().Given != 0 || u.get().shares != nil {
			t.Errorf("%s: shares are kept", name)
		}
		for _, s := range kept {
			if s != (share{}) {
				t.Errorf("%s: a share's memory was not overwritten", name)
			}
		}
		if name == "enough" { // it can be opened again
			for i, given := range m.givens[1:] {
				if _, complete, err := u.Give(given); complete != (i == 1) || err != nil {
					t.Errorf("a second time: %v, %v", complete, err)
				}
			}
		}
	}
}

// TestManyGiveAtOnce: of operators who give their shares at the same time,
// exactly one gets the key.
func TestManyGiveAtOnce(t *testing.T) {
	m := byShares(t, 3, 5)
	u := NewUnsealer(m.Document)
	var wait sync.WaitGroup
	roots := make(chan secret.Key, len(m.givens))
	for _, given := range m.givens {
		wait.Add(1)
		go func() {
			defer wait.Done()
			_ = u.Status()
			root, complete, err := u.Give(given)
			if err != nil {
				t.Error(err)
			}
			if complete {
				roots <- root
			}
		}()
	}
	wait.Wait()
	close(roots)
	count := 0
	for root := range roots {
		count++
		if !root.Equal(m.Root) {
			t.Error("another root key")
		}
	}
	if count != 1 || u.Status().Given != 2 {
		t.Errorf("%d got the key, %d shares are left over", count, u.Status().Given)
	}
}

// TestStreams: backups are opened by the deployment's identity alone, and a cut
// or changed one is noticed.
func TestStreams(t *testing.T) {
	m, other := byShares(t, 2, 2), byIdentity(t)
	plain := bytes.Repeat([]byte("records "), 20_000)
	var sealed bytes.Buffer
	w, err := Seal(&sealed, m.Document.Recipient)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	u := NewUnsealer(m.Document)
	if _, complete, err := u.Collect(m.givens[0]); complete || err != nil {
		t.Fatalf("%v, %v", complete, err)
	}
	identity, complete, err := u.Collect(m.givens[1])
	if !complete || err != nil {
		t.Fatalf("%v, %v", complete, err)
	}
	read := func(identity Identity, b []byte) ([]byte, error) {
		r, err := identity.OpenStream(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	}
	if got, err := read(identity, sealed.Bytes()); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("what was sealed does not open: %v", err)
	}
	for _, at := range []int{0, 10, 200, 1800, sealed.Len() / 2, sealed.Len() - 1} {
		changed := bytes.Clone(sealed.Bytes())
		changed[at] ^= 1
		if _, err := read(identity, changed); err == nil {
			t.Errorf("a changed byte %d is taken", at)
		}
		if _, err := read(identity, sealed.Bytes()[:at]); err == nil {
			t.Errorf("a stream cut at %d is taken", at)
		}
	}
	stranger, complete, err := NewUnsealer(other.Document).Collect(other.givens[0])
	if !complete || err != nil {
		t.Fatalf("%v, %v", complete, err)
	}
	if _, err := read(stranger, sealed.Bytes()); !errors.Is(err, ErrIdentity) {
		t.Errorf("a stranger opens: %v", err)
	}
	if _, err := m.Document.Open(stranger); !errors.Is(err, ErrIdentity) {
		t.Errorf("a stranger opens the document: %v", err)
	}
	root, err := m.Document.Open(identity)
	if err != nil || !root.Equal(m.Root) {
		t.Errorf("the identity does not open the document: %v", err)
	}
	identity.Forget()
	identity.Forget()
	if _, err := read(identity, sealed.Bytes()); err == nil {
		t.Error("a forgotten identity opens")
	}
	if _, err := Seal(io.Discard, "age1"); fault.KindOf(err) != fault.Usage {
		t.Errorf("sealed to nobody: %v", err)
	}
}

func TestSecretFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identity.txt")
	if err := WriteSecret(path, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := WriteSecret(path, []byte("y")); fault.KindOf(err) != fault.Usage {
		t.Errorf("a file was replaced: %v", err)
	}
	if b, err := keys.ReadSecret(path); err != nil || string(b) != "x" {
		t.Errorf("read %q: %v", b, err)
	}
}

func TestDestroy(t *testing.T) {
	for _, m := range []made{byIdentity(t), byShares(t, 2, 2)} {
		m.Handout.Destroy()
		if b := m.Handout.Identity(); !bytes.Equal(b, make([]byte, len(b))) {
			t.Error("a destroyed identity is there")
		}
		for _, s := range m.Handout.get().shares {
			if s != (share{}) {
				t.Error("a destroyed share is there")
			}
		}
	}
}

func TestGenerator(t *testing.T) {
	o := origin()
	o.Rand = strings.NewReader(strings.Repeat("r", saltSize) + strings.Repeat("R", secret.Size))
	d, err := NewWithPassphrase(o, []byte(passphrase), cheap())
	if err != nil {
		t.Fatal(err)
	}
	if string(d.Document.Argon2.Salt) != strings.Repeat("r", saltSize) || !d.Root.Equal(secret.New([secret.Size]byte([]byte(strings.Repeat("R", secret.Size))))) {
		t.Error("salt and root key are not drawn from the generator that was given")
	}
	for n := range 2 {
		o.Rand = strings.NewReader(strings.Repeat("r", n*saltSize+3))
		if _, err := NewWithPassphrase(o, []byte(passphrase), cheap()); fault.KindOf(err) != fault.Internal || err == nil {
			t.Errorf("a short generator: %v", err)
		}
	}
	o = origin()
	o.Software = strings.Repeat("x", maxSoftware+1)
	if _, err := NewWithIdentity(o); err == nil {
		t.Error("a deployment was made that cannot be read")
	}
}

package custody

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tarn/keys/fault"
	"tarn/keys/secret"
)

// everyPrinting returns all that the standard library makes of v. The verb %p
// is left out for what holds plain texts: it goes past every method.
func everyPrinting(v any) string {
	var out bytes.Buffer
	verbs := "vsdxXqobTp"
	if _, plain := v.(Given); plain {
		verbs = strings.TrimSuffix(verbs, "p")
	}
	for _, verb := range verbs {
		for _, flag := range []string{"%", "%+", "%#", "% "} {
			fmt.Fprintf(&out, flag+string(verb)+"\n", v)
		}
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v, slog.Any("g", v))
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
	b, err := json.Marshal(v)
	fmt.Fprintln(&out, string(b), err)
	fmt.Fprintln(&out, gob.NewEncoder(&out).Encode(v))
	return out.String()
}

// leaks reports whether a printing holds a part of a secret, in a form that Go
// prints bytes and texts in.
func leaks(printed string, secrets ...[]byte) bool {
	for _, whole := range secrets {
		part := whole[len(whole)/2 : len(whole)/2+6]
		forms := []string{
			string(part), fmt.Sprintf("%x", part), fmt.Sprintf("%X", part), fmt.Sprintf("% x", part), strings.Trim(fmt.Sprint(part), "[]"),
			strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", part), "[]byte{"), "}"), strings.Trim(fmt.Sprintf("%o", part), "[]"),
		}
		for i := range 3 { // base64 at each of its alignments
			forms = append(forms, base64.StdEncoding.EncodeToString(whole[len(whole)/2-i : len(whole)/2+9-i])[2:10])
		}
		if slices.ContainsFunc(forms, func(form string) bool { return strings.Contains(printed, form) }) {
			return true
		}
	}
	return false
}

// TestNeverPrinted prints every exported type, whole and inside others, and
// every error that unsealing gives, and looks for what is secret in them.
func TestNeverPrinted(t *testing.T) {
	for _, m := range []made{byIdentity(t), byPassphrase(t), byShares(t, 2, 3)} {
		method := m.Document.Method
		u := NewUnsealer(m.Document)
		var identity Identity
		var secrets [][]byte
		for _, given := range m.givens {
			text := []byte(given.Share + given.Passphrase + given.Identity)
			if at := bytes.Index(text, []byte("AGE-SECRET")); at >= 0 {
				text = text[at:]
			}
			secrets = append(secrets, text)
			if given.Share != "" {
				s, err := parseShare(given.Share)
				if err != nil {
					t.Fatal(err)
				}
				secrets = append(secrets, s.value[:])
			}
			if identity == nil {
				found, complete, err := u.Collect(given)
				if err != nil {
					t.Fatal(err)
				}
				if complete {
					identity = found
				}
			}
		}
		secrets = append(secrets, []byte(identity.(*inMemory).get().String()))
		m.Root.Use(func(b *[secret.Size]byte) { secrets = append(secrets, bytes.Clone(b[:])) })
		if _, complete, err := u.Give(m.givens[len(m.givens)-1]); err != nil || complete != (method != MethodShares) {
			t.Fatal(err)
		}
		var refusals []error
		for _, given := range m.givens {
			for _, wrong := range []func(string) string{
				func(s string) string { return s[:len(s)-9] }, func(s string) string { return s[:len(s)-9] + "\x00" + s[len(s)-8:] },
				func(s string) string { return s + s }, func(s string) string { return s[1:] },
				func(s string) string { return s[:len(s)-9] + swap(s[len(s)-9]) + s[len(s)-8:] },
			} {
				g := given
				for _, member := range []*string{&g.Share, &g.Passphrase, &g.Identity} {
					if *member != "" {
						*member = wrong(*member)
					}
				}
				_, _, err := NewUnsealer(m.Document).Give(g)
				if err == nil {
					t.Fatal("something wrong opens")
				}
				refusals = append(refusals, err)
			}
		}
		type nested struct {
			deployment Deployment
			document   *Document
			unsealer   *Unsealer
			inner      Unsealer
			identity   Identity
			status     any
			handout    []Handout
			refusals   []error
		}
		n := nested{m.Deployment, &m.Document, u, *u, identity, u.Status(), []Handout{m.Handout}, refusals}
		for _, v := range []any{m.Deployment, &m.Deployment, m.Document, &m.Document, m.Handout, u, *u, u.Status(), identity, m.givens, m.givens[0], &m.givens[0], n, &n, []any{n}, errors.Join(refusals...)} {
			if leaks(everyPrinting(v), secrets...) {
				t.Errorf("%s: %T is printed", method, v)
			}
		}
		// The control: each secret in a named type with a String method is found.
		for i, s := range secrets {
			if !leaks(everyPrinting(struct{ inner named }{named(s)}), s) || !leaks(everyPrinting(struct{ Text string }{string(s)}), s) {
				t.Errorf("%s: secret %d is not found where it is planted: this test proves nothing", method, i)
			}
		}
	}
}

type named []byte

func (named) String() string { return redacted }

// FuzzShare: no text makes the parser panic; what is read is written the same
// way; errors hold nothing of a share but numbers.
func FuzzShare(f *testing.F) {
	fixed := regexp.MustCompile(`^reading the share: (it is too long|it does not begin with tarn-share1|character \d+ is (one that no share holds|mistyped)|` +
		`it has \d+ characters, a share has 85|more than one of its characters is mistyped); [a-z, ]+$`)
	good := (&share{deployment: [deploymentSize]byte{1, 2, 3}, number: 7, threshold: 3, value: [scalarSize]byte{9, 8, 7}}).text()
	f.Add(good)
	f.Add(strings.ToUpper(good))
	f.Add(good[:40] + " \n " + good[40:])
	f.Add(good[:40] + "pp" + good[42:])
	f.Add(good[:84])
	f.Add("tarn-share1" + strings.Repeat("q", 74))
	f.Add("TARN-SHARE1" + strings.Repeat("İ", 74))
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseShare(text)
		if err != nil {
			if s != (share{}) || !errors.Is(err, ErrShareMistyped) || fault.KindOf(err) != fault.Usage || !fixed.MatchString(err.Error()) {
				t.Fatalf("refused with a share, another kind, or more words than it may have: %v", err)
			}
			return
		}
		if again := s.text(); again != strings.ToLower(strings.Join(strings.Fields(text), "")) {
			t.Fatal("what was read is written in another way")
		}
	})
}

// FuzzDocument: no bytes make the parser panic or give a document that would be
// written in another way, and no error repeats a value.
func FuzzDocument(f *testing.F) {
	for _, method := range []Method{MethodIdentity, MethodPassphrase, MethodShares} {
		b, err := os.ReadFile(filepath.Join("testdata", string(method)+".json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(bytes.Replace(b, []byte(`"generation": 1`), []byte(`"generation": 1.5`), 1))
		f.Add(bytes.Replace(b, []byte(`"method"`), []byte(`"sealed"`), 1))
		f.Add(bytes.Replace(b, []byte(`"sealed": "`), []byte(`"sealed": "*`), 1))
		f.Add(b[:len(b)/2])
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		d, err := Parse(document)
		if err != nil {
			if !errors.Is(err, ErrDocument) || fault.KindOf(err) != fault.Usage {
				t.Fatalf("another kind: %v", err)
			}
			return
		}
		again, err := d.Encode()
		if err != nil || !bytes.Equal(again, document) {
			t.Fatalf("what was read is written in another way: %v", err)
		}
		if d.Argon2 != nil && d.Argon2.MemoryKiB > maxMemoryKiB || d.Threshold > maxShares || d.Shares > maxShares || len(d.Commitments) > maxShares {
			t.Fatal("a hostile document is taken")
		}
	})
}

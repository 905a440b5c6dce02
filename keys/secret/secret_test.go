package secret

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"text/template"
)

type nested struct {
	Public  Key
	private Key
	byName  map[string]Key
	list    []Key
	any     any
	pointer *Key
}

// everyPrinting returns all that the standard library makes of v when asked to
// print, log, marshal or render it.
func everyPrinting(v any) string {
	var out bytes.Buffer
	for _, verb := range "vsdxXqobTp" {
		for _, flag := range []string{"%", "%+", "%#", "% "} {
			fmt.Fprintf(&out, flag+string(verb)+"\n", v)
		}
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v, slog.Any("g", v))
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
	b, err := json.Marshal(v)
	fmt.Fprintln(&out, string(b), err)
	fmt.Fprintln(&out, gob.NewEncoder(&out).Encode(v))
	_ = template.Must(template.New("x").Parse(`{{.}} {{printf "%#v" .}}`)).Execute(&out, v)
	return out.String()
}

func leaks(printed string, raw [Size]byte) []string {
	var found []string
	for _, form := range []string{
		hex.EncodeToString(raw[:4]), strings.ToUpper(hex.EncodeToString(raw[:4])), "160 161 162",
		"0xa0, 0xa1", string(raw[:4]), "oKGio", "a0 a1 a2", "A0 A1 A2",
	} {
		if strings.Contains(printed, form) {
			found = append(found, form)
		}
	}
	return found
}

func testBytes() (raw [Size]byte) {
	for i := range raw {
		raw[i] = byte(0xA0 + i)
	}
	return raw
}

func TestNeverPrinted(t *testing.T) {
	raw := testBytes()
	k := New(raw)
	n := nested{k, k, map[string]Key{"a": k}, []Key{k}, k, &k}
	for _, v := range []any{k, &k, n, &n, []any{n}, errors.Join(fmt.Errorf("%v", n))} {
		if found := leaks(everyPrinting(v), raw); len(found) > 0 {
			t.Errorf("%T printed its bytes as %q", v, found)
		}
	}
}

// TestControl shows that the search of TestNeverPrinted finds a leak: a named
// array with a String method does leak.
func TestControl(t *testing.T) {
	raw := testBytes()
	if len(leaks(everyPrinting(struct{ k namedArray }{raw}), raw)) == 0 {
		t.Fatal("the planted leak was not found: TestNeverPrinted proves nothing")
	}
}

type namedArray [Size]byte

func (namedArray) String() string { return redacted }

func TestDestroyReachesCopies(t *testing.T) {
	k := New(testBytes())
	kept := k
	k.Destroy()
	kept.Use(func(b *[Size]byte) {
		if *b != ([Size]byte{}) {
			t.Error("a copy kept the bytes of a destroyed key")
		}
	})
}

func TestGenerateDiffersAndFailsLoudly(t *testing.T) {
	a, err := Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.Equal(b) {
		t.Error("two generated keys are equal")
	}
	if _, err := Generate(strings.NewReader("short")); err == nil {
		t.Error("a short read made a key")
	}
}

package keys

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys/fault"
)

// Canonical returns the RFC 8785 (JCS) form of a JSON document. Duplicate
// member names and invalid UTF-8 are errors.
func Canonical(document []byte) ([]byte, error) {
	v := jsontext.Value(append([]byte(nil), document...))
	if err := v.Canonicalize(); err != nil {
		return nil, DescribeJSON(err)
	}
	return v, nil
}

// Digest returns the SHA-256 over the RFC 8785 form of a JSON document, in
// lower-case hex.
func Digest(document []byte) (string, error) {
	c, err := Canonical(document)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(c)
	return hex.EncodeToString(sum[:]), nil
}

// DecodeStrict reads one JSON document into v; unknown and duplicate members
// are errors. The error names places, never values.
func DecodeStrict(document []byte, v any) error {
	return DescribeJSON(json.Unmarshal(document, v, json.RejectUnknownMembers(true)))
}

// quoted finds what a JSON decoder quotes from the document. A member name
// tells a reader where to look, but a key file's values must not be printed,
// so only the place survives.
var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// DescribeJSON turns a decoding error into one that holds no value of the
// document: the place (a JSON pointer) and the sort of mistake.
func DescribeJSON(err error) error {
	if err == nil {
		return nil
	}
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		place := printable(semantic.JSONPointer)
		if errors.Is(err, json.ErrUnknownName) {
			return fmt.Errorf("unknown member %s", place)
		}
		if place == "" {
			place = "the document"
		}
		return fmt.Errorf("%s is not of the expected type", place)
	}
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return fmt.Errorf("member %s is there twice", printable(syntactic.JSONPointer))
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("it ends too early, at byte %d", syntactic.ByteOffset)
		}
		return fmt.Errorf("it is not valid JSON at byte %d", syntactic.ByteOffset)
	}
	return errors.New(strings.TrimSpace(quoted.ReplaceAllString(err.Error(), "")))
}

// printable returns a JSON pointer whose unusual parts are withheld.
func printable(p jsontext.Pointer) string {
	var b strings.Builder
	for part := range p.Tokens() {
		b.WriteString("/" + fault.Name(part))
	}
	return b.String()
}

// Encode returns v as indented JSON with a final newline; maps are sorted, so
// that the same value always gives the same bytes.
func Encode(v any) ([]byte, error) {
	b, err := json.Marshal(v, json.Deterministic(true), jsontext.WithIndent("  "), jsontext.EscapeForHTML(false))
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

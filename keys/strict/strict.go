// Package strict reads what people write: what is not known is an error that suggests what
// may have been meant, and no error repeats what stood there, which may be another document
// than was meant.
package strict

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/agnivade/levenshtein"

	"tarn/keys/fault"
)

// UnknownError is a document with keys that nothing reads.
type UnknownError struct {
	// Keys says of each that there is no such key, and which is nearest.
	Keys []string
}

// Error implements error.
func (e *UnknownError) Error() string { return strings.Join(e.Keys, "; ") }

// TOML reads a document into the structure that into points to, whose fields name their
// keys with `toml` tags and hold the defaults beforehand. Every key must be known: else the
// error is an *UnknownError. A document that is not TOML or holds a value of the wrong type
// is an error that names the line.
func TOML(document []byte, into any) error {
	meta, err := toml.Decode(string(document), into)
	if err != nil {
		return errors.New(describeTOML(err))
	}
	unknown := meta.Undecoded()
	if len(unknown) == 0 {
		return nil
	}
	known := knownKeys(reflect.TypeOf(into))
	e := new(UnknownError)
	for _, key := range unknown {
		e.Keys = append(e.Keys, describeUnknown(key, known))
	}
	return e
}

// describeTOML says where and what is wrong, and repeats nothing of the file: it
// may be another than was meant.
func describeTOML(err error) string {
	var parse toml.ParseError
	if !errors.As(err, &parse) {
		return fault.Unquoted(strings.TrimPrefix(err.Error(), "toml: "))
	}
	message := parse.Message
	if message == "" { // the library has such that say it another way
		message = err.Error()
	}
	return fmt.Sprintf("line %d: %s", parse.Position.Line, fault.Unquoted(message))
}

// describeUnknown looks for the nearest key in the same table first, then for
// a table or a key elsewhere whose whole name is near.
func describeUnknown(key toml.Key, known []string) string {
	parts := make([]string, len(key))
	for i := range key {
		parts[i] = fault.Name(key[i])
	}
	text := "there is no key " + strings.Join(parts, ".")
	if near := Nearest(key.String(), known); near != "" {
		return text + " (did you mean " + near + "?)"
	}
	for _, k := range known {
		if parts := strings.Split(k, "."); parts[len(parts)-1] == key[len(key)-1] {
			return text + " (did you mean " + k + "?)"
		}
	}
	return text
}

// knownKeys lists the dotted keys that a configuration structure reads, in the
// order of its fields.
func knownKeys(t reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var keys []string
	for i := range t.NumField() {
		field := t.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("toml"), ",")
		if !field.IsExported() || name == "-" {
			continue
		}
		inner := knownKeys(field.Type)
		if field.Anonymous && name == "" {
			keys = append(keys, inner...)
			continue
		}
		if name == "" {
			name = field.Name
		}
		keys = append(keys, name)
		for _, k := range inner {
			keys = append(keys, name+"."+k)
		}
	}
	return keys
}

// Nearest returns the candidate within two edits of name (one for names of
// three letters or fewer), the first of the closest; "" where there is none.
func Nearest(name string, candidates []string) string {
	best, distance := "", 3
	if len(name) <= 3 {
		distance = 2
	}
	for _, candidate := range candidates {
		if d := levenshtein.ComputeDistance(name, candidate); d < distance {
			best, distance = candidate, d
		}
	}
	return best
}

package boot

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/BurntSushi/toml"

	"tarn/keys/fault"
)

// LoadTOML reads a configuration file into the structure that config points
// to, whose fields name their keys with `toml` tags and hold the defaults
// beforehand. Every key must be known: an unknown one is a fault of kind Usage
// that names the file and the key and suggests the nearest. So is a file that
// is not TOML or holds a value of the wrong type.
func LoadTOML(path string, config any) error {
	doing := "reading the configuration " + path
	document, err := os.ReadFile(path)
	if err != nil {
		return fault.Wrap(fault.Usage, doing, err, "")
	}
	meta, err := toml.Decode(string(document), config)
	if err != nil {
		return fault.New(fault.Usage, doing, describeTOML(err), "correct that line")
	}
	unknown := meta.Undecoded()
	if len(unknown) == 0 {
		return nil
	}
	known := knownKeys(reflect.TypeOf(config))
	var wrong []string
	for _, key := range unknown {
		wrong = append(wrong, describeUnknown(key, known))
	}
	return fault.New(fault.Usage, doing, strings.Join(wrong, "; "), "correct or remove it")
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
	if near := nearest(key.String(), known); near != "" {
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

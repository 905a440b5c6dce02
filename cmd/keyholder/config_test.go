package main

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// keysOf returns the keys of a table of a configuration, as a reader of its documentation
// knows them: "[oidc.claims] preset". The configuration's own table has no name.
func keysOf(table string, of reflect.Type) (keys []string) {
	for field := range of.Fields() {
		name := field.Tag.Get("toml")
		inner := strings.TrimPrefix(table+"."+name, ".")
		switch kind := field.Type.Kind(); {
		case kind == reflect.Struct:
			keys = append(keys, keysOf(inner, field.Type)...)
		case kind == reflect.Slice && field.Type.Elem().Kind() == reflect.Struct:
			for _, key := range keysOf(inner, field.Type.Elem()) {
				keys = append(keys, "["+strings.Replace(key, "]", "]]", 1))
			}
		case table == "":
			keys = append(keys, name)
		default:
			keys = append(keys, "["+table+"] "+name)
		}
	}
	return keys
}

// TestConfigurationIsDocumented holds docs/key-holder.md to the configuration,
// both ways.
func TestConfigurationIsDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/key-holder.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "\n## Configuration\n")
	table, _, _ := strings.Cut(after, "\n## ")
	keys := keysOf("", reflect.TypeFor[config]())
	if len(keys) < 15 {
		t.Fatalf("%d keys were found: the test is blind", len(keys))
	}
	for _, key := range keys {
		if !strings.Contains(table, "\n| `"+key+"` | ") {
			t.Errorf("docs/key-holder.md lacks %s", key)
		}
	}
	if rows := strings.Count(table, "\n| `"); rows != len(keys) {
		t.Errorf("docs/key-holder.md has %d keys, the configuration %d", rows, len(keys))
	}
}

package main

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// keysOf returns the keys of a configuration, as a reader of its documentation
// knows them.
func keysOf(section string, of reflect.Type) (keys []string) {
	for field := range of.Fields() {
		name := field.Tag.Get("toml")
		if field.Type.Kind() == reflect.Struct {
			keys = append(keys, keysOf("["+name+"] ", field.Type)...)
		} else {
			keys = append(keys, section+name)
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

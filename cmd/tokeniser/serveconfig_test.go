package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"tarn/cmd/internal/boot"
)

const operatorsPage = "../../docs/tokenise-service.md"

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// section returns a section of the operator's page.
func section(t *testing.T, heading string) string {
	t.Helper()
	_, after, found := strings.Cut(read(t, operatorsPage), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("there is no section %q", heading)
	}
	text, _, _ := strings.Cut(after, "\n## ")
	return text
}

// keysOf returns the keys of a configuration, as a reader of its documentation
// knows them.
func keysOf(section string, of reflect.Type) (keys []string) {
	for field := range of.Fields() {
		name := field.Tag.Get("toml")
		switch field.Type.Kind() {
		case reflect.Struct:
			keys = append(keys, keysOf("["+name+"] ", field.Type)...)
		case reflect.Slice:
			if field.Type.Elem().Kind() == reflect.Struct {
				keys = append(keys, keysOf("[["+name+"]] ", field.Type.Elem())...)
				continue
			}
			keys = append(keys, section+name)
		default:
			keys = append(keys, section+name)
		}
	}
	return keys
}

// TestConfigurationIsDocumented holds docs/tokenise-service.md to the configuration, both
// ways.
func TestConfigurationIsDocumented(t *testing.T) {
	table := section(t, "Configuration")
	keys := keysOf("", reflect.TypeFor[serveConfig]())
	if len(keys) < 25 {
		t.Fatalf("%d keys were found: the test is blind", len(keys))
	}
	for _, key := range keys {
		if !strings.Contains(table, "\n| `"+key+"` | ") {
			t.Errorf("the page lacks %s", key)
		}
	}
	if rows := strings.Count(table, "\n| `"); rows != len(keys) {
		t.Errorf("the page has %d keys, the configuration %d", rows, len(keys))
	}
}

// TestDefaultsAreDocumented reads the example on the page, and holds the defaults in its
// table to those of what it leaves out.
func TestDefaultsAreDocumented(t *testing.T) {
	text := section(t, "Configuration")
	_, example, _ := strings.Cut(text, "```toml\n")
	example, _, _ = strings.Cut(example, "```")
	for _, has := range []struct{ name, text string }{
		{"as it is", example},
		{"the least", "[listen]\naddress = \"a:1\"\ntls_cert = \"c\"\ntls_key = \"k\"\nclient_ca = \"a\"\n[keyholder]\nas = \"x\"\n[[project]]\nfile = \"p\"\nclients = [\"c\"]\n[store]\ndir = \"s\"\n"},
	} {
		path := filepath.Join(t.TempDir(), "tokeniser.toml")
		if err := os.WriteFile(path, []byte(has.text), 0o600); err != nil {
			t.Fatal(err)
		}
		config, err := readServeConfig(path)
		if err != nil {
			t.Fatalf("%s: %v", has.name, err)
		}
		if has.name == "as it is" {
			if len(config.Projects) != 1 || config.Projects[0].BudgetRows != 5_000_000 || config.Log != (boot.LogConfig{Format: "json", Level: "info"}) {
				t.Errorf("the example is read as %+v", config)
			}
			continue
		}
		checked := 0
		for _, row := range regexp.MustCompile("(?m)^\\| `(?:\\[+(\\w+)\\]+ )?(\\w+)` \\| ([^|]+) \\| ").FindAllStringSubmatch(text, -1) {
			v := reflect.ValueOf(*config)
			if row[1] != "" {
				v = member(v, row[1])
			}
			if v.Kind() == reflect.Slice {
				v = v.Index(0)
			}
			if want, ok := row[3], v.IsValid(); ok && regexp.MustCompile(`^(true|\d+|\d+(ms|s|h|[KMG]iB))$`).MatchString(want) && row[2] != "free_floor" {
				checked++
				if got := written(t, member(v, row[2])); got != want && got != want+"0m0s" {
					t.Errorf("%s %s is %s and documented as %s", row[1], row[2], got, want)
				}
			}
		}
		if checked < 12 {
			t.Errorf("%d defaults were compared", checked)
		}
	}
}

func member(v reflect.Value, name string) reflect.Value {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("toml") == name {
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

// written returns a value as a configuration has it.
func written(t *testing.T, v reflect.Value) string {
	t.Helper()
	switch x := v.Interface().(type) {
	case boot.Size:
		b, _ := x.MarshalText() // it cannot fail
		return string(b)
	case boot.Duration:
		b, _ := x.MarshalText() // nor can this
		return string(b)
	}
	return fmt.Sprint(v.Interface())
}

// TestWhatIsSaidIsDocumented holds the page to the messages of the service's log, its
// metrics and its codes.
func TestWhatIsSaidIsDocumented(t *testing.T) {
	for _, x := range []struct {
		heading, files, pattern, form string
		least                         int
	}{
		{"The log", "../../tokenise/{httpapi,serving,regionstore,relationship}/*.go", `[Ll]ogger\.(?:Info|Warn|Error)\("([^"]+)"`, "\n| `%s` | ", 10},
		{"The log", "*.go", `[Ll]ogger\.(?:Info|Warn|Error)\("([^"]+)"`, "\n| `%s` | ", 1},
		{"Metrics", "../internal/boot/metrics/tokeniser.go", `"(tarn_[a-z_]+)"`, "`%s", 9},
		{"Refusals", "../../tokenise/httpapi/problem.go", `api\.Code = "([a-z_]+)"`, "\n| `%s` | ", 10},
	} {
		text, found := section(t, x.heading), 0
		for _, path := range expand(t, x.files) {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			for _, m := range regexp.MustCompile(x.pattern).FindAllStringSubmatch(read(t, path), -1) {
				found++
				if !strings.Contains(text, strings.Replace(x.form, "%s", m[1], 1)) {
					t.Errorf("%s of the page lacks %q", x.heading, m[1])
				}
			}
		}
		if found < x.least {
			t.Errorf("%s: %d were found in %s: the test is blind", x.heading, found, x.files)
		}
	}
}

// expand returns the files of a pattern, in which {a,b} may stand once.
func expand(t *testing.T, pattern string) (all []string) {
	t.Helper()
	before, rest, some := strings.Cut(pattern, "{")
	names, after, _ := strings.Cut(rest, "}")
	if !some {
		names, after = "", ""
	}
	for name := range strings.SplitSeq(names, ",") {
		found, err := filepath.Glob(before + name + after)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

package reidentify

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

var blockTOML = regexp.MustCompile("(?ms)^```toml\n(.*?)^```$")

// published returns the policies that people begin with: the page's, and the file's.
func published(t *testing.T) (page string, policies map[string]*Policy) {
	t.Helper()
	b, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := blockTOML.FindAllStringSubmatch(string(b), -1)
	if len(blocks) != 1 {
		t.Fatalf("the page has %d policies, want one", len(blocks))
	}
	file, err := os.ReadFile("../../deploy/config/policy.toml")
	if err != nil {
		t.Fatal(err)
	}
	return string(b), map[string]*Policy{"the page's": parsed(t, blocks[0][1]), "the file's": parsed(t, string(file))}
}

// TestPublishedPolicies: both are read, say the same, and are unwise in nothing but that they
// simulate, as one begins.
func TestPublishedPolicies(t *testing.T) {
	_, policies := published(t)
	for name, p := range policies {
		if findings := p.Check(); len(findings) != 1 || findings[0].Where != "mode" {
			t.Errorf("%s: %+v", name, findings)
		}
	}
	page, file := *policies["the page's"], *policies["the file's"]
	page.digest = file.digest
	if !reflect.DeepEqual(page, file) {
		t.Errorf("the page says\n%+v\nand the file\n%+v", page, file)
	}
}

// keysOf returns the names of all keys of a policy.
func keysOf(t reflect.Type) (keys []string) {
	for t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for field := range t.Fields() {
		if name := field.Tag.Get("toml"); name != "" {
			keys = append(keys, name)
		}
		if field.IsExported() {
			keys = append(keys, keysOf(field.Type)...)
		}
	}
	return keys
}

// TestThePageHasEveryKey, every limit's name, every purpose and every action.
func TestThePageHasEveryKey(t *testing.T) {
	page, _ := published(t)
	formats, err := os.ReadFile("../../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	names := keysOf(reflect.TypeFor[Policy]())
	if len(names) < 40 {
		t.Fatalf("found %d keys: the test is blind", len(names))
	}
	has := func(document, name string) bool {
		return regexp.MustCompile("[`.\\[]" + name + `[\[\]` + "` ]").MatchString(document)
	}
	for _, name := range names {
		if !has(string(formats), name) && name != "most" && name != "action" {
			t.Errorf("docs/formats.md does not name %s", name)
		}
		if !has(page, name) && !strings.Contains(page, "\n"+name+" = ") && name != "most" {
			t.Errorf("docs/policy.md does not name %s", name)
		}
	}
	for _, rule := range LimitRules() {
		if !strings.Contains(page, "| `"+rule+"` |") {
			t.Errorf("docs/policy.md does not explain %s", rule)
		}
	}
	for _, purpose := range Purposes() {
		if !strings.Contains(page, "| `"+string(purpose)+"` |") {
			t.Errorf("docs/policy.md does not explain %s", purpose)
		}
	}
	for _, action := range actions {
		if !strings.Contains(page, "| `"+string(action)+"` |") {
			t.Errorf("docs/policy.md does not explain %s", action)
		}
	}
	if has(page, "organisation_sharks") {
		t.Error("the test finds what is not there")
	}
}

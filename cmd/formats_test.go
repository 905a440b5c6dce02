package cmd_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestEveryCodeIsDocumented holds the document to the codes that pipelines rely
// on.
func TestEveryCodeIsDocumented(t *testing.T) {
	source, err := os.ReadFile("../tokenise/reason/reason.go")
	if err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile("../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`Code = "([a-z_]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(codes) < 20 {
		t.Fatalf("found %d codes: the test is blind", len(codes))
	}
	for _, code := range codes {
		if !strings.Contains(string(document), "`"+code[1]+"`") {
			t.Errorf("docs/formats.md does not name %s", code[1])
		}
	}
}

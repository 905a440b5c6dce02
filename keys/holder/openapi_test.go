package holder_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/reidentify"
)

// schema is as much of a schema as these tests look at.
type schema struct {
	Enum       []string          `json:"enum"`
	Pattern    string            `json:"pattern"`
	MinLength  int               `json:"minLength"`
	MaxLength  int               `json:"maxLength"`
	MaxItems   int               `json:"maxItems"`
	Properties map[string]schema `json:"properties"`
}

func texts[T ~string](all []T) (texts []string) {
	for _, one := range all {
		texts = append(texts, string(one))
	}
	return texts
}

// TestOpenAPIHasTheRulesOfReidentification: what can be chosen, and the bounds, are those of
// the code.
func TestOpenAPIHasTheRulesOfReidentification(t *testing.T) {
	var document struct {
		Components struct {
			Schemas map[string]schema `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(api.OpenAPI(), &document); err != nil {
		t.Fatal(err)
	}
	s := document.Components.Schemas
	for name, x := range map[string]struct{ described, want []string }{
		"rules":    {s["Rule"].Enum, texts(reidentify.Rules())},
		"purposes": {s["Purpose"].Enum, texts(reidentify.Purposes())},
		"reasons":  {s["Reason"].Properties["code"].Enum, reidentify.ReasonCodes()},
		"states":   {s["Reidentification"].Properties["state"].Enum, texts(reidentify.States())},
		"limits":   {s["LimitFired"].Properties["rule"].Enum, reidentify.LimitRules()},
	} {
		slices.Sort(x.described)
		slices.Sort(x.want)
		if !slices.Equal(x.described, x.want) || len(x.want) < 5 {
			t.Errorf("the %s %v are described, there are %v", name, x.described, x.want)
		}
	}
	reason, request := s["Reason"].Properties["text"], s["ReidentificationRequest"]
	if reason.MinLength != reidentify.MinReason || reason.MaxLength != reidentify.MaxReason || s["ApprovalGiven"].Properties["comment"].MaxLength != reidentify.MaxComment ||
		request.Properties["items"].MaxItems != reidentify.MaxItems {
		t.Errorf("bounds: %+v, %+v", reason, request)
	}
	pattern := regexp.MustCompile(s["Token"].Pattern)
	token := keys.Token{Scheme: keys.SchemeNoOblivious, DomainNo: 7, TokenEpoch: 3}.String()
	for text, want := range map[string]bool{token: true, strings.ToUpper(token): true, token[1:]: false, token + "q": false, "T" + token[1:]: false} {
		if pattern.MatchString(text) != want {
			t.Errorf("%s: %t", text, !want)
		}
	}
}

// TestDocumentsOfThePage: the documents that docs/reidentification.md shows are ones that
// are read, each member of them.
func TestDocumentsOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/reidentification.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```json\n(.*?)^```$").FindAllSubmatch(page, -1)
	readers := []func([]byte) error{
		strictly[api.ReidentificationRequest], strictly[api.Reidentification], strictly[api.ApprovalGiven], strictly[api.OpenedItems],
		strictly[api.WorklistRequest], strictly[api.ReviewGiven], strictly[api.WhoAskedRequest], strictly[api.WhoAsked],
	}
	if len(blocks) != len(readers) {
		t.Fatalf("the page shows %d documents, want %d", len(blocks), len(readers))
	}
	for i, read := range readers {
		if err := read(blocks[i][1]); err != nil {
			t.Errorf("document %d: %v", i, err)
		}
	}
	if strictly[api.ReviewGiven](blocks[0][1]) == nil {
		t.Error("the control: any document is read as any other")
	}
}

func strictly[T any](document []byte) error { return keys.DecodeStrict(document, new(T)) }

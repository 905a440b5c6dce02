package httpapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/tokenise/httpapi"
	"tarn/tokenise/online"
	"tarn/tokenise/online/wire"
)

// description is what of openapi.json is held to the code.
type description struct {
	OpenAPI string                              `json:"openapi"`
	Paths   map[string]map[string]operationDone `json:"paths"`
	Parts   struct {
		Headers   map[string]any          `json:"headers"`
		Responses map[string]responseDone `json:"responses"`
		Schemas   map[string]schemaDone   `json:"schemas"`
	} `json:"components"`
}

type operationDone struct {
	ID         string                  `json:"operationId"`
	Security   *[]any                  `json:"security"`
	Parameters []struct{ Name string } `json:"parameters"`
	Request    struct {
		Content map[string]any `json:"content"`
	} `json:"requestBody"`
	Responses map[string]responseDone `json:"responses"`
}

type responseDone struct {
	Ref     string         `json:"$ref"`
	Headers map[string]any `json:"headers"`
	Content map[string]struct {
		Examples map[string]struct {
			Value json.RawMessage `json:"value"`
		} `json:"examples"`
	} `json:"content"`
}

type schemaDone struct {
	Properties map[string]struct {
		Enum []any `json:"enum"`
	} `json:"properties"`
}

func described(t *testing.T) (d description) {
	t.Helper()
	must(t, json.Unmarshal(httpapi.OpenAPI(), &d))
	return d
}

// sources are the package's own, without its tests.
func sources(t *testing.T, folder string) (text string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	must(t, err)
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			b, err := os.ReadFile(file)
			must(t, err)
			text += string(b)
		}
	}
	return text
}

// TestDescriptionHasEveryCode that the package answers with, at its status, with an example
// that is a problem, and no other.
func TestDescriptionHasEveryCode(t *testing.T) {
	d := described(t)
	text, vocabulary := sources(t, "."), sources(t, "../../keys/api")
	used := map[api.Code]bool{}
	for _, m := range regexp.MustCompile(`api\.Code = "([a-z_]+)"`).FindAllStringSubmatch(text, -1) {
		used[api.Code(m[1])] = true
	}
	own := len(used)
	for _, m := range regexp.MustCompile(`api\.(Code[A-Z]\w+)`).FindAllStringSubmatch(text, -1) {
		code := regexp.MustCompile(m[1] + `\s+Code = "([a-z_]+)"`).FindStringSubmatch(vocabulary)
		if code == nil {
			t.Fatalf("there is no %s", m[1])
		}
		used[api.Code(code[1])] = true
	}
	delete(used, api.CodeKeyState) // what the key holder says of it is another code here
	if own < 11 || len(used) < 25 {
		t.Fatalf("%d codes of its own and %d in all were found: the test does not see them", own, len(used))
	}
	found := map[api.Code]bool{}
	for name, response := range d.Parts.Responses {
		for code, example := range response.Content[api.ProblemType].Examples {
			var p api.Problem
			if err := json.Unmarshal(example.Value, &p); err != nil || string(p.Code) != code || p.Title == "" || p.Next == "" {
				t.Errorf("%s, %s: %v %s", name, code, err, example.Value)
			}
			found[p.Code] = true
			statuses := api.Codes()
			if want, ok := statuses[p.Code]; ok && want != p.Status && p.Status != 431 {
				t.Errorf("%s is %d here and %d there", code, p.Status, want)
			}
			for status, at := range d.Paths["/v1/projects/{project}/tokenise"]["post"].Responses {
				if at.Ref == "#/components/responses/"+name && status != fmt.Sprint(p.Status) {
					t.Errorf("%s of status %d is at %s", code, p.Status, status)
				}
			}
		}
	}
	if !maps.Equal(found, used) {
		t.Errorf("described:\n%v\nused:\n%v", slices.Sorted(maps.Keys(found)), slices.Sorted(maps.Keys(used)))
	}
	var enum []string
	for _, code := range d.Parts.Schemas["Problem"].Properties["code"].Enum {
		enum = append(enum, code.(string))
	}
	if len(enum) != len(found) || slices.ContainsFunc(enum, func(code string) bool { return !found[api.Code(code)] }) {
		t.Errorf("codes of a problem: %v", enum)
	}
	// Titles are those of the code.
	for _, m := range regexp.MustCompile(`newProblem\((?:fasthttp\.Status\w+|(\d+)), (?:api\.)?(\w+), "([^"]+)"`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(string(httpapi.OpenAPI()), `"title": `+quotedJSON(m[3])) && m[3] != "Nothing can be answered now" {
			t.Errorf("the title %q of %s is not in the description", m[3], m[2])
		}
	}
}

func quotedJSON(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}

// TestDescriptionHasEveryRoute with its method, headers and types, and no other.
func TestDescriptionHasEveryRoute(t *testing.T) {
	d := described(t)
	text := sources(t, ".")
	routes := map[string]bool{}
	for _, m := range regexp.MustCompile(`&route\{"([^"]+)", fasthttp\.Method(\w+), \(\*Server\)\.(\w+), (true|false)\}`).FindAllStringSubmatch(text, -1) {
		operation, ok := d.Paths[m[1]][strings.ToLower(m[2])]
		if public := operation.Security != nil && len(*operation.Security) == 0; !ok || public != (m[4] == "true") || operation.ID != strings.ToLower(m[3]) && m[3] != "live" && m[3] != "ready" {
			t.Errorf("%s %s is described as %+v", m[2], m[1], operation)
		}
		routes[strings.ToLower(m[2])+" "+m[1]] = true
	}
	for path, verbs := range d.Paths {
		for verb, operation := range verbs {
			if !routes[verb+" "+path] {
				t.Errorf("%s %s is no route", verb, path)
			}
			for status, response := range operation.Responses {
				if name, ok := strings.CutPrefix(response.Ref, "#/components/responses/"); ok {
					if _, ok := d.Parts.Responses[name]; !ok {
						t.Errorf("%s %s: %s is not there", path, status, name)
					}
				}
			}
		}
	}
	if len(routes) != 5 {
		t.Errorf("%d routes were found: the test does not see them", len(routes))
	}
	post := d.Paths["/v1/projects/{project}/tokenise"]["post"]
	for _, f := range wire.Formats {
		if post.Request.Content[f.MediaType()] == nil {
			t.Errorf("%s is not taken", f.MediaType())
		}
		if _, ok := post.Responses["200"].Content[f.MediaType()]; !ok {
			t.Errorf("%s is not answered", f.MediaType())
		}
	}
	for _, name := range regexp.MustCompile(`"(Tarn-[A-Za-z-]+|X-(?:Request|Correlation)-ID|Retry-After|Vary|Cache-Control)"`).FindAllStringSubmatch(text, -1) {
		if d.Parts.Headers[name[1]] == nil {
			t.Errorf("the header %s is not described", name[1])
		}
		if post.Responses["200"].Headers[name[1]] == nil && name[1] != "Retry-After" {
			t.Errorf("the header %s is not in answers", name[1])
		}
	}
	fields := slices.Sorted(maps.Keys(d.Parts.Schemas["Row"].Properties))
	if want := slices.Sorted(slices.Values(online.Fields[:])); !slices.Equal(fields, want) {
		t.Errorf("a row has %v, and not %v", fields, want)
	}
	reasons := sources(t, "../reason")
	for _, code := range d.Parts.Schemas["Reason"].Properties["code"].Enum {
		if !strings.Contains(reasons, fmt.Sprintf(`Code = "%s"`, code)) {
			t.Errorf("%s is no reason", code)
		}
	}
	// Those of fields all, and of rows those that are no batch's.
	for _, m := range regexp.MustCompile(`Code = "((?:nhs_number|date_of_birth|postcode|name|sex|row)_\w+)"`).FindAllStringSubmatch(reasons, -1) {
		if !slices.Contains(d.Parts.Schemas["Reason"].Properties["code"].Enum, any(m[1])) {
			t.Errorf("the reason %s is not described", m[1])
		}
	}
}

// TestPageForCallersHasAll: every path, code, header, form and field stands in docs/api.md.
func TestPageForCallersHasAll(t *testing.T) {
	d := described(t)
	b, err := os.ReadFile("../../docs/api.md")
	must(t, err)
	var all []string
	for path := range d.Paths {
		all = append(all, path)
	}
	for name := range d.Parts.Headers {
		all = append(all, name)
	}
	for status := range d.Paths["/v1/projects/{project}/tokenise"]["post"].Responses {
		all = append(all, status)
	}
	for _, code := range d.Parts.Schemas["Problem"].Properties["code"].Enum {
		all = append(all, "`"+code.(string)+"`")
	}
	for _, f := range wire.Formats {
		all = append(all, "`"+f.MediaType()+"`")
	}
	for _, field := range online.Fields {
		all = append(all, "`"+field+"`")
	}
	for _, code := range []string{"row_malformed", "row_encoding", "row_too_long", "row_nothing_linkable", "unique_id_empty"} {
		all = append(all, "`"+code+"`")
	}
	for _, text := range all {
		if !strings.Contains(string(b), text) {
			t.Errorf("%s is not in docs/api.md", text)
		}
	}
	if len(all) < 70 {
		t.Errorf("only %d things are looked for", len(all))
	}
}

// TestExamplesAreWhatTheyShow: each request among the examples is answered, and each answer
// reads as one; the token is that of the specification's vectors.
func TestExamplesAreWhatTheyShow(t *testing.T) {
	s := newSite(t)
	post := described(t).Paths["/v1/projects/{project}/tokenise"]["post"]
	for _, f := range wire.Formats[:3] {
		var request struct {
			Examples map[string]struct {
				Value json.RawMessage `json:"value"`
			} `json:"examples"`
		}
		b, err := json.Marshal(post.Request.Content[f.MediaType()])
		must(t, err)
		must(t, json.Unmarshal(b, &request))
		body := text(t, request.Examples["tokens"].Value)
		a := s.call(call{media: f.MediaType(), query: "?return=token", body: body})
		example := text(t, post.Responses["200"].Content[f.MediaType()].Examples["tokens"].Value)
		if a.status != 200 {
			t.Fatalf("%s: %d %s", f.MediaType(), a.status, a.body)
		}
		token := regexp.MustCompile(`tarn1[0-9a-z]+`)
		if _, err := keys.ParseToken(token.FindString(string(example))); err != nil {
			t.Errorf("%s: %v", f.MediaType(), err)
		}
		if f == wire.JSON {
			got, want := s.document(a), document{}
			must(t, json.Unmarshal(example, &want))
			if fmt.Sprintf("%+v", got.Counts) != fmt.Sprintf("%+v", want.Counts) || codesOf(got.Rows[1].Errors, got.Rows[1].Warnings) != codesOf(want.Rows[1].Errors, want.Rows[1].Warnings) {
				t.Errorf("%+v\n%+v", got, want)
			}
			continue
		}
		squeeze := func(b []byte) string { return strings.ReplaceAll(token.ReplaceAllString(string(b), "T"), " ", "") }
		if squeeze(a.body) != squeeze(example) {
			t.Errorf("%s:\n%s\nand the example is\n%s", f.MediaType(), a.body, example)
		}
	}
	if strings.Contains(strings.ReplaceAll(string(httpapi.OpenAPI()), "943 476 5919", ""), "943") {
		t.Error("another number is in the examples")
	}
}

// text is the text of a string, or the JSON of anything else.
func text(t *testing.T, value json.RawMessage) []byte {
	t.Helper()
	var s string
	if json.Unmarshal(value, &s) == nil {
		return []byte(s)
	}
	return value
}

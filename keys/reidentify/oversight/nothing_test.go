package oversight

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tarn/keys/reidentify"
)

// secret marks what no document may hold.
const secret = "not-for-them"

// marked returns requests of which everything that is nobody's to read here is marked.
func marked() (requests []*reidentify.Request) {
	who := person(1)
	who.Session, who.Assurance, who.Activities = secret, secret, []string{secret}
	for _, r := range []*reidentify.Request{waits(asks(who, thursday, 1, 2)), breaks(who, thursday.Add(-day), true), asks(who, thursday.Add(-40*day), 1)} {
		r.ID, r.Nonce, r.Hash, r.Domain = secret, secret, secret, secret
		r.Reason = reidentify.Reason{Code: secret, Text: secret}
		for i := range r.Items {
			r.Items[i].Token, r.Items[i].TokenH, r.Items[i].Subject = secret, secret, secret
			r.Items[i].Reference = &reidentify.Reference{SourceDataset: secret, UniqueID: secret}
		}
		r.Approvals = []reidentify.Approval{{By: reidentify.Person{Subject: secret, UserID: secret}, Hash: secret, Comment: secret, At: thursday}}
		if r.BreakGlass {
			r.Review = &reidentify.Review{By: reidentify.Person{Subject: secret}, Comment: secret, Outcome: reidentify.Justified, At: thursday}
		}
		r.Decision.Policy = secret
		requests = append(requests, r)
	}
	return requests
}

// documents are all that this package makes.
func documents(t *testing.T, requests []*reidentify.Request) map[string][]byte {
	p := &reidentify.Policy{Limits: reidentify.DefaultLimits()}
	report := Month(p, requests, "A81001", MonthOf(thursday))
	var sheet bytes.Buffer
	if err := report.WriteCSV(&sheet); err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{"sheet": sheet.Bytes()}
	for name, document := range map[string]any{
		"standings of a person":     Standings(p, requests, Subject{Person: &requests[0].Requester}, thursday),
		"standings of an org":       Standings(p, requests, Subject{Organisation: "A81001"}, thursday),
		"overview":                  Everybody(p, requests, thursday),
		"report":                    report,
		"register":                  Register(requests, thursday.AddDate(0, 1, 0)),
		"the requests, the control": requests,
	} {
		text, err := json.Marshal(document)
		if err != nil || len(text) < 100 {
			t.Fatalf("%s: %s, %v", name, text, err)
		}
		all[name] = text
	}
	return all
}

// TestNothingIsToldOfPatients: no document has a token, a name of a patient in the log, a
// request's id or what somebody wrote; and the report and the register name nobody.
func TestNothingIsToldOfPatients(t *testing.T) {
	for name, text := range documents(t, marked()) {
		if held := strings.Contains(string(text), secret); held != strings.HasSuffix(name, "control") {
			t.Errorf("%s: %v: %s", name, held, text)
		}
		if named := strings.Contains(string(text), "subject-1"); named != (name == "overview" || strings.HasSuffix(name, "control")) {
			t.Errorf("%s names somebody: %v", name, named)
		}
	}
}

// TestDocumentsHaveNames: each member of each document has a name of small letters, and
// none can hold what is not known now.
func TestDocumentsHaveNames(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(in reflect.Type) {
		if in.Kind() == reflect.Slice {
			in = in.Elem()
		}
		if in.Kind() == reflect.Interface || in.Kind() == reflect.Map {
			t.Errorf("a member is a %s", in)
		}
		if in.Kind() != reflect.Struct || seen[in] || in == reflect.TypeFor[time.Time]() || in == reflect.TypeFor[CalendarMonth]() {
			return
		}
		seen[in] = true
		for field := range in.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !field.Anonymous && (name == "" || strings.ToLower(name) != name) {
				t.Errorf("%s.%s is called %q", in, field.Name, name)
			}
			walk(field.Type)
		}
	}
	for _, document := range []any{Standing{}, Overview{}, Report{}, ProjectCount{}} {
		walk(reflect.TypeOf(document))
	}
	if len(seen) < 15 {
		t.Errorf("%d types: the test is blind", len(seen))
	}
}

// TestInputIsOnlyRead: requests are others', too.
func TestInputIsOnlyRead(t *testing.T) {
	requests := november()
	order := slices.Clone(requests)
	before, err := json.Marshal(requests)
	if err != nil {
		t.Fatal(err)
	}
	documents(t, requests)
	if after, err := json.Marshal(requests); err != nil || !bytes.Equal(before, after) || !slices.Equal(order, requests) {
		t.Error("requests have changed")
	}
}

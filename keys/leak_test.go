package keys_test

import (
	"strings"
	"testing"

	"tarn/keys"
)

// TestDecodingRepeatsNoValue reads documents in which somebody stands where a name or
// a value should.
func TestDecodingRepeatsNoValue(t *testing.T) {
	for name, document := range map[string]string{
		"unknown member":       `{"9434765919": 1}`,
		"unknown name":         `{"Quetzalina": 1}`,
		"nested":               `{"keys": {"943 476 5919": {}}}`,
		"twice":                `{"legal_basis": {"9434765919": 1, "9434765919": 2}}`,
		"of another type":      `{"keys": "9434765919"}`,
		"number for a text":    `{"name": 9434765919}`,
		"text for a number":    `{"keys": {"domain_no": "9434765919"}}`,
		"out of range":         `{"keys": {"domain_no": 94347659199434765919}}`,
		"broken":               `{"name": "9434765919" "Quetzalina"}`,
		"no JSON":              "9434765919,Quetzalina\n",
		"bad UTF-8":            "{\"name\": \"9434765919\xff\"}",
		"a table of documents": `{"name": "a"}` + "\n" + `{"nhs_number": "9434765919"}`,
	} {
		err := keys.DecodeStrict([]byte(document), new(keys.Project))
		if err == nil || strings.Contains(err.Error(), "943") || strings.Contains(err.Error(), "Quetzalina") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := keys.DecodeStrict([]byte(`{"legal_basis": {"article_6": 1}}`), new(keys.Project)); err == nil || !strings.Contains(err.Error(), "/legal_basis/article_6") {
		t.Errorf("a misspelt member is not named: %v", err)
	}
}

func TestProjectsNameNoPatient(t *testing.T) {
	for member, change := range map[string]func(*keys.Project){
		"purpose":                func(p *keys.Project) { p.Purpose = "for 943 476 5919" },
		"controllers":            func(p *keys.Project) { p.Controllers = []string{"9434765919"} },
		"opt_outs.reason":        func(p *keys.Project) { p.OptOuts.Reason = "9434765919 asked" },
		"legal_basis":            func(p *keys.Project) { p.LegalBasis.Refs = []string{"943-476-5919"} },
		"groups":                 func(p *keys.Project) { p.Groups = []string{"9434765919"} },
		"reidentify.purposes":    func(p *keys.Project) { p.Reidentify.Purposes = []string{"9434765919"} },
		"parties[0].ods":         func(p *keys.Project) { p.Parties[0].ODS = "9434765919" },
		"keyed_hash.accepted_by": func(p *keys.Project) { p.KeyedHash = &keys.KeyedHashAcceptance{AcceptedBy: []string{"9434765919"}} },
		"name":                   func(p *keys.Project) { p.Name = "n-9434765919" },
		"domain":                 func(p *keys.Project) { p.Domain = "943-476-5919" },
		"source_dataset":         func(p *keys.Project) { p.Parties[0].SourceDataset = "943_476_5919" },
	} {
		p := &keys.Project{Schema: keys.ProjectSchema, Name: "a", Domain: "b", Scheme: keys.SchemeKeyedHash, Profile: "nhs-field-1", Purpose: "care", Parties: []keys.Party{{SourceDataset: "north"}},
			Keys: keys.KeySet{DomainNo: 1, TokenEpoch: 1, EncodingEpoch: 1}, Reidentify: keys.Reidentify{Mode: "none"}, Expires: "2099-01-01"}
		if err := p.Check(); err != nil {
			t.Fatalf("control: %v", err)
		}
		change(p)
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), member) || strings.Contains(err.Error(), "943") {
			t.Errorf("%s: %v", member, err)
		}
	}
}

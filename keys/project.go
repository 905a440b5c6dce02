package keys

import (
	"fmt"
	"os"
	"slices"
	"time"

	"tarn/keys/fault"
)

// ProjectSchema is the schema member of project.json.
const ProjectSchema = "tarn.project/1"

// Project is project.json: who links what, for what purpose, on what legal
// basis, under which keys (by number and check value, never the keys).
type Project struct {
	Schema      string     `json:"schema"`
	Software    string     `json:"software,omitzero"`
	Created     string     `json:"created,omitzero"`
	Name        string     `json:"name"`
	Domain      string     `json:"domain"`
	Scheme      string     `json:"scheme"`
	Profile     string     `json:"profile"` // a preset's name, or the path of a profile file, relative to this file
	Purpose     string     `json:"purpose"`
	LegalBasis  LegalBasis `json:"legal_basis"`
	Controllers []string   `json:"controllers"`
	Parties     []Party    `json:"parties"`
	OptOuts     OptOuts    `json:"opt_outs"`
	Groups      []string   `json:"groups"` // columns that may travel in groups.parquet
	Keys        KeySet     `json:"keys"`
	Reidentify  Reidentify `json:"reidentify"`
	Expires     string     `json:"expires"` // a UTC date (the end of that day) or an RFC 3339 time

	// KeyedHash says that the controllers know what scheme keyed-hash gives away.
	// The key holder asks for it where there are several.
	KeyedHash *KeyedHashAcceptance `json:"keyed_hash,omitzero"`

	digest string
}

// KeyedHashAcceptance is the written acceptance that whoever holds a keyed-hash
// key and a token has the identity within minutes.
type KeyedHashAcceptance struct {
	AcceptedBy []string `json:"accepted_by"` // controllers, as Controllers names them
	Date       string   `json:"date"`        // 2006-01-02
}

// LegalBasis states on what basis the project may process the data.
type LegalBasis struct {
	Article6        string   `json:"article6,omitzero"`        // UK GDPR Article 6 condition
	Article9        string   `json:"article9,omitzero"`        // UK GDPR Article 9 condition
	Confidentiality string   `json:"confidentiality,omitzero"` // of the common law duty: consent, section 251, direct care
	Refs            []string `json:"refs,omitzero"`
}

// Party is one source of records in a project.
type Party struct {
	SourceDataset string `json:"source_dataset"`
	ODS           string `json:"ods,omitzero"`         // organisation code of the NHS Organisation Data Service
	BudgetRows    int64  `json:"budget_rows,omitzero"` // rows it may tokenise; 0 is no limit stated
}

// OptOuts states which opt-outs were applied before the data came here.
type OptOuts struct {
	NDOO   bool   `json:"ndoo"`
	Type1  bool   `json:"type1"`
	Local  bool   `json:"local"`
	Reason string `json:"reason,omitzero"`
}

// KeySet identifies a project's keys by number and by check value.
type KeySet struct {
	DomainNo       uint32  `json:"domain_no"`
	TokenEpoch     uint32  `json:"token_epoch"`
	TokenPublicKey *string `json:"token_public_key"` // scheme oblivious only
	TokenKCV       *string `json:"token_kcv"`
	EncodingEpoch  uint32  `json:"encoding_epoch"`
	EncodingKCV    *string `json:"encoding_kcv"`

	// EscrowPublicKey is the key holder's escrow key, specification (j): lower-case hex of
	// its public half. Only projects of scheme keyed-hash that say reidentify direct have it.
	EscrowPublicKey *string `json:"escrow_public_key,omitzero"`
}

// Reidentify says whether a token of this project may ever be opened.
type Reidentify struct {
	Mode      string   `json:"mode"` // none or direct
	Purposes  []string `json:"purposes,omitzero"`
	Approvals int      `json:"approvals,omitzero"`
}

// ReadProject reads and checks project.json. The error is of kind
// [fault.Usage].
func ReadProject(path string) (*Project, error) {
	doing := "reading the project file " + path
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "give the path of a project.json with --project")
	}
	p, err := ParseProject(b)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "correct the file; docs/formats.md describes project.json")
	}
	return p, nil
}

// ParseProject reads and checks the bytes of a project.json.
func ParseProject(document []byte) (*Project, error) {
	p := new(Project)
	if err := DecodeStrict(document, p); err != nil {
		return nil, err
	}
	if err := p.Check(); err != nil {
		return nil, err
	}
	digest, err := Digest(document)
	if err != nil {
		return nil, err
	}
	p.digest = digest
	return p, nil
}

// Digest returns the SHA-256 of the document's RFC 8785 form, in hex; empty
// for a project that was not parsed from a document.
func (p *Project) Digest() string { return p.digest }

// End returns the moment at which the project expires.
func (p *Project) End() (time.Time, error) {
	if p.Expires == "" {
		return time.Time{}, fmt.Errorf("member expires is missing: the last day on which the project may run")
	}
	if day, err := time.Parse(time.DateOnly, p.Expires); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	t, err := time.Parse(time.RFC3339, p.Expires)
	if err != nil {
		return time.Time{}, fmt.Errorf("member expires is neither a date 2006-01-02 nor an RFC 3339 time")
	}
	return t.UTC(), nil
}

// CheckCurrent refuses, with kind [fault.Policy], a project that has expired
// at now.
func (p *Project) CheckCurrent(now time.Time) error {
	end, err := p.End()
	if err != nil {
		return err
	}
	if !now.Before(end) {
		return fault.New(fault.Policy, "checking project "+p.Name, "it expired on "+p.Expires,
			"ask its controllers to renew it: a new expires in project.json")
	}
	return nil
}

// Party returns the party of this source data set.
func (p *Project) Party(sourceDataset string) (Party, bool) {
	i := slices.IndexFunc(p.Parties, func(q Party) bool { return q.SourceDataset == sourceDataset })
	if i < 0 {
		return Party{}, false
	}
	return p.Parties[i], true
}

// SourceDatasets returns the names of the parties in the project's order.
func (p *Project) SourceDatasets() []string {
	names := make([]string, len(p.Parties))
	for i, party := range p.Parties {
		names[i] = party.SourceDataset
	}
	return names
}

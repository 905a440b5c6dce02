package keyring

import (
	"crypto/hmac"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/secret"
)

// project is a project's record: what its operators wrote, and its keys.
type project struct {
	Name        string         `json:"name"`
	Domain      string         `json:"domain"`
	Record      jsontext.Value `json:"record"` // as it was added; its key numbers are not looked at
	Encoding    epochs         `json:"encoding"`
	EncodingKCV *string        `json:"encoding_kcv"` // of the current epoch, as its first tokeniser reported it
	Created     time.Time      `json:"created"`
	Changed     time.Time      `json:"changed"`

	base keys.Project // Record, parsed
}

func (p *project) parse() error { return json.Unmarshal(p.Record, &p.base) }

// rendered returns the project as tokenisers and linkers get it: with the
// numbers and check values of its keys.
func (k *Keyring) rendered(p *project) *keys.Project {
	r := p.base
	r.Software, r.Created = k.options.Software, p.Changed.Format(time.RFC3339)
	r.Keys = keys.KeySet{EncodingKCV: p.EncodingKCV}
	if d := k.domains[p.Domain]; d != nil {
		r.Keys.DomainNo = d.No
		if e := d.Epochs.current(); e != nil {
			r.Keys.TokenEpoch = e.Epoch
			r.Keys.TokenKCV = &e.KeyCheck
			if e.PublicKey != "" {
				r.Keys.TokenPublicKey = &e.PublicKey
			}
		}
	}
	if e := p.Encoding.current(); e != nil {
		r.Keys.EncodingEpoch = e.Epoch
	}
	if e := k.escrow.Epochs.current(); e != nil && escrowed(&p.base) {
		r.Keys.EscrowPublicKey = &e.PublicKey
	}
	return &r
}

func (k *Keyring) document(p *project) api.Project {
	record, err := keys.Encode(k.rendered(p))
	if err != nil {
		record = nil // a structure of texts and numbers always encodes
	}
	digest, err := keys.Digest(record)
	if err != nil {
		digest = ""
	}
	return api.Project{Name: p.Name, Record: record, Digest: digest, Encoding: slices.Clone(p.Encoding), Created: p.Created}
}

// readProject reads the record of a project that is to be added.
func (k *Keyring) readProject(record jsontext.Value) (*keys.Project, error) {
	p := new(keys.Project)
	malformed := func(err error) error {
		return api.Refuse(api.CodeMalformed, "the project record: "+err.Error(), "correct it; docs/formats.md describes project.json")
	}
	if err := keys.DecodeStrict(record, p); err != nil {
		return nil, malformed(err)
	}
	if err := k.checkStated(p); err != nil {
		return nil, err
	}
	p.Keys = keys.KeySet{DomainNo: 1, TokenEpoch: 1, EncodingEpoch: 1} // the key holder's to give
	if err := p.Check(); err != nil {
		return nil, malformed(err)
	}
	d := k.domains[p.Domain]
	end, _ := p.End() // Check has read it
	switch {
	case d == nil:
		return nil, api.Refuse(api.CodeNotFound, "the project's domain does not exist", "add it first: keyholder domain add")
	case d.Scheme != p.Scheme:
		return nil, api.Refuse(api.CodeConflict, "the project's scheme is not its domain's", "give scheme "+d.Scheme)
	case !k.now().Before(end):
		return nil, api.Refuse(api.CodeProjectExpired, "the project's last day is over", "give a later expires")
	case p.Scheme == keys.SchemeKeyedHash && len(p.Controllers) > 1 && p.KeyedHash == nil:
		return nil, api.Refuse(api.CodeForbidden,
			"with scheme keyed-hash whoever holds the key and a token has the identity in minutes, and this project has several controllers who have not accepted that",
			"put into the record: keyed_hash, with accepted_by and date")
	case p.KeyedHash != nil && !accepted(p):
		return nil, api.Refuse(api.CodeMalformed, "keyed_hash does not say which controllers accepted it and when", "name every controller in accepted_by, and give the date")
	}
	return p, nil
}

// accepted reports whether every controller of a project has accepted
// keyed-hash.
func accepted(p *keys.Project) bool {
	for _, controller := range p.Controllers {
		if !slices.Contains(p.KeyedHash.AcceptedBy, controller) {
			return false
		}
	}
	_, err := time.Parse(time.DateOnly, p.KeyedHash.Date)
	return err == nil
}

func (k *Keyring) checkProjectAdd(body *api.ProjectAdd) error {
	p, err := k.readProject(body.Record)
	if err != nil {
		return err
	}
	if k.projects[p.Name] != nil {
		return api.Refuse(api.CodeConflict, "there is a project of this name", "choose another name, or change the record: keyholder project renew")
	}
	return nil
}

func (t *transaction) addProject(body *api.ProjectAdd) (string, error) {
	k := t.keyring
	base, err := k.readProject(body.Record)
	if err != nil {
		return "", err
	}
	first, err := k.firstEscrowKey(escrowed(base))
	if err != nil {
		return "", err
	}
	p := &project{Name: base.Name, Domain: base.Domain, Record: body.Record, base: *base, Created: t.now}
	// rotateProject draws the first keys, too, and puts nothing before it has them.
	if _, err := t.rotateProject(p, api.StateReadable); err != nil {
		return "", err
	}
	k.projects[p.Name] = p
	if first.Valid() {
		t.putEscrowKey(first, api.StateReadable)
	}
	t.event(audit.Leaf{Kind: audit.KindProject, Project: p.Name, Domain: p.Domain, Outcome: "added"})
	return "project " + p.Name + " added, its encoding epoch is 1", nil
}

// checkProjectRenew refuses a record that is another project's or would break
// what exists under this one.
func (k *Keyring) checkProjectRenew(body *api.ProjectAdd) error {
	p, err := k.readProject(body.Record)
	if err != nil {
		return err
	}
	old := k.projects[p.Name]
	switch {
	case old == nil:
		return noSuch("project", "add it: keyholder project add")
	case old.Domain != p.Domain, old.base.Profile != p.Profile, old.base.Reidentify.Mode != p.Reidentify.Mode:
		return api.Refuse(api.CodeConflict, "domain, profile and reidentify.mode of a project never change", "add another project")
	}
	return nil
}

func (t *transaction) renewProject(body *api.ProjectAdd) (string, error) {
	base, err := t.keyring.readProject(body.Record)
	if err != nil {
		return "", err
	}
	p := t.keyring.projects[base.Name]
	p.Record, p.base, p.Changed = body.Record, *base, t.now
	t.put(kindProject, p.Name, p)
	t.event(audit.Leaf{Kind: audit.KindProject, Project: p.Name, Domain: p.Domain, Outcome: "renewed"})
	return "project " + p.Name + " has its new record", nil
}

// Project returns a project's record as it is now. A tokeniser sees its own
// projects only: others are not there for it.
func (k *Keyring) Project(caller Caller, name string) (api.Project, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	p := k.projects[name]
	if p == nil || caller.Role == api.RoleTokeniser && !slices.Contains(k.clients[caller.Name].Projects, name) {
		return api.Project{}, noSuch("project", "list them with: keyholder project list")
	}
	return k.document(p), nil
}

// Projects returns every project, by name.
func (k *Keyring) Projects() []api.Project {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.allProjects()
}

func (k *Keyring) allProjects() []api.Project { return documents(k.projects, k.document) }

// pinEncodingKCV keeps the first encoding_kcv that is reported for the current
// encoding epoch, and refuses others: two tokenisers of one project would make
// encodings that nobody can compare.
func (t *transaction) pinEncodingKCV(p *project, l *lease, reported string) error {
	current := p.Encoding.current()
	if current == nil || l.Epoch != current.Epoch {
		return nil // of an epoch that is over: nothing to hold it to
	}
	if p.EncodingKCV != nil {
		if hmac.Equal([]byte(*p.EncodingKCV), []byte(reported)) {
			return nil
		}
		return api.Refuse(api.CodeKeyCheckDiffers, "this tokeniser's encoding_kcv is not that of the project's first", "compare the versions and profile files of the project's tokenisers; do not send what was encoded")
	}
	p.EncodingKCV, p.Changed = &reported, t.now
	t.put(kindProject, p.Name, p)
	t.event(audit.Leaf{Kind: audit.KindProject, Project: p.Name, EncodingEpoch: l.Epoch, Outcome: "key-check-pinned", SelfReported: true})
	return nil
}

// export returns the keys of a project, for work without the key holder.
func (k *Keyring) export(p *project) (*keys.KeyFile, error) {
	if keys.Evaluated(p.base.Scheme) {
		return nil, api.Refuse(api.CodeForbidden, "the token key of this scheme never leaves the key holder", "encode with --as")
	}
	token, encoding := k.domains[p.Domain].Epochs.current(), p.Encoding.current()
	if token == nil || encoding == nil {
		return nil, api.Refuse(api.CodeKeyState, "the project has no current key", "rotate it: keyholder key rotate")
	}
	file := &keys.KeyFile{
		Project: p.Name, Domain: p.Domain, Scheme: p.base.Scheme,
		TokenKey:    k.keys[tokenKey(p.Domain, token.Epoch)],
		EncodingKey: k.keys[encodingKey(p.Name, encoding.Epoch)],
		ReleaseKey:  k.keys[releaseKey(p.Name, encoding.Epoch)],
		RowKeys:     map[string]secret.Key{},
	}
	return file, nil
}

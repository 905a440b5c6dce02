package keyring

import (
	"time"

	"github.com/go-json-experiment/json"

	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/reidentify"
)

const (
	kindPolicy   = "policy"
	policyRecord = "current"
)

// policyKept is the record of the policy by which patients are re-identified: as two
// operators set it, and no file on the key holder's machine.
type policyKept struct {
	Document string    `json:"document"` // policy.toml
	Set      time.Time `json:"set"`

	policy *reidentify.Policy
}

func (p *policyKept) parse(value []byte) (err error) {
	if err := json.Unmarshal(value, p); err != nil {
		return err
	}
	p.policy, err = reidentify.ParsePolicy([]byte(p.Document))
	return err
}

func (k *Keyring) checkPolicySet(body *api.PolicySet) error {
	p, err := reidentify.ParsePolicy([]byte(body.Document))
	if err != nil {
		return api.Refuse(api.CodeMalformed, "the policy: "+err.Error(), "correct it: keyholder policy check")
	}
	for i := range p.Projects {
		if k.projects[p.Projects[i].Name] == nil {
			return api.Refuse(api.CodeConflict, "the policy names a project that the key holder has not got", "add the project first, or leave it out")
		}
	}
	return nil
}

func (t *transaction) setPolicy(body *api.PolicySet) (string, error) {
	policy, err := reidentify.ParsePolicy([]byte(body.Document))
	if err != nil {
		return "", err
	}
	t.keyring.policy = &policyKept{Document: body.Document, Set: t.now, policy: policy}
	t.put(kindPolicy, policyRecord, t.keyring.policy)
	t.event(audit.Leaf{Kind: audit.KindPolicy, Outcome: "set", Policy: policy.Digest()})
	return "the policy is " + policy.Digest(), nil
}

// Policy returns the policy by which patients are re-identified, nil where none was set.
func (k *Keyring) Policy() (policy *reidentify.Policy, document string, set time.Time) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.currentPolicy()
}

func (k *Keyring) currentPolicy() (policy *reidentify.Policy, document string, set time.Time) {
	if k.policy == nil {
		return nil, "", time.Time{}
	}
	return k.policy.policy, k.policy.Document, k.policy.Set
}

// Reidentifiable is what re-identification needs to know of a project.
type Reidentifiable struct {
	reidentify.Project
	Domain   string
	DomainNo uint32
	// Sealed says that whose token it is comes from the region, sealed: scheme keyed-hash.
	Sealed bool
	// Organisations are the ODS codes of its source data sets, by their names.
	Organisations map[string]string
}

// Reidentifiable returns what re-identification needs to know of a project; false where
// there is none of this name.
func (k *Keyring) Reidentifiable(name string) (r Reidentifiable, there bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.reidentifiable(name)
}

func (k *Keyring) reidentifiable(name string) (r Reidentifiable, there bool) {
	p := k.projects[name]
	if p == nil {
		return r, false
	}
	end, err := p.base.End()
	if err != nil {
		return r, false
	}
	r = Reidentifiable{
		Project: reidentify.Project{Name: name, Direct: p.base.Reidentify.Mode == "direct", Approvals: p.base.Reidentify.Approvals, End: end},
		Domain:  p.Domain, DomainNo: k.domains[p.Domain].No, Sealed: escrowed(&p.base), Organisations: map[string]string{},
	}
	for _, purpose := range p.base.Reidentify.Purposes {
		r.Purposes = append(r.Purposes, reidentify.Purpose(purpose))
	}
	for _, party := range p.base.Parties {
		r.Organisations[party.SourceDataset] = party.ODS
	}
	return r, true
}

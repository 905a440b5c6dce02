package keyring

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"time"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/audit"
)

// The states of a client.
const (
	clientInvited  = "invited"
	clientEnrolled = "enrolled"
	clientRevoked  = "revoked"
)

// client is a client's record.
type client struct {
	api.Client
	SealingKey []byte `json:"sealing_key,omitzero"` // HPKE public key
	CodeDigest []byte `json:"code_digest,omitzero"` // of an enrolment code that was not used
}

// organisationName is an ODS code or another short name; it stands in events.
var organisationName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// putClient takes a client into memory, in the place of what was there.
func (k *Keyring) putClient(c *client) {
	if old := k.clients[c.Name]; old != nil {
		k.forget(old)
	}
	k.clients[c.Name] = c
	if digest, ok := digestOf(c.Certificate); ok && c.State == clientEnrolled {
		k.byCertificate[digest] = c
	}
	if len(c.CodeDigest) == sha256.Size {
		k.byCode[[sha256.Size]byte(c.CodeDigest)] = c
	}
}

func (k *Keyring) forget(c *client) {
	if digest, ok := digestOf(c.Certificate); ok {
		delete(k.byCertificate, digest)
	}
	if len(c.CodeDigest) == sha256.Size {
		delete(k.byCode, [sha256.Size]byte(c.CodeDigest))
	}
}

func digestOf(text string) (digest [sha256.Size]byte, ok bool) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != sha256.Size {
		return digest, false
	}
	return [sha256.Size]byte(b), true
}

// update writes a changed copy of a client.
func (t *transaction) update(c client) *client {
	t.keyring.putClient(&c)
	t.put(kindClient, c.Name, &c)
	return &c
}

// Identify returns who a certificate belongs to. The certificate's own words
// count for nothing: it is known, or it is not.
func (k *Keyring) Identify(certificate [sha256.Size]byte) (Caller, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	c := k.byCertificate[certificate]
	switch {
	case c == nil && k.wasRevoked(certificate):
		return Caller{}, api.Refuse(api.CodeRevoked, "", "ask the key holder's operators")
	case c == nil:
		return Caller{}, api.Refuse(api.CodeCertificate, "", "enrol with a code from the key holder's operators")
	case c.CertificateEnd == nil || !k.now().Before(*c.CertificateEnd):
		return c.caller(), api.Refuse(api.CodeExpired, "", "ask the key holder's operators for a new code (keyholder client renew), and enrol again")
	}
	return c.caller(), nil
}

// wasRevoked is asked only about certificates that nobody has, so that a walk
// over the clients is good enough.
func (k *Keyring) wasRevoked(certificate [sha256.Size]byte) bool {
	text := hex.EncodeToString(certificate[:])
	for _, c := range k.clients {
		if c.Certificate == text {
			return true
		}
	}
	return false
}

func (c *client) caller() Caller {
	return Caller{Name: c.Name, Role: c.Role, Organisation: c.Organisation}
}

// OwnName is the name in the certificate that the key holder shows to regions.
const OwnName = "keyholder"

func (k *Keyring) checkClientAdd(body *api.ClientAdd) error {
	malformed := func(detail, next string) error { return api.Refuse(api.CodeMalformed, detail, next) }
	switch {
	case !keys.ValidName(body.Name):
		return malformed("a client's name is 1 to 32 of a-z, 0-9 and -", "choose another name")
	case !slices.Contains(api.Roles(), body.Role):
		return malformed("there is no such role", "give tokeniser, operator or auditor")
	case !organisationName.MatchString(body.Organisation) || holdsNumber(body.Organisation):
		return malformed("the organisation is not 1 to 64 of letters, digits, full stop, - and _", "give its ODS code")
	case body.Name == OwnName:
		return malformed("the key holder itself has this name, towards regions", "choose another name")
	case k.clients[body.Name] != nil:
		return api.Refuse(api.CodeConflict, "there is, or was, a client of this name", "choose another name; names are not used again, so that events stay clear")
	case body.Role != api.RoleTokeniser && (len(body.Projects) > 0 || len(body.SourceDatasets) > 0):
		return malformed("only a tokeniser has projects and source data sets", "leave them out")
	case body.Role == api.RoleTokeniser && len(body.Projects) == 0:
		return malformed("a tokeniser needs a project", "name the projects whose keys it may lease")
	}
	return k.checkProjectsOf(body)
}

// checkProjectsOf holds a tokeniser to one domain: with two it could join what
// the key holder keeps apart.
func (k *Keyring) checkProjectsOf(body *api.ClientAdd) error {
	domains := map[string]bool{}
	parties := map[string]bool{}
	for i, name := range body.Projects {
		p := k.projects[name]
		if p == nil {
			return noSuch("project", "add it first: keyholder project add")
		}
		if slices.Contains(body.Projects[:i], name) {
			return api.Refuse(api.CodeMalformed, "a project is named twice", "name it once")
		}
		domains[p.Domain] = true
		for _, party := range p.base.Parties {
			parties[party.SourceDataset] = true
		}
	}
	if len(domains) > 1 {
		return api.Refuse(api.CodeForbidden, "the projects are of several domains, and one certificate may work in one", "add a client for each domain")
	}
	for _, dataset := range body.SourceDatasets {
		if !parties[dataset] {
			return api.Refuse(api.CodeMalformed, "a source data set is no party of the projects", "name parties of the projects' records")
		}
	}
	return nil
}

// invite gives a client a new code. Its text goes to who asked and is not kept.
func (t *transaction) invite(c client) (*api.Collected, error) {
	text, digest, err := t.keyring.options.Code()
	if err != nil {
		return nil, err
	}
	end := t.now.Add(codeTTL)
	c.CodeDigest, c.CodeEnd = digest[:], &end
	t.update(c)
	return &api.Collected{Code: text, CodeEnd: end}, nil
}

func (t *transaction) addClient(body *api.ClientAdd) (*api.Collected, error) {
	c := client{Client: api.Client{
		Name: body.Name, Role: body.Role, Organisation: body.Organisation, Projects: body.Projects, SourceDatasets: body.SourceDatasets,
		State: clientInvited, Created: t.now,
	}}
	collected, err := t.invite(c)
	if err != nil {
		return nil, err
	}
	t.event(audit.Leaf{Kind: audit.KindClient, Actor: c.caller().actor(), Outcome: clientInvited})
	return collected, nil
}

func (k *Keyring) checkClientRenew(body *api.ClientNamed) error {
	switch c := k.clients[body.Name]; {
	case c == nil:
		return noSuch("client", "list them with: keyholder client list")
	case c.State == clientRevoked:
		return api.Refuse(api.CodeConflict, "the client was revoked, which is for good", "add another client")
	case body.Reason != "" && !k.reason(body.Reason):
		return noReason()
	}
	return nil
}

func (t *transaction) renewClient(body *api.ClientNamed) (*api.Collected, error) {
	c := *t.keyring.clients[body.Name]
	collected, err := t.invite(c)
	if err != nil {
		return nil, err
	}
	t.event(audit.Leaf{Kind: audit.KindClient, Actor: c.caller().actor(), Outcome: "code-renewed"})
	return collected, nil
}

func (k *Keyring) checkClientRevoke(body *api.ClientNamed) error {
	c := k.clients[body.Name]
	switch {
	case c == nil:
		return noSuch("client", "list them with: keyholder client list")
	case c.State == clientRevoked:
		return api.Refuse(api.CodeConflict, "the client is revoked already", "")
	case !k.reason(body.Reason):
		return noReason()
	case c.Role == api.RoleOperator && c.State == clientEnrolled && k.operators() <= k.options.OperatorsRequired:
		return api.Refuse(api.CodeForbidden, "fewer operators would be left than a change needs", "add and enrol another operator first")
	}
	return nil
}

func clientTombstone(name string) string { return "client/" + name }

// operators counts the operators that can act.
func (k *Keyring) operators() (n int) {
	for _, c := range k.clients {
		if c.Role == api.RoleOperator && c.State == clientEnrolled {
			n++
		}
	}
	return n
}

func (t *transaction) revokeClient(body *api.ClientNamed) (string, error) {
	c := *t.keyring.clients[body.Name]
	c.State, c.CodeDigest, c.CodeEnd = clientRevoked, nil, nil
	t.update(c)
	t.put(kindTombstone, clientTombstone(c.Name), struct{}{}) // a restore must not bring it back
	t.event(audit.Leaf{Kind: audit.KindClient, Actor: c.caller().actor(), Outcome: clientRevoked})
	return "client " + c.Name + " is revoked" + t.endLeases(func(l *lease) bool { return l.Client == c.Name }), nil
}

// Clients returns every client, by name.
func (k *Keyring) Clients() []api.Client {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.allClients()
}

func (k *Keyring) allClients() []api.Client {
	return documents(k.clients, func(c *client) api.Client { return c.Client })
}

// Self returns what is known of a caller.
func (k *Keyring) Self(caller Caller) api.Self {
	k.mu.RLock()
	defer k.mu.RUnlock()
	self := api.Self{OperatorsRequired: k.options.OperatorsRequired, Production: k.options.Production}
	if c := k.clients[caller.Name]; c != nil {
		self.Client = c.Client
	}
	return self
}

// Sign makes the certificate of the client of this name, and says when it ends.
type Sign func(client string) (certificate []byte, end time.Time, err error)

// Enrol exchanges a code for a certificate, once. The code's digest finds the
// client; sign is called only where there is one.
func (k *Keyring) Enrol(ctx context.Context, code [sha256.Size]byte, sealingKey []byte, sign Sign) (enrolled api.Enrolled, err error) {
	if _, err := api.LeaseKEM().NewPublicKey(sealingKey); err != nil {
		return enrolled, api.Refuse(api.CodeMalformed, "the sealing key is not one of MLKEM768X25519", "")
	}
	err = k.change(ctx, func(t *transaction) error {
		c := k.byCode[code]
		if c == nil || c.CodeEnd == nil || !t.now.Before(*c.CodeEnd) || c.State == clientRevoked {
			return api.Refuse(api.CodeEnrolCode, "the code is unknown, was used, or is older than 24 hours", "ask the key holder's operators for a new one: keyholder client renew")
		}
		der, end, err := sign(c.Name)
		if err != nil {
			return err
		}
		digest := sha256.Sum256(der)
		if other := k.byCertificate[digest]; other != nil && other.Name != c.Name {
			return api.Refuse(api.CodeConflict, "the certificate is another client's", "make a key of its own for each client")
		}
		next := *c
		next.State, next.Certificate, next.CertificateEnd = clientEnrolled, hex.EncodeToString(digest[:]), &end
		next.SealingKey, next.CodeDigest, next.CodeEnd = sealingKey, nil, nil
		t.endLeases(func(l *lease) bool { return l.Client == c.Name }) // sealed to the key before
		t.update(next)
		t.event(audit.Leaf{Kind: audit.KindEnrol, Actor: next.caller().actor(), Outcome: clientEnrolled})
		enrolled = api.Enrolled{Client: next.Client, Certificate: der}
		return nil
	})
	return enrolled, err
}

// Bootstrap invites the first operators of a new key holder and returns their
// codes, by name.
func (k *Keyring) Bootstrap(ctx context.Context, organisation string, operators []string) (codes map[string]string, err error) {
	codes = map[string]string{}
	err = k.change(ctx, func(t *transaction) error {
		if len(k.clients) > 0 {
			return api.Refuse(api.CodeConflict, "there are clients already", "")
		}
		if len(operators) < k.options.OperatorsRequired {
			return api.Refuse(api.CodeMalformed, "there are fewer operators than a change needs", "name at least two")
		}
		for i, name := range operators {
			body := &api.ClientAdd{Name: name, Role: api.RoleOperator, Organisation: organisation}
			if slices.Contains(operators[:i], name) {
				return api.Refuse(api.CodeMalformed, "an operator is named twice", "name each once")
			}
			if err := k.checkClientAdd(body); err != nil {
				return err
			}
		}
		for _, name := range operators {
			collected, err := t.addClient(&api.ClientAdd{Name: name, Role: api.RoleOperator, Organisation: organisation})
			if err != nil {
				return err
			}
			codes[name] = collected.Code
		}
		return nil
	})
	return codes, err
}

// Recover gives every operator that is not revoked a new code. It is for those
// who hold the custody, when no two operators have a certificate that is good.
func (k *Keyring) Recover(ctx context.Context) (codes map[string]string, err error) {
	codes = map[string]string{}
	err = k.change(ctx, func(t *transaction) error {
		for _, name := range sortedNames(k.clients) {
			c := *k.clients[name]
			if c.Role != api.RoleOperator || c.State == clientRevoked {
				continue
			}
			collected, err := t.invite(c)
			if err != nil {
				return err
			}
			t.event(audit.Leaf{Kind: audit.KindClient, Actor: c.caller().actor(), Outcome: "code-renewed", Rule: "custody"})
			codes[name] = collected.Code
		}
		return nil
	})
	return codes, err
}

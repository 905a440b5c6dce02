// Package fhir writes entries of the log as resources AuditEvent of FHIR R4, which UK Core
// is on. It is a pure mapping: the same entry at the same place gives the same bytes. What
// maps to what is the table in docs/audit.md.
package fhir

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/keys"
	"tarn/keys/audit"
)

// Options say what is known of the log that entries are of.
type Options struct {
	// Origin is the log's, by which it is told from others.
	Origin string
	// Unverified says that nobody has held the log to its checkpoint. Every resource is
	// tagged with it.
	Unverified bool
}

// Resource returns an entry as an AuditEvent: JSON on one line, without its end. Kinds
// that it does not know are written, too. An entry that [audit.Leaf.Encode] refuses is an
// error, which repeats nothing: it might hold what no entry may, and that stays where it is.
func Resource(leaf audit.Leaf, index uint64, o Options) ([]byte, error) {
	if _, err := leaf.Encode(); err != nil {
		return nil, err
	}
	at, err := time.Parse(audit.TimeLayout, leaf.Time)
	if err != nil {
		return nil, errors.New("fhir: member time is not a time")
	}
	e := &auditEvent{
		ResourceType: "AuditEvent", ID: ID(o.Origin, index), Recorded: audit.FormatTime(at), Outcome: outcome(&leaf), OutcomeDesc: leaf.Outcome,
		PurposeOfEvent: purpose(&leaf), Agent: agents(&leaf, o.Origin), Entity: entities(&leaf, index, o.Origin),
		Source: source{Site: o.Origin, Observer: holder(&leaf, o.Origin), Type: []coding{applications}},
	}
	e.Type, e.Subtype, e.Action = codes(&leaf)
	if o.Unverified {
		e.Meta = &meta{Tag: []coding{{System: VerificationSystem, Code: Unverified}}}
	}
	return json.Marshal(e)
}

// ID returns the id of an entry's resource: it is of the log and the place only, so that
// what is sent again replaces what was sent before.
func ID(origin string, index uint64) string {
	sum := sha256.Sum256(keys.LP(keys.Text("tarn/fhir-audit-event/v1"), keys.Text(origin), keys.Text(strconv.FormatUint(index, 10))))
	return hex.EncodeToString(sum[:16])
}

func named(system, value string) reference { return reference{identifier{system, value}} }

// holder is the key holder that has recorded an entry; where the entry does not name it,
// its log does.
func holder(leaf *audit.Leaf, origin string) reference {
	if leaf.Holder != "" {
		return named(HolderSystem, leaf.Holder)
	}
	return named(HolderSystem, origin)
}

func purpose(leaf *audit.Leaf) []concept {
	if leaf.Purpose == "" {
		return nil
	}
	if display, known := reasons[leaf.Purpose]; known {
		return []concept{{[]coding{{reasonSystem, leaf.Purpose, display}}}}
	}
	return []concept{{[]coding{{System: PurposeSystem, Code: leaf.Purpose}}}}
}

// agents are who did it and, beside them, for which organisation. The key holder itself
// is the agent of what nobody asked it for.
func agents(leaf *audit.Leaf, origin string) (all []agent) {
	a := &leaf.Actor
	if a.Subject != "" {
		who := agent{Who: named(issuer(a.Issuer), a.Subject), Requestor: true}
		if a.Role != "" {
			who.Role = []concept{{[]coding{{System: RoleSystem, Code: a.Role}}}}
		}
		all = append(all, who)
	}
	if a.Organisation != "" {
		all = append(all, agent{Who: named(OrganisationSystem, a.Organisation), Requestor: a.Subject == ""})
	}
	if len(all) == 0 {
		all = append(all, agent{Who: holder(leaf, origin), Requestor: true})
	}
	return all
}

// issuer returns the system of the names that an issuer gives. An OpenID Connect issuer is
// a URI already.
func issuer(name string) string {
	if strings.Contains(name, "://") {
		return name
	}
	return IssuerSystem + name
}

// entities are the entry itself, with all that it says beside, and what it refers to.
func entities(leaf *audit.Leaf, index uint64, origin string) []entity {
	all := []entity{{What: named(EntrySystem, origin+"/"+strconv.FormatUint(index, 10)), Type: systemObject, Role: securityRole, Detail: details(leaf)}}
	if leaf.Request != "" {
		all = append(all, entity{What: named(RequestSystem, leaf.Request), Type: systemObject, Role: queryRole})
	}
	if leaf.SubjectH != "" {
		all = append(all, patient(SubjectSystem, leaf.SubjectH))
	}
	if leaf.TokenH != "" {
		all = append(all, patient(TokenSystem, leaf.TokenH))
	}
	return all
}

// patient is a patient by a keyed hash: whom it is of, only the key holder can find.
func patient(system, hash string) entity {
	return entity{What: named(system, hash), Type: person, Role: patientRole, SecurityLabel: []coding{pseudonymous}}
}

// details are the members that FHIR has no place for, by their names in the log.
func details(leaf *audit.Leaf) (all []detail) {
	add := func(name, value string) {
		if value != "" {
			all = append(all, detail{name, value})
		}
	}
	number := func(name string, value int64) {
		if value != 0 {
			add(name, strconv.FormatInt(value, 10))
		}
	}
	yes := func(name string, value bool) {
		if value {
			add(name, "true")
		}
	}
	number("count", leaf.Count)
	add("decision", string(leaf.Decision))
	add("domain", leaf.Domain)
	number("encoding_epoch", int64(leaf.EncodingEpoch))
	add("evidence_h", leaf.EvidenceH)
	add("policy", leaf.Policy)
	add("project", leaf.Project)
	add("reason_commit", leaf.ReasonCommit)
	if leaf.Ref != nil {
		add("ref", strconv.FormatUint(*leaf.Ref, 10))
	}
	if leaf.Actor.Subject == "" { // else they are the agent's
		add("actor.iss", leaf.Actor.Issuer)
		add("actor.role", leaf.Actor.Role)
	}
	add("rule", leaf.Rule)
	yes("self_reported", leaf.SelfReported)
	number("token_epoch", int64(leaf.TokenEpoch))
	yes("unwitnessed", leaf.Unwitnessed)
	return all
}

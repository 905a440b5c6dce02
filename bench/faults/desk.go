package faults

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/bench/care"
	"tarn/bench/keyholder"
	"tarn/keys/api"
	"tarn/keys/audit"
)

// The people of these scenarios. All patients are the practice's: its doctors' requests are
// ready at once, those of another practice wait for an approver of the board.
var (
	doctor   = care.Person{Subject: "doctor", Organisation: care.Practice, Role: "gp"}
	stranger = care.Person{Subject: "stranger", Organisation: care.Other, Role: "gp"}
	approver = care.Person{Subject: "approver", Organisation: care.Board, Role: "approver"}
)

// desk is a key holder at which people ask who patients are.
type desk struct {
	t *Trial
	*care.Site
}

// desk makes one that runs; it is gone when the scenario has ended.
func (t *Trial) desk(patients int, o keyholder.Options) (*desk, error) {
	var err error
	if o.Folder, err = t.sub("site"); err != nil {
		return nil, err
	}
	o.Binary, o.Software, o.Clock = t.binary("keyholder"), t.Software, t.Clock
	s, err := care.Begin(t.ctx, care.Options{Keyholder: o, Patients: patients})
	if err != nil {
		return nil, err
	}
	t.later(s.Close)
	return &desk{t, s}, nil
}

// at is the same desk at another key holder, such as a copy of it.
func (d *desk) at(k *keyholder.KeyHolder) *desk {
	site := *d.Site
	site.KeyHolder = k
	return &desk{d.t, &site}
}

// as is a caller that comes as somebody who has signed in.
func (d *desk) as(p care.Person) (*keyholder.Caller, error) {
	token, err := d.Token(p, nil)
	if err != nil {
		return nil, err
	}
	return d.CallAt(d.People, nil, "Bearer "+token)
}

// send sends one request of somebody who has signed in.
func (d *desk) send(p care.Person, id, verb, path string, body any) (*keyholder.Answer, error) {
	c, err := d.as(p)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Send(d.t.ctx, id, verb, path, body)
}

// post is send, under an id that was not used before.
func (d *desk) post(p care.Person, path string, body any) (*keyholder.Answer, error) {
	return d.send(p, care.NewID(), http.MethodPost, path, body)
}

const (
	requestsPath  = "/v1/reidentifications"
	worklistsPath = "/v1/worklists"
)

// about is a request for one patient, for treatment.
func (d *desk) about(patient int, organisation string) api.ReidentificationRequest {
	return api.ReidentificationRequest{
		Project: care.Project, Purpose: "TREAT", Organisation: organisation, Reason: api.Reason{Code: "care", Text: "Called back about a blood result."},
		Items: []api.ReidentificationItem{{Row: 1, Token: d.Patients[patient].Token}},
	}
}

// asked has somebody ask for a patient, and returns the request.
func (d *desk) asked(p care.Person, patient int) (*api.Reidentification, error) {
	a, err := d.post(p, requestsPath, d.about(patient, p.Organisation))
	if err != nil {
		return nil, err
	}
	return made(a)
}

// made reads a request that was made or changed.
func made(a *keyholder.Answer) (*api.Reidentification, error) {
	r := new(api.Reidentification)
	if !a.Done() || json.Unmarshal(a.Body, r) != nil {
		return nil, fmt.Errorf("a request that has to be taken is not: status %d, %s %s", a.Status, a.Code, a.Rule)
	}
	return r, nil
}

// approved has a stranger ask for a patient, and the approver allow it.
func (d *desk) approved(p care.Person, patient int) (*api.Reidentification, error) {
	r, err := d.asked(p, patient)
	if err != nil {
		return nil, err
	}
	a, err := d.decided(approver, r)
	if err != nil {
		return nil, err
	}
	if r, err = made(a); err == nil && r.State != "ready" {
		err = fmt.Errorf("an approved request is %s", r.State)
	}
	return r, err
}

// decided has somebody approve a request.
func (d *desk) decided(p care.Person, r *api.Reidentification) (*keyholder.Answer, error) {
	return d.post(p, requestsPath+"/"+r.ID+"/approvals", api.ApprovalGiven{Decision: "approve", RequestHash: r.RequestHash})
}

// open has somebody open a request.
func (d *desk) open(p care.Person, r *api.Reidentification) (*keyholder.Answer, error) {
	return d.post(p, requestsPath+"/"+r.ID+"/open", nil)
}

// names reports whether an answer says who a patient is.
func (d *desk) names(a *keyholder.Answer, patient int) bool {
	return strings.Contains(string(a.Body), d.Patients[patient].Number)
}

// leaves are the entries of the log that are about a request; all where it is nil.
func (d *desk) leaves(ctx context.Context, r *api.Reidentification) (found []audit.Leaf, err error) {
	operator, err := d.As(keyholder.Operator)
	if err != nil {
		return nil, err
	}
	defer operator.Close()
	return found, eachEntry(ctx, operator, func(leaf audit.Leaf) {
		if r == nil || leaf.Request == r.RequestHash {
			found = append(found, leaf)
		}
	})
}

// traces is how often the log has each kind of entry about a request, and what came of its
// openings.
type traces struct {
	kinds    map[audit.Kind]int
	outcomes map[string]int
}

func (d *desk) traces(r *api.Reidentification) (traces, error) {
	found := traces{map[audit.Kind]int{}, map[string]int{}}
	leaves, err := d.leaves(d.t.ctx, r)
	for i := range leaves {
		found.kinds[leaves[i].Kind]++
		if leaves[i].Kind == audit.KindReidOutcome {
			found.outcomes[leaves[i].Outcome]++
		}
	}
	return found, err
}

// refusals waits until the log says that so many refusals were, with a code, and returns how
// many it has.
func (d *desk) refusals(code api.Code, least int64) (n int64, err error) {
	_, _, err = until(refusalsWithin, func() (bool, error) {
		leaves, err := d.leaves(d.t.ctx, nil)
		n = 0
		for i := range leaves {
			if leaves[i].Kind == audit.KindRefuse && (leaves[i].Rule == string(code) || strings.HasPrefix(leaves[i].Rule, string(code)+"/")) { // with the reason
				n += max(1, leaves[i].Count)
			}
		}
		return n >= least, err
	})
	return n, err
}

// refusalsWithin is longer than refusals are gathered for.
const refusalsWithin = 12 * time.Second

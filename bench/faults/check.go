package faults

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/client"
)

// CheckSchema is the schema member of what the checker says.
const CheckSchema = "tarn.fault-check/1"

// Checked is what became of what was acknowledged: the document of tarn faults
// check. Things are named by kind and name.
type Checked struct {
	Schema       string   `json:"schema"`
	Software     string   `json:"software"`
	Created      string   `json:"created"`
	Acknowledged int      `json:"acknowledged"` // lines of the ledger
	Missing      []string `json:"missing"`      // acknowledged, and not there
	Differing    []string `json:"differing"`    // there, and not what was acknowledged
	Unrecorded   []string `json:"unrecorded"`   // there, and not in the log
	Twice        []string `json:"twice"`        // more than once in the log
}

// Whole reports whether all that was acknowledged is there, equal, and in the log
// once.
func (c *Checked) Whole() bool {
	return len(c.Missing) == 0 && len(c.Differing) == 0 && len(c.Unrecorded) == 0 && len(c.Twice) == 0
}

// String says what was found, in a line.
func (c *Checked) String() string {
	text := fmt.Sprintf("of %d acknowledged %d are missing, %d differ, %d are not in the log, %d are there twice", c.Acknowledged, len(c.Missing), len(c.Differing), len(c.Unrecorded), len(c.Twice))
	if found := slices.Concat(c.Missing, c.Differing, c.Unrecorded, c.Twice); len(found) > 0 {
		text += ": " + found[0]
	}
	return text
}

// Check asks a running key holder for each line of a ledger, as an operator: whether
// it is there, whether it is what was acknowledged, and whether the log has it once;
// the last not where the key holder was restored, and has begun another log.
func Check(ctx context.Context, ledger string, operator *client.Client, restored bool, software string, now time.Time) (*Checked, error) {
	all, err := ReadLedger(ledger)
	if err != nil {
		return nil, err
	}
	have, err := inventory(ctx, operator, all)
	if err != nil {
		return nil, err
	}
	c := &Checked{Schema: CheckSchema, Software: software, Created: now.UTC().Format(time.RFC3339), Acknowledged: len(all), Missing: []string{}, Differing: []string{}, Unrecorded: []string{}, Twice: []string{}}
	for _, a := range all {
		name := a.Kind + " " + a.Name
		there, equal := have.holds(a)
		switch times := have.entries(a); {
		case !there:
			c.Missing = append(c.Missing, name)
		case !equal:
			c.Differing = append(c.Differing, name)
		case restored:
		case times == 0:
			c.Unrecorded = append(c.Unrecorded, name)
		case times > 1:
			c.Twice = append(c.Twice, name)
		}
	}
	return c, nil
}

// inventoried is what a key holder says that it has.
type inventoried struct {
	domains    map[string]api.Domain
	numbers    map[uint32]int // how many domains have a number
	leases     map[string]api.LeaseRecord
	added      map[string]int // entries of domains that were added, by name
	operations map[string]int // entries of operations that were carried out, by hash
	leased     map[string]int // entries of leases that were given, by id
}

func inventory(ctx context.Context, operator *client.Client, all []Acknowledged) (*inventoried, error) {
	have := &inventoried{domains: map[string]api.Domain{}, numbers: map[uint32]int{}, leases: map[string]api.LeaseRecord{}, added: map[string]int{}, operations: map[string]int{}, leased: map[string]int{}}
	domains, err := operator.Domains(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range domains {
		have.domains[d.Name] = d
		have.numbers[d.DomainNo]++
	}
	projects := map[string]bool{}
	for _, a := range all {
		if a.Kind == ackLease && !projects[a.Project] {
			projects[a.Project] = true
			if err := have.addLeases(ctx, operator, a.Project); err != nil {
				return nil, err
			}
		}
	}
	return have, eachEntry(ctx, operator, func(leaf audit.Leaf) {
		switch {
		case leaf.Kind == audit.KindDomain && leaf.Outcome == "added":
			have.added[leaf.Domain]++
		case leaf.Kind == audit.KindOperatorApproval && leaf.Decision == audit.Allow:
			have.operations[leaf.Request]++
		case leaf.Kind == audit.KindLease && leaf.Outcome == "active":
			have.leased[leaf.Request]++
		}
	})
}

func (have *inventoried) addLeases(ctx context.Context, operator *client.Client, project string) error {
	leases, err := operator.Leases(ctx, project)
	for _, l := range leases {
		have.leases[l.ID] = l
	}
	return err
}

// eachEntry calls f for each entry of the log, in order.
func eachEntry(ctx context.Context, operator *client.Client, f func(audit.Leaf)) error {
	for after := ""; ; {
		events, next, err := operator.Events(ctx, after)
		if err != nil {
			return err
		}
		for _, e := range events {
			var leaf audit.Leaf
			if err := json.Unmarshal(e.Leaf, &leaf); err != nil {
				return fmt.Errorf("entry %d of the log is no leaf", e.Index)
			}
			f(leaf)
		}
		if next == "" {
			return nil
		}
		after = next
	}
}

// holds reports whether a thing is there, and is what was acknowledged.
func (have *inventoried) holds(a Acknowledged) (there, equal bool) {
	if a.Kind == ackDomain {
		d, there := have.domains[a.Name]
		return there, there && d.Scheme == "keyed-hash" && d.DomainNo > 0 && have.numbers[d.DomainNo] == 1 && len(d.Epochs) == 1 && d.Epochs[0].State == api.StateCurrent
	}
	l, there := have.leases[a.Name]
	return there, there && l.Project == a.Project && l.Use == a.Use && l.Epoch == a.Epoch && !l.Expires.Before(a.Expires)
}

// entries is how often the log has a thing.
func (have *inventoried) entries(a Acknowledged) int {
	if a.Kind == ackLease {
		return have.leased[a.Name]
	}
	return max(have.added[a.Name], have.operations[a.Operation]) * min(1, have.added[a.Name]) * min(1, have.operations[a.Operation])
}

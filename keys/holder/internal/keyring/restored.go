package keyring

import (
	"fmt"

	"github.com/go-json-experiment/json"

	"tarn/keys/api"
	"tarn/keys/holder/internal/store"
)

// Restored returns a record of a backup as it comes back: operations that were
// not carried out are void, grants and leases are used up, and keys that a
// tombstone names are left out. It is applied to each record alone.
func Restored(key store.Key, value []byte, destroyed func(name string) bool) (keep bool, changed []byte, err error) {
	switch key.Kind {
	case kindKey:
		return !destroyed(key.Name), value, nil
	case kindEvent, kindAlert:
		return false, nil, nil // it is in the log of before; a restored key holder begins another
	case kindLease:
		l := new(lease)
		if err := json.Unmarshal(value, l); err != nil {
			return false, nil, fmt.Errorf("a lease in the backup cannot be read")
		}
		if l.State == leaseActive {
			l.State = leaseRevoked
		}
		return recode(l)
	case kindOperation:
		o := new(api.Operation)
		if err := json.Unmarshal(value, o); err != nil {
			return false, nil, fmt.Errorf("an operation in the backup cannot be read")
		}
		if o.State == api.OpPending || o.State == api.OpApproved {
			o.State = api.OpVoid
		}
		return recode(o)
	case kindGrant:
		g := new(api.Grant)
		if err := json.Unmarshal(value, g); err != nil {
			return false, nil, fmt.Errorf("a grant in the backup cannot be read")
		}
		if g.State == grantActive {
			g.State = grantUsed // whether it was used since, nobody knows
		}
		return recode(g)
	case kindClient:
		c := new(client)
		if err := json.Unmarshal(value, c); err != nil {
			return false, nil, fmt.Errorf("a client in the backup cannot be read")
		}
		c.CodeDigest, c.CodeEnd = nil, nil
		if destroyed(clientTombstone(c.Name)) {
			c.State = clientRevoked
		}
		return recode(c)
	case kindDomain:
		d := new(domain)
		if err := json.Unmarshal(value, d); err != nil {
			return false, nil, fmt.Errorf("a domain in the backup cannot be read")
		}
		for i := range d.Epochs {
			if destroyed(tokenKey(d.Name, d.Epochs[i].Epoch)) {
				d.Epochs[i].State = api.StateDestroyed
			}
		}
		return recode(d)
	case kindEscrow:
		e := new(escrowKeys)
		if err := json.Unmarshal(value, e); err != nil {
			return false, nil, fmt.Errorf("the escrow keys in the backup cannot be read")
		}
		for i := range e.Epochs {
			if destroyed(escrowKey(e.Epochs[i].KeyCheck)) {
				e.Epochs[i].State = api.StateDestroyed
			}
		}
		return recode(e)
	case kindProject:
		p := new(project)
		if err := json.Unmarshal(value, p); err != nil {
			return false, nil, fmt.Errorf("a project in the backup cannot be read")
		}
		for i := range p.Encoding {
			if destroyed(encodingKey(p.Name, p.Encoding[i].Epoch)) {
				p.Encoding[i].State = api.StateDestroyed
			}
		}
		return recode(p)
	}
	return true, value, nil
}

func recode(record any) (bool, []byte, error) {
	value, err := json.Marshal(record, json.Deterministic(true))
	return err == nil, value, err
}

package keyring

import (
	"slices"
	"time"

	"tarn/keys/api"
)

// transitions are the states that each state may become. Whatever is not here
// is refused.
var transitions = map[api.EpochState][]api.EpochState{
	api.StatePending:     {api.StateCurrent, api.StateCompromised, api.StateDestroyed},
	api.StateCurrent:     {api.StateReadable, api.StateCompromised},
	api.StateReadable:    {api.StateRetired, api.StateCompromised},
	api.StateRetired:     {api.StateCompromised, api.StateDestroyed},
	api.StateCompromised: {api.StateDestroyed},
	api.StateDestroyed:   {},
}

// Transition reports whether a key may go from one state to another.
func Transition(from, to api.EpochState) bool { return slices.Contains(transitions[from], to) }

// epochs are the keys of a domain or project, by number from 1.
type epochs []api.Epoch

// current returns the epoch that is leased, nil where there is none.
func (e epochs) current() *api.Epoch {
	for i := range e {
		if e[i].State == api.StateCurrent {
			return &e[i]
		}
	}
	return nil
}

// get returns the epoch of this number, nil where there is none.
func (e epochs) get(number uint32) *api.Epoch {
	if number == 0 || int(number) > len(e) {
		return nil
	}
	return &e[number-1]
}

// add begins a new epoch, which is current; the one that was current becomes
// what before says.
func (e *epochs) add(keyCheck string, before api.EpochState, now time.Time) *api.Epoch {
	if c := e.current(); c != nil {
		c.State, c.Changed = before, now
	}
	*e = append(*e, api.Epoch{Epoch: uint32(len(*e) + 1), State: api.StateCurrent, KeyCheck: keyCheck, Created: now, Changed: now})
	return &(*e)[len(*e)-1]
}

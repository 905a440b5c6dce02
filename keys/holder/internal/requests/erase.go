package requests

import (
	"context"
	"slices"
	"time"

	"tarn/keys/holder/internal/keyring"
)

// Erasing writes the store anew: it is done seldom, for many at once.
const (
	eraseEvery = 24 * time.Hour
	eraseMost  = 10_000
)

// erase takes requests that are older than they are kept out of memory and off the disk: the
// reasons that people gave, and what others wrote of them. The log keeps its entries, which
// hold a commitment to the reason and no more.
func (r *Requests) erase(ctx context.Context) error {
	now := r.now()
	if r.options.Keep <= 0 || now.Sub(r.erased) < eraseEvery {
		return nil
	}
	var old []string
	r.mu.RLock()
	for id, request := range r.all {
		if now.Sub(request.Created) > r.options.Keep && len(request.Underway()) == 0 {
			old = append(old, id)
		}
	}
	r.mu.RUnlock()
	if len(old) == 0 {
		return nil
	}
	slices.Sort(old)
	old = old[:min(len(old), eraseMost)]
	err := r.ring.Change(ctx, func(c *keyring.Change) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, id := range old {
			r.asked.remove(r.all[id])
			delete(r.all, id)
			c.Erase(kindRequest, id)
		}
		return nil
	})
	if err == nil {
		r.erased = now
	}
	return err
}

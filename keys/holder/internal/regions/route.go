package regions

import (
	"context"
	"crypto/sha256"
	"time"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/relationship"
)

// Routes is which practice each patient of a worklist is registered with, as a region has
// said and signed.
type Routes struct {
	// Organisations has an ODS code for each token, in the order of the question; empty where
	// there is none.
	Organisations []string
	Evidence      [sha256.Size]byte // of all that was said
	Until         time.Time         // from then on it counts no more
}

// Route asks the region of a domain which practice each of these patients, by token text and
// each once, is registered with, for one worklist. Its errors are those of Ask.
func (r *Regions) Route(ctx context.Context, domain string, tokens []string, requestHash string) (*Routes, error) {
	one := r.of[domain]
	if one == nil {
		return nil, noRegion("asking a region for practices")
	}
	doing := "asking the region of domain " + domain + " for practices"
	q := &relationship.RouteQuestion{Tokens: tokens, At: r.options.Clock().UTC().Truncate(time.Millisecond), RequestHash: requestHash}
	if err := q.Check(); err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "") // it names the member only
	}
	ctx, cancel := context.WithTimeout(ctx, r.options.Timeout)
	defer cancel()
	b, err := one.ask(ctx, doing, routePath, q)
	if err != nil {
		return nil, err
	}
	return one.readRoutes(doing, q, b, r.options.Clock())
}

// readRoutes holds what came back to the question.
func (r *region) readRoutes(doing string, q *relationship.RouteQuestion, b []byte, now time.Time) (*Routes, error) {
	var a relationship.RouteAnswer
	if len(b) > maxAnswer || keys.DecodeStrict(b, &a) != nil {
		return nil, noAnswer(doing)
	}
	evidence, err := a.Verify(q, r.Key, now)
	if err != nil {
		return nil, notTheRegions(doing, err)
	}
	until, err := r.until(doing, a.Expires, q.At, now)
	if err != nil {
		return nil, err
	}
	routes := &Routes{Organisations: make([]string, len(a.Organisations)), Evidence: evidence, Until: until}
	for i, organisation := range a.Organisations {
		if organisation != nil {
			routes.Organisations[i] = *organisation
		}
	}
	return routes, nil
}

package relationship

import (
	"context"
	"errors"

	"tarn/keys"
	"tarn/keys/escrow"
	keeping "tarn/tokenise/escrow"
	"tarn/tokenise/regionstore"
)

// Kept is the envelopes of the region's store.
type Kept struct {
	Keeper *keeping.Keeper
	// Domain returns the name of the domain of a number, empty where it is not known now.
	Domain func(number uint32) string
}

// Envelope returns a token's envelope, nil where there is none. One that is damaged is an
// error: the token's next sight mends it.
func (k *Kept) Envelope(ctx context.Context, domainNo, tokenEpoch uint32, token [keys.TokenSize]byte) (*escrow.Envelope, error) {
	name := k.Domain(domainNo)
	if name == "" {
		return nil, nil
	}
	found, err := k.Keeper.Envelope(ctx, name, tokenEpoch, token)
	if errors.Is(err, regionstore.ErrNotFound) {
		return nil, nil
	}
	return found, err
}

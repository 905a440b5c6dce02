package trial

import (
	"context"

	"tarn/bench/quality/splink"
)

// ScorePeer scores what a peer wrote of the clear text of a data set: its links
// of at least this probability, and at its best threshold with truth.
func ScorePeer(ctx context.Context, c *Clear, path string, threshold float64) (at, best Score, err error) {
	t, err := readTruth(ctx, c)
	if err != nil {
		return at, best, err
	}
	sides := c.sourceRecords()
	left, right := sides[0], sides[len(sides)-1]
	var order []ranked
	err = splink.Scan(ctx, path, func(l, r string, probability float64) error {
		a, okA := left[l]
		b, okB := right[r]
		if !okA || !okB { // link_only may name the sides either way round
			a, okA = left[r]
			b, okB = right[l]
		}
		if okA && okB {
			order = append(order, ranked{pairOf(a, b), probability})
		}
		return nil
	})
	return scoreAt(t, order, threshold), bestF1(t, order, false), err
}

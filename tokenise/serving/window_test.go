package serving_test

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"testing"
	"time"

	"tarn/keys"
	"tarn/keys/nhsnumber"
	"tarn/tokenise/serving"
)

// TestWindowGathersAndForgets: numbers that come at one time, from many requests, are
// evaluated together, each request gets the tokens of its own, and of no number anything is
// left in the memory that they were gathered in.
func TestWindowGathersAndForgets(t *testing.T) {
	var mu sync.Mutex
	var batches [][]nhsnumber.Number
	w := serving.NewWindow(20*time.Millisecond, time.Minute, func(_ context.Context, numbers []nhsnumber.Number) (tokens [][keys.TokenSize]byte, err error) {
		mu.Lock()
		defer mu.Unlock()
		batches = append(batches, numbers)
		for _, n := range numbers {
			var token [keys.TokenSize]byte
			copy(token[:], n[:])
			tokens = append(tokens, token)
		}
		return tokens, nil
	})
	number := func(i int) (n nhsnumber.Number) {
		binary.BigEndian.PutUint32(n[:], uint32(i+1))
		return n
	}
	const requests = 200
	var work sync.WaitGroup
	for i := range requests {
		work.Go(func() {
			asked := []nhsnumber.Number{number(3 * i), number(3*i + 1), number(3*i + 2)}
			tokens, err := w.Tokens(t.Context(), slices.Clone(asked))
			if err != nil || len(tokens) != len(asked) {
				t.Errorf("%d tokens, %v", len(tokens), err)
				return
			}
			for at, n := range asked {
				if nhsnumber.Number(tokens[at][:len(n)]) != n {
					t.Error("a request got another's token")
				}
			}
		})
	}
	work.Wait()
	mu.Lock()
	defer mu.Unlock()
	if len(batches) > requests/4 {
		t.Errorf("%d requests were evaluated in %d batches", requests, len(batches))
	}
	all := 0
	for _, b := range batches {
		all += len(b)
		for _, n := range b {
			if n != (nhsnumber.Number{}) {
				t.Fatal("a number is left in memory")
			}
		}
	}
	if all != 3*requests {
		t.Errorf("%d numbers were evaluated", all)
	}
}

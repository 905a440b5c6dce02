package column_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"tarn/keys"
	"tarn/tokenise/column"
)

// TestBatchesAreTheSameOnAnyThreads: a run that goes on, on another machine, has the same
// tokens moved together as the one that was interrupted; else nothing that it kept would be
// known.
func TestBatchesAreTheSameOnAnyThreads(t *testing.T) {
	var numbers []number
	var text strings.Builder
	text.WriteString("id,nhs\n")
	for i := range 9000 {
		token := keys.Token{Scheme: keys.SchemeNoOblivious, DomainNo: 7, TokenEpoch: 2, Value: [keys.TokenSize]byte{byte(i), byte(i >> 8), 1}}.String()
		if i%7 == 0 {
			token = ""
		}
		if i < 1000 { // columns of other types beside it make that many slow enough
			numbers = append(numbers, number{text: token, null: token == ""})
		}
		fmt.Fprintf(&text, "%d,%s\n", i, token)
	}
	folder, table := t.TempDir(), makeParquet(t, columnTypes[0], numbers)
	// batches returns what is moved together, and the output, with so many threads.
	batches := func(parquet bool, threads int) (map[[sha256.Size]byte]int, []byte) {
		t.Helper()
		var mu sync.Mutex
		all := map[[sha256.Size]byte]int{}
		rotating := func(o *column.Options) {
			from := *o.Project
			from.Scheme, from.Keys.TokenEpoch = keys.SchemeOblivious, 2
			o.From, o.Threads = &from, threads
			o.Rotate = func(_ context.Context, tokens [][keys.TokenSize]byte) (moved [][keys.TokenSize]byte, err error) {
				sum := sha256.New()
				for _, token := range tokens {
					sum.Write(token[:])
					token[31] ^= 0xff
					moved = append(moved, token)
				}
				mu.Lock()
				defer mu.Unlock()
				all[[sha256.Size]byte(sum.Sum(nil))]++
				return moved, nil
			}
		}
		var out []byte
		var r *column.Result
		var err error
		if parquet {
			out, r, err = runParquet(t, folder, table, rotating)
		} else {
			out, r, err = run(t, []byte(text.String()), rotating)
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.Tokens == 0 || r.Absent == 0 || len(r.Emptied) > 0 {
			t.Fatalf("%+v", r)
		}
		return all, out
	}
	for _, parquet := range []bool{false, true} {
		one, out := batches(parquet, 1)
		if len(one) < 4 {
			t.Fatalf("there are %d batches: the test is blind", len(one))
		}
		for _, threads := range []int{2, 5} {
			several, same := batches(parquet, threads)
			if !maps.Equal(one, several) || !bytes.Equal(out, same) {
				t.Errorf("Parquet %v: with %d threads there are %d other batches, or another output", parquet, threads, len(several))
			}
		}
	}
}

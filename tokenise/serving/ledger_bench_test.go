package serving_test

import (
	"context"
	"encoding/binary"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"tarn/keys/budget"
	"tarn/keys/secret"
	"tarn/tokenise/regionstore"
	"tarn/tokenise/serving"
)

// BenchmarkLedger begins and keeps requests of one row, a hundred at a time: what a small
// request costs beside its answer.
func BenchmarkLedger(b *testing.B) {
	key := secret.New([secret.Size]byte{1})
	store, err := regionstore.Open(regionstore.Options{Dir: filepath.Join(b.TempDir(), "store"), Key: key, FreeFloor: 1, Clock: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	working, stop := context.WithCancel(context.Background())
	defer stop()
	go store.Work(working)
	ledger, err := serving.NewLedger(serving.LedgerOptions{Store: store, Key: key, Now: time.Now, Ceiling: serving.Allowance{Rows: 1 << 40, Period: budget.Period(24 * time.Hour)}})
	if err != nil {
		b.Fatal(err)
	}
	account := serving.Account{Project: "p", Client: "c"}
	if err := ledger.Open(account, serving.Allowance{Rows: 1 << 40, Period: budget.Period(24 * time.Hour)}); err != nil {
		b.Fatal(err)
	}
	body := make([]byte, 200)
	var n atomic.Uint64
	b.SetParallelism(64)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			var id [16]byte
			binary.BigEndian.PutUint64(id[:], n.Add(1)*0x9E3779B97F4A7C15)
			e, err := ledger.Begin(context.Background(), serving.Request{Account: account, ID: id, Body: body, Rows: 1})
			if err == nil {
				err = e.Commit(context.Background())
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

package badgerdb_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"tarn/keys/badgerdb"
)

func open(t *testing.T, dir string) *badger.DB {
	t.Helper()
	db, err := badgerdb.Open(badgerdb.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// TestOneOwner: who comes second is told so, and can have it when the first is gone.
func TestOneOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	db := open(t, dir)
	if !db.Opts().SyncWrites {
		t.Error("writes are not synced")
	}
	if _, err := badgerdb.Open(badgerdb.Options{Dir: dir}); !errors.Is(err, badgerdb.ErrInUse) {
		t.Errorf("open twice: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	// What cannot be opened for another reason is not said to be in use.
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := badgerdb.Open(badgerdb.Options{Dir: file}); err == nil || errors.Is(err, badgerdb.ErrInUse) {
		t.Errorf("a file: %v", err)
	}
}

func TestRoom(t *testing.T) {
	broken := errors.New("no such folder")
	for _, tt := range []struct {
		free uint64
		err  error
		want error
	}{{10, nil, nil}, {9, nil, badgerdb.ErrNoSpace}, {99, broken, broken}} {
		err := badgerdb.Room(func(string) (uint64, error) { return tt.free, tt.err }, "folder", 10)
		if !errors.Is(err, tt.want) {
			t.Errorf("%d free, %v: %v", tt.free, tt.err, err)
		}
	}
	if free, err := badgerdb.FreeSpace(t.TempDir()); err != nil || free == 0 {
		t.Errorf("the system's: %d, %v", free, err)
	}
}

// TestQueueWritesTogetherInOrder: what waits while the writer is busy is written as
// one, within its bounds, and each caller learns when.
func TestQueueWritesTogetherInOrder(t *testing.T) {
	var mu sync.Mutex
	var batches [][]int
	busy, goOn := make(chan struct{}, 16), make(chan struct{})
	q := badgerdb.NewQueue(func(batch []int) error {
		mu.Lock()
		batches = append(batches, slices.Clone(batch))
		mu.Unlock()
		busy <- struct{}{}
		<-goOn
		return nil
	}, nil)
	small := badgerdb.Size{Changes: 1, Bytes: 1}
	waits := []func(context.Context) error{q.Enqueue(0, small)}
	<-busy
	half := badgerdb.Size{Changes: badgerdb.BatchChanges / 2}
	for i, size := range []badgerdb.Size{half, half, small, {Bytes: badgerdb.BatchBytes + 1}, small} {
		waits = append(waits, q.Enqueue(i+1, size))
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := waits[5](cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("who does not wait: %v", err)
	}
	close(goOn)
	for _, wait := range waits[:5] {
		if err := wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if first, err := q.Close(); !first || err != nil {
		t.Errorf("close: %v, %v", first, err)
	}
	if first, err := q.Close(); first || err != nil {
		t.Errorf("close again: %v, %v", first, err)
	}
	if err := q.Enqueue(9, small)(t.Context()); !errors.Is(err, badgerdb.ErrClosed) {
		t.Errorf("after the close: %v", err)
	}
	want := [][]int{{0}, {1, 2}, {3}, {4}, {5}}
	if !slices.EqualFunc(batches, want, slices.Equal) {
		t.Errorf("%v, want %v", batches, want)
	}
}

// TestQueueFailsForGood, but for errors that it recovers from.
func TestQueueFailsForGood(t *testing.T) {
	full, broken := errors.New("full"), errors.New("broken")
	var next error
	q := badgerdb.NewQueue(func([]int) error { return next }, func(err error) bool { return errors.Is(err, full) })
	write := func() error { return q.Enqueue(1, badgerdb.Size{})(t.Context()) }
	failed := func() bool {
		select {
		case <-q.Failed():
			return true
		default:
			return false
		}
	}
	for _, tt := range []struct {
		err, want error
		failed    bool
	}{{nil, nil, false}, {full, full, false}, {nil, nil, false}, {broken, broken, true}, {nil, broken, true}} {
		next = tt.err
		if err := write(); !errors.Is(err, tt.want) || failed() != tt.failed {
			t.Errorf("%v: %v, failed %v", tt.err, err, failed())
		}
	}
	if _, err := q.Close(); err != nil {
		t.Error(err)
	}
}

package regionstore

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"tarn/keys/secret"
)

// TestFilterForgetsNothing: what is in the store, from before it was opened, from while the
// filter is made and from after, is found; nearly all else is told without a read.
func TestFilterForgetsNothing(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	open := func() *Store {
		s, err := Open(Options{Dir: dir, Key: secret.New([secret.Size]byte{7}), FreeFloor: 1, Clock: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	name := func(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
	put := func(s *Store, from, to int) {
		var changes []Change
		for n := from; n < to; n++ {
			changes = append(changes, Change{Kind: KindRequest, Name: name(n), Value: []byte{1}, ExpiresAt: time.Now().Add(time.Hour)})
		}
		if err := s.Commit(ctx, changes); err != nil {
			t.Fatal(err)
		}
	}
	s := open()
	put(s, 0, 100)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	defer func() { _ = s.Close() }()
	if _, err := s.Get(KindRequest, name(1)); err != nil {
		t.Fatalf("before the filter is made: %v", err)
	}
	put(s, 100, 150)
	s.filters.next.Store(&filter{}) // as while refresh walks
	put(s, 150, 200)
	s.filters.next.Store(nil)
	if err := s.refresh(ctx); err != nil {
		t.Fatal(err)
	}
	put(s, 200, 300)
	for n := range 300 {
		if _, err := s.Get(KindRequest, name(n)); err != nil {
			t.Errorf("record %d: %v", n, err)
		}
	}
	told := 0
	for n := 1000; n < 2000; n++ {
		at := s.sealer.placeOf(KindRequest, name(n))
		if s.filters.absent(KindRequest, &at) {
			told++
		}
		if _, err := s.Get(KindRequest, name(n)); !errors.Is(err, ErrNotFound) {
			t.Errorf("no record %d: %v", n, err)
		}
	}
	if told < 990 {
		t.Errorf("of 1000 names that are not there %d are told without a read", told)
	}
}

// TestFilterHasWhatIsWrittenWhileItIsMade: a record that comes while the filter is filled is
// in it, though the walk has passed its place.
func TestFilterHasWhatIsWrittenWhileItIsMade(t *testing.T) {
	var f filters
	next := &filter{}
	f.next.Store(next)
	at := place{1, 2, 3}
	f.note(&at)
	f.current.Store(next)
	if f.absent(KindRequest, &at) {
		t.Error("it is not in the filter")
	}
	if other := (place{9, 9, 9, 9, 9, 9, 9, 9, 9}); !f.absent(KindRequest, &other) {
		t.Error("all is in the filter")
	}
	if at := (place{1}); f.absent(KindEscrow, &at) {
		t.Error("of a kind that does not expire something is told without a read")
	}
}

// TestFilterIsNotExchangedUnderAWriter: between the two looks of a writer that notes a record
// no filter takes the other's place.
func TestFilterIsNotExchangedUnderAWriter(t *testing.T) {
	s := &Store{}
	before, next := &filter{}, &filter{}
	s.filters.current.Store(before)
	s.filters.next.Store(next)
	s.writing.Lock() // as a transaction does
	done := make(chan struct{})
	go func() { s.publish(next); close(done) }()
	select {
	case <-done:
	case <-time.After(50 * time.Millisecond):
	}
	if s.filters.current.Load() != before || s.filters.next.Load() != next {
		t.Error("the filter was exchanged while a transaction was written")
	}
	s.writing.Unlock()
	<-done
	if s.filters.current.Load() != next || s.filters.next.Load() != nil {
		t.Error("it was not exchanged afterwards")
	}
}

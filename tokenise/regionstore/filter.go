package regionstore

import (
	"context"
	"encoding/binary"
	"sync/atomic"
)

// filter tells of most names that there is no record of them, without a read (Bloom,
// 1970): of 16 million records it is wrong of two names in a hundred, which are then read
// in vain. A place is a keyed hash, so that its bits are as good as random.
type filter struct {
	words [filterBits / 64]atomic.Uint64
}

const (
	filterBits   = 1 << 27 // 16 MiB
	filterProbes = 4       // of 8 bytes each: all of a place
)

func (f *filter) add(at *place) {
	for i := range filterProbes {
		bit := binary.LittleEndian.Uint64(at[1+8*i:]) % filterBits
		if word := &f.words[bit/64]; word.Load()>>(bit%64)&1 == 0 {
			word.Or(1 << (bit % 64))
		}
	}
}

func (f *filter) has(at *place) bool {
	for i := range filterProbes {
		bit := binary.LittleEndian.Uint64(at[1+8*i:]) % filterBits
		if f.words[bit/64].Load()>>(bit%64)&1 == 0 {
			return false
		}
	}
	return true
}

// filters are of records of the kinds that expire: most that are asked for are not there.
type filters struct {
	current atomic.Pointer[filter] // nil until it has all records
	next    atomic.Pointer[filter] // that is being filled
}

// note says that a record of this place is about to be there.
func (f *filters) note(at *place) {
	for _, one := range []*filter{f.current.Load(), f.next.Load()} {
		if one != nil {
			one.add(at)
		}
	}
}

// absent reports whether there is certainly no record of this place.
func (f *filters) absent(kind Kind, at *place) bool {
	one := f.current.Load()
	return kind.Expires() && one != nil && !one.has(at)
}

// refresh makes the filter anew of the records that there are: those that have gone are in
// the old one still.
func (s *Store) refresh(ctx context.Context) error {
	next := &filter{}
	s.writing.Lock()           // a transaction that has begun is there when this returns, and walked over
	s.filters.next.Store(next) // what is written from now on is in it
	s.writing.Unlock()
	defer s.filters.next.Store(nil) // after an error
	for kind := int(firstExpiring); kind <= 0xff; kind++ {
		if err := s.places(ctx, Kind(kind), func(at place) error { next.add(&at); return nil }); err != nil {
			return err
		}
	}
	s.publish(next)
	return nil
}

// publish has a filter that was filled be the one that is asked. No transaction is written
// meanwhile: one that still noted its records in the filter before, and found the next one
// gone, would have them in neither.
func (s *Store) publish(next *filter) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.filters.current.Store(next)
	s.filters.next.Store(nil)
}

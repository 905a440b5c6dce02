package encode

import (
	"sync/atomic"

	"tarn/tokenise/demographics"
)

// defaultCachedDates bounds the keys, tables and pads that are kept: a century
// of dates. A date takes 12 KiB for two 512-bit fields with t = 6, so all of
// them take some 450 MB; a cohort uses as many as it has different dates.
const defaultCachedDates = 36_600

// The dates that have a place in the cache. Others are valid and derived anew
// each time.
const (
	firstCachedYear = 1880
	lastCachedYear  = 2135
	daysOfMonths    = 12 * 31
)

// dateCache keeps the keys of dates of birth, which cost about 50 microseconds
// to make. Two workers may make the same keys at the same time; both are equal.
type dateCache struct {
	places []atomic.Pointer[recordKeys]
	free   atomic.Int64
}

func newDateCache(dates int) *dateCache {
	c := &dateCache{places: make([]atomic.Pointer[recordKeys], (lastCachedYear-firstCachedYear+1)*daysOfMonths)}
	c.free.Store(int64(dates))
	return c
}

// place returns where the keys of a date are kept, nil for a date that has no
// place.
func (c *dateCache) place(date demographics.Date) *atomic.Pointer[recordKeys] {
	if date.Year < firstCachedYear || date.Year > lastCachedYear {
		return nil
	}
	return &c.places[(date.Year-firstCachedYear)*daysOfMonths+(date.Month-1)*31+date.Day-1]
}

// get returns the keys of a date, nil where they are not kept.
func (c *dateCache) get(date demographics.Date) *recordKeys {
	if place := c.place(date); place != nil {
		return place.Load()
	}
	return nil
}

// put keeps the keys of a date, if there is room.
func (c *dateCache) put(date demographics.Date, rk *recordKeys) {
	place := c.place(date)
	if place != nil && c.free.Load() > 0 && place.CompareAndSwap(nil, rk) {
		c.free.Add(-1)
	}
}

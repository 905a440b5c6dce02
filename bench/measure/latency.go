package measure

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// NewHistogram counts microseconds up to a minute, to three digits.
func NewHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, 60_000_000, 3) }

// MS returns a percentile of a NewHistogram in milliseconds.
func MS(h *hdrhistogram.Histogram, percentile float64) float64 {
	return float64(h.ValueAtPercentile(percentile)) / 1000
}

// LatencyOf returns the percentiles that results carry.
func LatencyOf(h *hdrhistogram.Histogram) *Latency {
	return &Latency{P50: MS(h, 50), P99: MS(h, 99), P999: MS(h, 99.9), Max: MS(h, 100)}
}

// SyncTimes measures the floor: small writes to the same disk, each synced.
func SyncTimes(folder string) (*hdrhistogram.Histogram, error) {
	const writes = 500
	f, err := os.Create(filepath.Join(folder, "synced"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // nothing of it is read
	block := make([]byte, 4096)
	if _, err := rand.Read(block); err != nil {
		return nil, err
	}
	times := NewHistogram()
	for range writes {
		begun := time.Now()
		if _, err := f.Write(block); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		if err := times.RecordValue(max(1, time.Since(begun).Microseconds())); err != nil {
			return nil, err
		}
	}
	return times, nil
}

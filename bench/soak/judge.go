package soak

import (
	"math"
	"slices"
)

// Series is what was read of one figure of the service, at equal distances in time.
type Series struct {
	Seconds float64 `json:"seconds"` // how long it was looked at
	Samples int     `json:"samples"`
	Median  float64 `json:"median"`
	Most    float64 `json:"most"`
	// Growth is by how much the figure grew in that time, by the slope of the least values
	// of equal parts of it; Bound is by how much it may.
	Growth float64 `json:"growth"`
	Bound  float64 `json:"bound"`
	Flat   bool    `json:"flat"`
}

// windows is into how many parts a series is divided.
const windows = 8

// growthOf judges values that were read over so many seconds. share is by which part of its
// median a figure may grow, least what it may grow by at any rate.
func growthOf(values []float64, seconds, share, least float64) Series {
	s := Series{Seconds: seconds, Samples: len(values)}
	if len(values) < 2*windows {
		return s // not flat: it has not been looked at for long enough
	}
	sorted := slices.Sorted(slices.Values(values))
	s.Median, s.Most = sorted[len(sorted)/2], sorted[len(sorted)-1]
	var floor [windows]float64
	for w := range windows {
		floor[w] = slices.Min(values[w*len(values)/windows : (w+1)*len(values)/windows])
	}
	// Theil and Sen: the median of the slopes between all pairs, which one value that is far
	// off does not move.
	var slopes []float64
	for i := range floor {
		for j := i + 1; j < windows; j++ {
			slopes = append(slopes, (floor[j]-floor[i])/float64(j-i))
		}
	}
	slices.Sort(slopes)
	slope := (slopes[(len(slopes)-1)/2] + slopes[len(slopes)/2]) / 2
	s.Growth, s.Bound = slope*windows, math.Max(share*s.Median, least)
	s.Flat = s.Growth <= s.Bound
	return s
}

// Bounds of growth in one part of a soak.
const (
	memoryShare    = .10
	memoryLeast    = 16 << 20 // bytes
	residentShare  = .30      // files of the store are mapped, and count
	residentLeast  = 64 << 20
	goroutineShare = .10
	goroutineLeast = 10
)

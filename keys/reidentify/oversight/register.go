package oversight

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"tarn/keys/reidentify"
)

// RegisterMonths is how many months the register goes back.
const RegisterMonths = 12

// few is what the public is not told more exactly.
const few = 10

// ProjectCount is how many patients of a project were named for one purpose, for the public.
// A project that was asked of and of which nobody was named is there, with noughts.
type ProjectCount struct {
	Project string             `json:"project"`
	Purpose reidentify.Purpose `json:"purpose"`
	// Months are the last 12 calendar months that are over, the oldest first.
	Months []MonthCount `json:"months"`
	// Total is of them all: the exact sum, rounded.
	Total Rounded `json:"total"`
}

// MonthCount is one month of it.
type MonthCount struct {
	Month CalendarMonth `json:"month"` // as in 2026-11
	// Openings is how many patients somebody was told in the month, each time.
	Openings Rounded `json:"openings"`
}

// Rounded is a count for the public.
type Rounded struct {
	// About is the count, rounded to the nearest ten, five upwards; 0 where it is 0, and where
	// FewerThan says that it is small.
	About int `json:"about"`
	// FewerThan is 10 where the count is from 1 to 9; else it is left out.
	FewerThan int `json:"fewer_than,omitzero"`
}

func round(n int) Rounded {
	if n > 0 && n < few {
		return Rounded{FewerThan: few}
	}
	return Rounded{About: (n + few/2) / few * few}
}

// String returns it for people: fewer than 10, 0, or as in 120.
func (r Rounded) String() string {
	if r.FewerThan > 0 {
		return "fewer than " + strconv.Itoa(r.FewerThan)
	}
	return strconv.Itoa(r.About)
}

// Register counts for the public, in the order of projects and purposes. The month that goes
// on is not in it, neither as a count nor as a project that is asked of only now: nobody can
// watch it change at the moment of an opening. An opening counts in the month in which it
// was written down what came of it, so that a month that is over stays as it is, as long as
// requests are kept.
func Register(requests []*reidentify.Request, now time.Time) []ProjectCount {
	first := MonthOf(now).Add(-RegisterMonths)
	var bounds [RegisterMonths + 1]time.Time
	for i := range bounds {
		bounds[i], _ = first.Add(i).Bounds()
	}
	place := func(t time.Time) (month int, in bool) {
		n, exactly := slices.BinarySearchFunc(bounds[:], t, time.Time.Compare)
		if !exactly {
			n--
		}
		return n, n >= 0 && n < RegisterMonths
	}
	type key struct {
		project string
		purpose reidentify.Purpose
	}
	counts := map[key]*[RegisterMonths]int{}
	of := func(r *reidentify.Request) *[RegisterMonths]int {
		k := key{r.Project, r.Purpose}
		if counts[k] == nil {
			counts[k] = new([RegisterMonths]int)
		}
		return counts[k]
	}
	for _, r := range requests {
		if _, in := place(r.Created); in {
			of(r)
		}
		for _, o := range r.Openings {
			if month, in := place(o.Done); in {
				of(r)[month] += released(o)
			}
		}
	}
	all := []ProjectCount{}
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.project, b.project), cmp.Compare(a.purpose, b.purpose))
	})
	for _, k := range keys {
		all = append(all, projectCount(k.project, k.purpose, first, counts[k]))
	}
	return all
}

func projectCount(project string, purpose reidentify.Purpose, first CalendarMonth, counts *[RegisterMonths]int) ProjectCount {
	c, total := ProjectCount{Project: project, Purpose: purpose}, 0
	for i, n := range counts {
		c.Months = append(c.Months, MonthCount{Month: first.Add(i), Openings: round(n)})
		total += n
	}
	c.Total = round(total)
	return c
}

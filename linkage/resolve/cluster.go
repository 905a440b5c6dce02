package resolve

import (
	"cmp"
	"slices"
)

// Record is one record of one cohort.
type Record struct {
	Cohort int
	Row    int32
}

// Clusters is a partition of the records of all cohorts into people.
type Clusters struct {
	offset []int   // of each cohort's first record
	parent []int32 // union-find forest
	next   []int32 // the members of a cluster as a ring
	size   []int32 // at the root
	cohort []int32

	onePerCohort bool
}

// Cluster joins linked records, most probable link first. rows is the number
// of records of each cohort; linked tells whether a candidate counts.
//
// Where onePerCohort holds, a cluster takes at most one record of a cohort: a
// link that would bring in a second one is left out, whatever other links say.
func Cluster(rows []int, strata []Stratum, candidates []Candidate, onePerCohort bool, linked func(*Candidate) bool) *Clusters {
	c := newClusters(rows)
	c.onePerCohort = onePerCohort
	var edges []int
	for i := range candidates {
		if linked(&candidates[i]) {
			edges = append(edges, i)
		}
	}
	slices.SortStableFunc(edges, func(a, b int) int { return cmp.Compare(candidates[b].Odds, candidates[a].Odds) })
	for _, i := range edges {
		s := strata[candidates[i].Stratum]
		c.join(c.index(Record{s.LeftCohort, candidates[i].Left}), c.index(Record{s.RightCohort, candidates[i].Right}))
	}
	return c
}

func newClusters(rows []int) *Clusters {
	c := &Clusters{}
	total := 0
	for i, n := range rows {
		c.offset = append(c.offset, total)
		total += n
		c.cohort = append(c.cohort, slices.Repeat([]int32{int32(i)}, n)...)
	}
	c.parent, c.next, c.size = make([]int32, total), make([]int32, total), make([]int32, total)
	for i := range c.parent {
		c.parent[i], c.next[i], c.size[i] = int32(i), int32(i), 1
	}
	return c
}

func (c *Clusters) index(r Record) int32 { return int32(c.offset[r.Cohort]) + r.Row }

func (c *Clusters) record(i int32) Record {
	cohort := int(c.cohort[i])
	return Record{cohort, i - int32(c.offset[cohort])}
}

func (c *Clusters) root(i int32) int32 {
	for c.parent[i] != i {
		c.parent[i] = c.parent[c.parent[i]]
		i = c.parent[i]
	}
	return i
}

func (c *Clusters) join(a, b int32) {
	a, b = c.root(a), c.root(b)
	if a == b || c.onePerCohort && c.shareCohort(a, b) {
		return
	}
	if c.size[a] < c.size[b] {
		a, b = b, a
	}
	c.parent[b] = a
	c.size[a] += c.size[b]
	c.next[a], c.next[b] = c.next[b], c.next[a] // joins the two rings
}

// shareCohort compares the members of two clusters, each of which has at most
// one of every cohort.
func (c *Clusters) shareCohort(a, b int32) bool {
	for i := a; ; {
		for j := b; ; {
			if c.cohort[i] == c.cohort[j] {
				return true
			}
			if j = c.next[j]; j == b {
				break
			}
		}
		if i = c.next[i]; i == a {
			return false
		}
	}
}

// Members returns the records of the cluster that holds r, by cohort and row.
func (c *Clusters) Members(r Record) []Record {
	start := c.index(r)
	var members []Record
	for i := start; ; {
		members = append(members, c.record(i))
		if i = c.next[i]; i == start {
			break
		}
	}
	slices.SortFunc(members, func(a, b Record) int { return cmp.Or(cmp.Compare(a.Cohort, b.Cohort), cmp.Compare(a.Row, b.Row)) })
	return members
}

// Size returns the number of records in the cluster that holds r.
func (c *Clusters) Size(r Record) int32 { return c.size[c.root(c.index(r))] }

// Key returns a number that the records of one cluster share.
func (c *Clusters) Key(r Record) int32 { return c.root(c.index(r)) }

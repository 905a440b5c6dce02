package resolve

import (
	"cmp"
	"slices"
)

// Clusters is a partition of the records of all cohorts into people.
type Clusters struct {
	// Founder is, of each record, the member of its cluster by which the cluster
	// is named: the first by the order that Cluster was told.
	Founder []int32
	// Size is the number of records in a cluster, Cohorts that of the cohorts they
	// are of, each by founder; both are nil before Count.
	Size, Cohorts []int32
}

// forest joins records into clusters.
type forest struct {
	people       *People
	parent       []int32
	next         []int32 // the members of a cluster as a ring
	size         []int32 // at the root
	onePerCohort bool
}

// Cluster joins linked records, most probable link first. linked tells whether
// a candidate counts; before tells which of two records comes first.
//
// Where onePerCohort holds, a cluster takes at most one record of a cohort: a
// link that would bring in a second one is left out, whatever other links say.
func (p *People) Cluster(strata []Stratum, candidates []Candidate, onePerCohort bool, linked func(*Candidate) bool, before func(a, b int32) bool) *Clusters {
	f := &forest{people: p, onePerCohort: onePerCohort, parent: make([]int32, p.Total()), next: make([]int32, p.Total()), size: make([]int32, p.Total())}
	for i := range f.parent {
		f.parent[i], f.next[i], f.size[i] = int32(i), int32(i), 1
	}
	var edges []int32
	for i := range candidates {
		if linked(&candidates[i]) {
			edges = append(edges, int32(i))
		}
	}
	// Where every record is in one link at most, no order can matter.
	if len(strata) > 1 || !onePerCohort {
		slices.SortStableFunc(edges, func(a, b int32) int { return cmp.Compare(candidates[b].Odds, candidates[a].Odds) })
	}
	for _, i := range edges {
		f.join(p.ends(strata[candidates[i].Stratum], &candidates[i]))
	}
	return f.clusters(before)
}

func (f *forest) root(i int32) int32 {
	for f.parent[i] != i {
		f.parent[i] = f.parent[f.parent[i]]
		i = f.parent[i]
	}
	return i
}

func (f *forest) join(a, b int32) {
	a, b = f.root(a), f.root(b)
	if a == b || f.onePerCohort && f.shareCohort(a, b) {
		return
	}
	if f.size[a] < f.size[b] {
		a, b = b, a
	}
	f.parent[b] = a
	f.size[a] += f.size[b]
	f.next[a], f.next[b] = f.next[b], f.next[a] // joins the two rings
}

// shareCohort compares the members of two clusters, each of which has at most
// one of every cohort.
func (f *forest) shareCohort(a, b int32) bool {
	for i := a; ; {
		mine, _ := f.people.Cohort(i)
		for j := b; ; {
			if other, _ := f.people.Cohort(j); mine == other {
				return true
			}
			if j = f.next[j]; j == b {
				break
			}
		}
		if i = f.next[i]; i == a {
			return false
		}
	}
}

func (f *forest) clusters(before func(a, b int32) bool) *Clusters {
	n := len(f.parent)
	c := &Clusters{Founder: f.size} // sizes are not needed any more
	first := f.next                 // of each root its founder; the rings are not needed any more
	for i := range first {
		first[i] = -1
	}
	for i := range int32(n) {
		root := f.root(i)
		if founder := first[root]; founder < 0 || before(i, founder) {
			first[root] = i
		}
	}
	for i := range int32(n) {
		c.Founder[i] = first[f.root(i)]
	}
	return c
}

// Count counts the records and cohorts of every cluster.
func (c *Clusters) Count(p *People) {
	n := len(c.Founder)
	c.Size, c.Cohorts = make([]int32, n), make([]int32, n)
	last := make([]int32, n) // of each founder, one more than the cohort that was seen last
	for i, founder := range c.Founder {
		c.Size[founder]++
		if cohort, _ := p.Cohort(int32(i)); last[founder] != int32(cohort+1) {
			last[founder] = int32(cohort + 1)
			c.Cohorts[founder]++
		}
	}
}

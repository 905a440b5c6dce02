package linkage

import (
	"cmp"
	"encoding/binary"
	"slices"

	"golang.org/x/sync/errgroup"

	"tarn/keys/secret"
	"tarn/linkage/cohort"
	"tarn/linkage/result"
)

// A cluster has the id of its founder, and keeps it while any record that the
// last job put into it is still there:
//
//   - An id is borne by one record. That is the founder where the job has it, and
//     else the record that has been in the cluster's jobs for longest.
//   - Of a cluster that was split, the part with the bearer keeps the id: it needs
//     no count, two records apart being a tie, and no id can ever be given twice,
//     since a record founds clusters only where it is itself.
//   - Of clusters that became one, the id stays whose bearer came in the earliest
//     job; among those of one job, the first by data set and unique_id.
//   - A cluster without a bearer is founded by its record that came first, by the
//     same order. Without an earlier job that is the first by data set and
//     unique_id.
//
// So all there is to remember of a record is the founder of its cluster and the
// number of its first job, and all of the above is one order of the records.

// reference names a record, of this job or of an earlier one.
type reference struct {
	source uint16 // among founders.sources
	id     cohort.ID
}

func (r reference) compare(other reference) int {
	return cmp.Or(cmp.Compare(r.source, other.source), r.id.Compare(other.id))
}

// founders is what earlier jobs say of the records of this one.
type founders struct {
	sources []string // the job's own parties, in order, then others
	// bearer is of each record that which bears the id of the cluster it was in,
	// itself where it bears one; -1 is of records that are new. It is nil where there
	// was no earlier job.
	bearer []int32
	first  []uint16 // of each record, the number of its first job
	// absent are founders that the job does not have, with who bears their id for
	// them, by bearer; byFounder are their places, by founder.
	absent    []absentFounder
	byFounder []int32
	others    bool // whether there are records of parties that the job does not have
}

type absentFounder struct {
	founder reference
	bearer  int32
}

// orderRows finds the order of each party's rows by unique_id.
func (j *job) orderRows() {
	var group errgroup.Group
	group.SetLimit(max(j.Threads, 1))
	for _, p := range j.cohorts {
		if p.byID == nil {
			group.Go(func() error {
				p.orderRows()
				return nil
			})
		}
	}
	_ = group.Wait() // none fails
}

func (p *party) orderRows() {
	type place struct {
		id  cohort.ID
		row int32
	}
	p.byID = make([]int32, 0, len(p.ids))
	ranges := rangesOf(len(p.ids))
	for r := range ranges {
		places := make([]place, 0, len(p.ids)/ranges+len(p.ids)/1000)
		for row, id := range p.ids {
			if b := int(id[0]); b >= r*256/ranges && b < (r+1)*256/ranges {
				places = append(places, place{id, int32(row)})
			}
		}
		for _, x := range sortByID(places, func(x *place) byte { return x.id[0] }, func(a, b place) int { return a.id.Compare(b.id) }, 1) {
			p.byID = append(p.byID, x.row)
		}
	}
}

// index says of the first two bytes of an id, as a number, where in the order
// of rows those that begin with them begin: minted ids are evenly spread.
func (p *party) index() (from []int32) {
	from = make([]int32, 1<<16+1)
	for i := range p.ids {
		from[int(binary.BigEndian.Uint16(p.ids[i][:2]))+1]++
	}
	for b := range 1 << 16 {
		from[b+1] += from[b]
	}
	return from
}

// finder finds records of the job by their ids.
type finder struct {
	job  *job
	from [][]int32
}

func (j *job) newFinder() *finder {
	f := &finder{job: j}
	for _, p := range j.cohorts {
		f.from = append(f.from, p.index())
	}
	return f
}

// find returns the number of a record; -1 where the job does not have it.
func (f *finder) find(r reference) int32 {
	if int(r.source) >= len(f.from) {
		return -1
	}
	p, b := f.job.cohorts[r.source], binary.BigEndian.Uint16(r.id[:2])
	from, to := f.from[r.source][b], f.from[r.source][int(b)+1]
	at, ok := slices.BinarySearchFunc(p.byID[from:to], r.id, func(row int32, id cohort.ID) int { return p.ids[row].Compare(id) })
	if !ok {
		return -1
	}
	return f.job.people.Number(int(r.source), p.byID[int(from)+at])
}

// comesFirst reports whether, of two records, a is the one that a cluster with
// both is named by.
func (j *job) comesFirst(a, b int32) bool {
	if f := &j.founders; f.bearer != nil {
		if x, y := f.bearer[a] == a, f.bearer[b] == b; x != y {
			return x
		}
		if f.first[a] != f.first[b] {
			return f.first[a] < f.first[b]
		}
	}
	if x, y := j.cohortOf(a), j.cohortOf(b); x != y {
		return x < y
	}
	return j.idOf(a).Compare(*j.idOf(b)) < 0
}

// assignAbsent makes, of each founder that the job does not have, one of the
// records that were in its cluster the bearer of its id. claims are these
// records with their founders.
func (j *job) assignAbsent(claims []absentFounder) {
	f := &j.founders
	slices.SortFunc(claims, func(a, b absentFounder) int {
		switch c := a.founder.compare(b.founder); {
		case c != 0:
			return c
		case a.bearer == b.bearer:
			return 0
		case j.comesFirst(a.bearer, b.bearer):
			return -1
		}
		return 1
	})
	for i, claim := range claims {
		if i == 0 || claim.founder != claims[i-1].founder {
			f.absent = append(f.absent, claim)
		}
	}
	for i, at := 0, -1; i < len(claims); i++ {
		if i == 0 || claims[i].founder != claims[i-1].founder {
			at++
		}
		f.bearer[claims[i].bearer] = f.absent[at].bearer
	}
	slices.SortFunc(f.absent, func(a, b absentFounder) int { return cmp.Compare(a.bearer, b.bearer) })
	f.byFounder = make([]int32, len(f.absent))
	for i := range f.byFounder {
		f.byFounder[i] = int32(i)
	}
	slices.SortFunc(f.byFounder, func(a, b int32) int { return f.absent[a].founder.compare(f.absent[b].founder) })
}

// founderOf returns the founder whose id a record bears, or would.
func (j *job) founderOf(number int32) reference {
	absent := j.founders.absent
	if at, ok := slices.BinarySearchFunc(absent, number, func(a absentFounder, number int32) int { return cmp.Compare(a.bearer, number) }); ok {
		return absent[at].founder
	}
	source, row := j.people.Cohort(number)
	return reference{uint16(source), j.cohorts[source].ids[row]}
}

// bearerOf returns the record that bears a founder's id; -1 where none of the
// job does.
func (f *founders) bearerOf(find *finder, founder reference) int32 {
	if number := find.find(founder); number >= 0 {
		return number
	}
	at, ok := slices.BinarySearchFunc(f.byFounder, founder, func(i int32, founder reference) int { return f.absent[i].founder.compare(founder) })
	if !ok {
		return -1
	}
	return f.absent[f.byFounder[at]].bearer
}

// clusterID returns the id of the cluster that is named by a record.
func (j *job) clusterID(h *secret.Hasher, number int32) cohort.ID {
	founder := j.founderOf(number)
	return j.state.clusterID(h, j.founders.sources[founder.source], founder.id.String())
}

// changes are the clusters of the last job that have another id now, or have
// lost records to clusters with another, by both ids.
func (j *job) changes(c *clusters) (list []result.Change) {
	var pairs [][2]int32 // the bearer of the id before, and who names the cluster now
	for number, before := range j.founders.bearer {
		if now := c.Founder[number]; before >= 0 && now != before {
			pairs = append(pairs, [2]int32{before, now})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]int32) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	h := secret.NewHasher()
	for _, pair := range slices.Compact(pairs) {
		kind := result.ChangeSplit
		if c.Founder[pair[0]] == pair[1] {
			kind = result.ChangeMerged
		}
		list = append(list, result.Change{Before: j.clusterID(h, pair[0]).String(), After: c.names[pair[1]].String(), Kind: kind})
	}
	slices.SortFunc(list, func(a, b result.Change) int {
		return cmp.Or(cmp.Compare(a.Before, b.Before), cmp.Compare(a.After, b.After))
	})
	return list
}

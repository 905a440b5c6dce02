package similarity

// Record names a record: a party by its index, and a row of it.
type Record struct {
	Party uint16
	Row   uint32
}

// Groups are disjoint sets of records: those of one person, as far as was
// found out. Records that are in no group are alone.
type Groups struct {
	of     [][]int32 // by party and row: the group, or none
	groups []group
}

const none = -1

// group is one of the sets. One that was merged into another is empty.
type group struct {
	members []Record
	// pairs counts, by other group, the candidates that were met between its
	// members and theirs. Both groups of a pair count it.
	pairs map[int32]uint64
}

func newGroups(sets []*Set) *Groups {
	g := &Groups{of: make([][]int32, len(sets))}
	for i, s := range sets {
		g.of[i] = make([]int32, s.Rows())
		for row := range g.of[i] {
			g.of[i][row] = none
		}
	}
	return g
}

// Of returns the index of a record's group, and -1 for one that has none.
func (g *Groups) Of(r Record) int32 { return g.of[r.Party][r.Row] }

// Together reports whether both records of a pair are in one group.
func (g *Groups) Together(c Candidate) bool {
	at := g.Of(Record{c.Left, c.LeftRow})
	return at != none && at == g.Of(Record{c.Right, c.RightRow})
}

// All calls yield with each group of two records or more, in an order that
// follows from the candidates alone.
func (g *Groups) All(yield func(index int32, members []Record) bool) {
	for i := range g.groups {
		if len(g.groups[i].members) > 1 && !yield(int32(i), g.groups[i].members) {
			return
		}
	}
}

func (g *Groups) add(members ...Record) int32 {
	index := int32(len(g.groups))
	g.groups = append(g.groups, group{members: members})
	for _, r := range members {
		g.of[r.Party][r.Row] = index
	}
	return index
}

func (g *Groups) join(index int32, r Record) {
	g.groups[index].members = append(g.groups[index].members, r)
	g.of[r.Party][r.Row] = index
}

// merge puts the members of one group into another, and its counts of pairs.
func (g *Groups) merge(into, from int32) {
	a, b := &g.groups[into], &g.groups[from]
	for _, r := range b.members {
		g.of[r.Party][r.Row] = into
	}
	a.members = append(a.members, b.members...)
	delete(a.pairs, from)
	delete(b.pairs, into)
	for other, n := range b.pairs {
		if a.pairs == nil {
			a.pairs = map[int32]uint64{}
		}
		a.pairs[other] += n
		delete(g.groups[other].pairs, from)
		g.groups[other].pairs[into] += n
	}
	*b = group{}
}

// met counts one more candidate between two groups and returns how many there
// were.
func (g *Groups) met(a, b int32) uint64 {
	for _, x := range [2][2]int32{{a, b}, {b, a}} {
		of := &g.groups[x[0]]
		if of.pairs == nil {
			of.pairs = map[int32]uint64{}
		}
		of.pairs[x[1]]++
	}
	return g.groups[a].pairs[b]
}

// shareParty reports whether both groups have a record of one party.
func (g *Groups) shareParty(a, b int32) bool {
	for _, x := range g.groups[a].members {
		if g.hasParty(b, x.Party) {
			return true
		}
	}
	return false
}

func (g *Groups) hasParty(a int32, party uint16) bool {
	for _, x := range g.groups[a].members {
		if x.Party == party {
			return true
		}
	}
	return false
}

// Greedy is anonlink's greedy_solve. It goes through the candidates in order and
// merges the groups of a pair's two records once every record of the one has
// been met in a candidate with every record of the other. Groups have no two
// records of one party: candidates are pairs of different parties, so two such
// records are never met.
//
// That is also why pairs of groups that share a party are not counted, which
// changes no result: they and what they grow into can never be merged.
func Greedy(sets []*Set, candidates []Candidate) *Groups {
	g := newGroups(sets)
	for _, c := range candidates {
		left, right := Record{c.Left, c.LeftRow}, Record{c.Right, c.RightRow}
		a, b := g.Of(left), g.Of(right)
		switch {
		case a == none && b == none:
			g.add(left, right)
		case b == none:
			g.meetLone(a, right)
		case a == none:
			g.meetLone(b, left)
		case a != b:
			g.meet(a, b)
		}
	}
	return g
}

// meetLone takes a candidate between a record of a group and one in none.
func (g *Groups) meetLone(a int32, r Record) {
	switch {
	case g.hasParty(a, r.Party):
	case len(g.groups[a].members) == 1:
		g.join(a, r)
	default:
		g.met(a, g.add(r))
	}
}

// meet takes a candidate between records of two groups.
func (g *Groups) meet(a, b int32) {
	if g.shareParty(a, b) {
		return
	}
	sizeA, sizeB := len(g.groups[a].members), len(g.groups[b].members)
	if g.met(a, b) < uint64(sizeA)*uint64(sizeB) {
		return
	}
	if sizeA < sizeB {
		a, b = b, a
	}
	g.merge(a, b)
}

// Mutual links a pair if it is, for each of its records, the first candidate
// with the other's party, and groups what is linked as far as no group gets two
// records of one party. linked tells which candidates are links.
func Mutual(sets []*Set, candidates []Candidate) (g *Groups, linked func(i int) bool) {
	type side struct{ party, other uint16 }
	seen := map[side][]bool{}
	first := func(party, other uint16, row uint32) bool {
		rows := seen[side{party, other}]
		if rows == nil {
			rows = make([]bool, sets[party].Rows())
			seen[side{party, other}] = rows
		}
		was := rows[row]
		rows[row] = true
		return !was
	}
	g = newGroups(sets)
	links := make([]bool, len(candidates))
	for i, c := range candidates {
		left, right := first(c.Left, c.Right, c.LeftRow), first(c.Right, c.Left, c.RightRow)
		if links[i] = left && right; links[i] {
			g.connect(c, true)
		}
	}
	return g, func(i int) bool { return links[i] }
}

// Connected groups the records that a chain of candidates connects.
func Connected(sets []*Set, candidates []Candidate) *Groups {
	g := newGroups(sets)
	for _, c := range candidates {
		g.connect(c, false)
	}
	return g
}

// connect puts a pair into one group, if that may be.
func (g *Groups) connect(c Candidate, onePerParty bool) {
	left, right := Record{c.Left, c.LeftRow}, Record{c.Right, c.RightRow}
	a, b := g.Of(left), g.Of(right)
	switch {
	case a == none && b == none:
		g.add(left, right)
	case b == none:
		if !onePerParty || !g.hasParty(a, right.Party) {
			g.join(a, right)
		}
	case a == none:
		if !onePerParty || !g.hasParty(b, left.Party) {
			g.join(b, left)
		}
	case a != b && !(onePerParty && g.shareParty(a, b)):
		if len(g.groups[a].members) < len(g.groups[b].members) {
			a, b = b, a
		}
		g.merge(a, b)
	}
}

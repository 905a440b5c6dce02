package attack

import (
	"cmp"
	"context"
	"math"
	"math/bits"
	"slices"
)

// matching is the task of an attacker inside one date of birth: to say which
// person of a register each encoding is of.
//
// It is solved by belief propagation between records and values. What a record
// is, is a belief over the register; what the filter of a field means, is a
// belief over the values of that field in the register. Records that share a
// filter must share its value; filters that lie near each other must stand for
// values whose filters, under keys of the attacker's own, lie as near; a value
// must be as frequent as its filter. Known pairs fix the beliefs of their
// records. It is at least as strong as colour refinement (Weisfeiler and Leman) of
// the graph of equal fields, and takes noisy distances into account besides,
// with the weight that their likelihood has.
type matching struct {
	n, m   int     // encodings; people of the register
	share  float64 // of the register's people who are encoded, as far as is known
	fields []matchField
	seeds  [][2]int  // known pairs: encoding, person
	prior  []float32 // n by m: log-likelihoods known from elsewhere; may be nil
	rounds int
}

// matchField is a field in a matching. Classes are numbered from 0; -1 is a
// missing value.
type matchField struct {
	encoding, person   []int32 // class of each
	encodings, persons int     // how many classes
	seen               []uint16
	// Distances between classes, in bits: seen of encodings (nil for a tag), and
	// the mean of what those of the register's values are under other keys.
	expected []float32
	spread   distances
}

// distances says how distances are distributed.
type distances struct {
	bits      int
	mean, sd  float64     // of two values drawn at random
	around    []float64   // standard deviation around each expected distance, in whole bits
	profile   [][]float32 // of each value in the register: distances to its nearest, as far as expected
	profileSD []float32
	ranks     []float64 // of the profile, as shares of all classes
}

const (
	impossible  = -30 // log-likelihood of what cannot be, errors of the model aside
	leastBelief = -12 // to which a single message may lower a belief
	nearSeen    = 24  // nearest filters that send messages
	nearMeant   = 32  // nearest values that may answer
	sharply     = .2  // belief from which a value that should be near, and is not, counts
	damping     = .5
)

// solve returns for each encoding the person whom it is most likely of.
func (p *matching) solve(ctx context.Context) ([]int, error) {
	s := newSolver(p)
	var before []int
	for round, settled := 0, 0; ; round++ {
		if err := s.believe(ctx); err != nil {
			return nil, err
		}
		best := s.best()
		if settled++; !slices.Equal(best, before) {
			settled = 0
		}
		if round == p.rounds || settled == settledRounds {
			return best, nil
		}
		before = best
		for f := range s.fields {
			if err := s.listen(ctx, f); err != nil {
				return nil, err
			}
		}
		for f := range s.fields {
			if err := s.mean(ctx, f); err != nil {
				return nil, err
			}
		}
	}
}

// settledRounds is for how many rounds nothing may change until no more is
// expected to.
const settledRounds = 3

type solver struct {
	*matching
	members []group     // of each field
	weights [][]float32 // of each field, classes by classes: all that is known of what a filter means
	fixed   [][]float32 // the part of it that does not change: frequencies, known pairs
	near    []neighbours
	from    [][]float32 // of each field, n by classes of values: what each record says
	belief  []float32   // n by m, logarithms, rows and columns balanced
	column  []float32   // m: what balances a person
	known   []int       // of each encoding: the person, -1 where not known
}

// group is who is of each class of a field.
type group struct{ encodings, persons [][]int32 }

type neighbours struct {
	seen, meant [][]int32
	// likely holds log-likelihood ratios of a distance seen, for an expected one
	// in whole bits, to that of two values at random; as ratios.
	likely []float32
	meantN []uint16 // expected distances in whole bits
}

func newSolver(p *matching) *solver {
	s := &solver{matching: p, belief: make([]float32, p.n*p.m), column: make([]float32, p.m), known: make([]int, p.n)}
	for i := range s.known {
		s.known[i] = -1
	}
	for _, seed := range p.seeds {
		s.known[seed[0]] = seed[1]
	}
	for f := range p.fields {
		field := &p.fields[f]
		s.members = append(s.members, group{byClass(field.encoding, field.encodings), byClass(field.person, field.persons)})
		fixed := s.evidence(f)
		s.fixed = append(s.fixed, fixed)
		s.weights = append(s.weights, slices.Clone(fixed))
		s.from = append(s.from, make([]float32, p.n*field.persons))
		s.near = append(s.near, newNeighbours(field))
	}
	return s
}

func byClass(class []int32, classes int) [][]int32 {
	of := make([][]int32, classes)
	for i, c := range class {
		if c >= 0 {
			of[c] = append(of[c], int32(i))
		}
	}
	return of
}

// evidence is what is known at first of what each filter of a field means.
func (s *solver) evidence(f int) []float32 {
	field, members := &s.fields[f], &s.members[f]
	w := make([]float32, field.encodings*field.persons)
	frequency := s.frequencies(members)
	for a := range field.encodings {
		for b := range field.persons {
			w[a*field.persons+b] = frequency(len(members.encodings[a]), len(members.persons[b]))
		}
	}
	s.addProfiles(field, w)
	meaning, meant := make([]int32, field.encodings), make([]bool, field.persons)
	for i := range meaning {
		meaning[i] = -1
	}
	for _, seed := range s.seeds {
		if a, b := field.encoding[seed[0]], field.person[seed[1]]; a >= 0 && b >= 0 {
			meaning[a], meant[b] = b, true
		}
	}
	for a := range field.encodings {
		row := w[a*field.persons:][:field.persons]
		for b := range row {
			if meaning[a] >= 0 && meaning[a] != int32(b) || meaning[a] < 0 && meant[b] {
				row[b] += 4 * impossible
			}
		}
		if field.seen == nil {
			continue
		}
		for other, value := range meaning {
			if value < 0 || other == a {
				continue
			}
			d := float64(field.seen[a*field.encodings+other])
			for b := range row {
				row[b] += logRatio(&field.spread, d, float64(field.expected[b*field.persons+int(value)]))
			}
		}
	}
	return w
}

// frequencies returns the log-likelihood that so many of the people of a value
// are encoded.
func (s *solver) frequencies(members *group) func(encoded, people int) float32 {
	most := 0
	for _, b := range members.persons {
		most = max(most, len(b))
	}
	logs := make([]float64, most+2)
	for i := 2; i < len(logs); i++ {
		logs[i] = logs[i-1] + math.Log(float64(i))
	}
	return func(encoded, people int) float32 {
		switch {
		case encoded > people:
			return impossible
		case s.share >= 1:
			return float32(max(impossible, -10*(people-encoded)))
		}
		p := logs[people] - logs[encoded] - logs[people-encoded] + float64(encoded)*math.Log(s.share) + float64(people-encoded)*math.Log(1-s.share)
		return float32(max(p, impossible))
	}
}

// logRatio is the log-likelihood of a distance where another is expected, over
// that of two values at random.
func logRatio(d *distances, seen, expected float64) float32 {
	sd := d.around[int(expected+.5)]
	x, y := (seen-expected)/sd, (seen-d.mean)/d.sd
	r := (y*y-x*x)/2 + math.Log(d.sd/sd)
	return float32(max(-10, min(r, 10)))
}

// addProfiles compares how far the nearest filters are with how far the nearest
// values are.
func (s *solver) addProfiles(field *matchField, w []float32) {
	d := &field.spread
	if field.seen == nil || len(d.profile) == 0 {
		return
	}
	for a := range field.encodings {
		seen := profileOf(field.seen[a*field.encodings:][:field.encodings], a, nil, d.bits, d.ranks)
		row := w[a*field.persons:][:field.persons]
		for b := range row {
			sum := float32(0)
			for r, x := range seen {
				z := (x - d.profile[b][r]) / d.profileSD[r]
				sum += min(z*z, 16)
			}
			// Neighbouring ranks say much the same.
			row[b] -= sum / 2 / float32(math.Sqrt(float64(len(seen))))
		}
	}
}

// profileOf returns the distances of a class at some ranks, its own left out, of
// those that are kept (all where kept is nil).
func profileOf(row []uint16, self int, kept []bool, bits int, ranks []float64) []float32 {
	counts, n := make([]int, bits+1), 0
	for b, d := range row {
		if b != self && (kept == nil || kept[b]) {
			counts[d]++
			n++
		}
	}
	out := make([]float32, len(ranks))
	d, below := 0, 0
	for i, rank := range ranks {
		at := min(int(rank*float64(n)), n-1)
		for d < bits && below+counts[d] <= at {
			below += counts[d]
			d++
		}
		out[i] = float32(d)
	}
	return out
}

func newNeighbours(field *matchField) (n neighbours) {
	if field.seen == nil {
		return n
	}
	d := &field.spread
	for a := range field.encodings {
		n.seen = append(n.seen, nearest(field.encodings, a, nearSeen, d.mean-2.5*d.sd, func(b int) float64 { return float64(field.seen[a*field.encodings+b]) }))
	}
	for a := range field.persons {
		n.meant = append(n.meant, nearest(field.persons, a, nearMeant, d.mean-d.sd, func(b int) float64 { return float64(field.expected[a*field.persons+b]) }))
	}
	n.likely = make([]float32, (d.bits+1)*(d.bits+1))
	for seen := range d.bits + 1 {
		for expected := range d.bits + 1 {
			n.likely[seen*(d.bits+1)+expected] = float32(math.Exp(float64(logRatio(d, float64(seen), float64(expected)))))
		}
	}
	n.meantN = make([]uint16, len(field.expected))
	for i, x := range field.expected {
		n.meantN[i] = uint16(x + .5)
	}
	return n
}

// nearest returns those that lie nearest, at most so many, up to a distance.
func nearest(n, self, most int, limit float64, distance func(int) float64) (near []int32) {
	for b := range n {
		if b != self && distance(b) < limit {
			near = append(near, int32(b))
		}
	}
	slices.SortStableFunc(near, func(a, b int32) int {
		switch x, y := distance(int(a)), distance(int(b)); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return slices.Clip(near[:min(len(near), most)])
}

// believe sets the beliefs of all records: what the fields say, each without
// what the record itself said, balanced so that a person is encoded once.
func (s *solver) believe(ctx context.Context) error {
	err := inParallel(ctx, s.n, func(from, to int) error {
		for i := from; i < to; i++ {
			row := s.belief[i*s.m:][:s.m]
			if s.known[i] >= 0 {
				for u := range row {
					row[u] = 4 * impossible
				}
				row[s.known[i]] = 0
				continue
			}
			if s.prior != nil {
				copy(row, s.prior[i*s.m:][:s.m])
			} else {
				clear(row)
			}
			for f := range s.fields {
				field := &s.fields[f]
				a := field.encoding[i]
				var weights, own []float32
				if a >= 0 {
					weights, own = s.weights[f][int(a)*field.persons:][:field.persons], s.from[f][i*field.persons:][:field.persons]
				}
				for u, b := range field.person {
					switch {
					case a >= 0 && b >= 0:
						row[u] += weights[b] - own[b]
					case a >= 0 || b >= 0:
						row[u] += impossible
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.balance(ctx)
}

// balanceRounds suffice: beliefs change from round to round anyway.
const balanceRounds = 6

// balance scales rows to one and columns to at most one, or to one where the
// whole register is encoded (Sinkhorn and Knopp).
func (s *solver) balance(ctx context.Context) error {
	clear(s.column)
	for range balanceRounds {
		err := inParallel(ctx, s.n, func(from, to int) error {
			for i := from; i < to; i++ {
				row := s.belief[i*s.m:][:s.m]
				total := logSum(row, s.column)
				for u := range row {
					row[u] -= total
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		err = inParallel(ctx, s.m, func(from, to int) error {
			most, sum := make([]float32, to-from), make([]float64, to-from)
			for u := range most {
				most[u] = float32(math.Inf(-1))
			}
			for i := range s.n {
				for u, x := range s.belief[i*s.m+from:][:to-from] {
					most[u] = max(most[u], x)
				}
			}
			for i := range s.n {
				for u, x := range s.belief[i*s.m+from:][:to-from] {
					if y := x - most[u]; y > leastSummand {
						sum[u] += exp(y)
					}
				}
			}
			for u := range most {
				total := float32(math.Log(sum[u])) + most[u]
				if s.share < 1 {
					total = max(total, 0)
				}
				s.column[from+u] = -total
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	// The columns are scaled in place: from here on a belief is one number.
	return inParallel(ctx, s.n, func(from, to int) error {
		for i := from; i < to; i++ {
			row := s.belief[i*s.m:][:s.m]
			for u := range row {
				row[u] += s.column[u]
			}
			total := logSum(row, nil)
			for u := range row {
				row[u] -= total
			}
		}
		return nil
	})
}

// leastSummand is the logarithm below which a part of a sum is left out.
const leastSummand = -16

func exp(x float32) float64 { return math.Exp(float64(x)) }

// logSum returns the logarithm of the sum of the exponentials of row + more.
func logSum(row, more []float32) float32 {
	at := func(u int) float32 {
		if more == nil {
			return row[u]
		}
		return row[u] + more[u]
	}
	most := float32(math.Inf(-1))
	for u := range row {
		most = max(most, at(u))
	}
	sum := 0.0
	for u := range row {
		if y := at(u) - most; y > leastSummand {
			sum += exp(y)
		}
	}
	return most + float32(math.Log(sum))
}

// listen sets what each record says of the meaning of its filter of a field:
// what it believes, without what that field told it.
func (s *solver) listen(ctx context.Context, f int) error {
	field, members := &s.fields[f], &s.members[f]
	return inParallel(ctx, s.n, func(from, to int) error {
		said := make([]float32, field.persons)
		for i := from; i < to; i++ {
			a := field.encoding[i]
			if a < 0 || s.known[i] >= 0 {
				continue // what is known is among the evidence
			}
			row := s.belief[i*s.m:][:s.m]
			weights, own := s.weights[f][int(a)*field.persons:][:field.persons], s.from[f][i*field.persons:][:field.persons]
			top := float32(math.Inf(-1))
			for b, people := range members.persons {
				most := float32(math.Inf(-1))
				for _, u := range people {
					most = max(most, row[u])
				}
				sum := 0.0
				for _, u := range people {
					if y := row[u] - most; y > leastSummand {
						sum += exp(y)
					}
				}
				said[b] = most + float32(math.Log(sum)) - weights[b] + own[b]
				top = max(top, said[b])
			}
			for b := range said {
				own[b] = damping*own[b] + (1-damping)*max(said[b]-top, leastBelief)
			}
		}
		return nil
	})
}

// mean sets what the filters of a field mean: what is fixed, what records say,
// and what the filters near them say.
func (s *solver) mean(ctx context.Context, f int) error {
	field, members := &s.fields[f], &s.members[f]
	before, next := s.weights[f], make([]float32, len(s.weights[f]))
	near := &s.near[f]
	var beliefs []float32
	var sharp [][]int32
	if near.seen != nil {
		var err error
		if beliefs, sharp, err = s.meanings(ctx, f); err != nil {
			return err
		}
	}
	err := inParallel(ctx, field.encodings, func(from, to int) error {
		for a := from; a < to; a++ {
			row := next[a*field.persons:][:field.persons]
			copy(row, s.fixed[f][a*field.persons:])
			for _, i := range members.encodings[a] {
				for b, x := range s.from[f][int(i)*field.persons:][:field.persons] {
					row[b] += x
				}
			}
			if near.seen != nil {
				s.ask(field, near, a, row, beliefs, sharp)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range next {
		next[i] = damping*before[i] + (1-damping)*next[i]
	}
	s.weights[f] = next
	return nil
}

// meanings returns the beliefs about each filter of a field, as probabilities, and
// for each value the filters that are sharply believed to stand for it.
func (s *solver) meanings(ctx context.Context, f int) (beliefs []float32, sharp [][]int32, err error) {
	field := &s.fields[f]
	beliefs = make([]float32, len(s.weights[f]))
	err = inParallel(ctx, field.encodings, func(from, to int) error {
		for a := from; a < to; a++ {
			row := s.weights[f][a*field.persons:][:field.persons]
			total := logSum(row, nil)
			for b, x := range row {
				if y := x - total; y > leastSummand {
					beliefs[a*field.persons+b] = float32(exp(y))
				}
			}
		}
		return nil
	})
	sharp = make([][]int32, field.persons)
	for a := range field.encodings {
		for b, x := range beliefs[a*field.persons:][:field.persons] {
			if x > sharply {
				sharp[b] = append(sharp[b], int32(a))
			}
		}
	}
	return beliefs, sharp, err
}

// asked is how many meanings of a filter, the likeliest, its neighbours are asked
// about. The others take the lowest answer.
const asked = 640

// ask adds what the neighbours of a filter say about its meanings.
func (s *solver) ask(field *matchField, near *neighbours, a int, row, beliefs []float32, sharp [][]int32) {
	width := field.spread.bits + 1
	isNear := make(map[int32]bool, len(near.seen[a]))
	for _, other := range near.seen[a] {
		isNear[other] = true
	}
	meanings := make([]int32, len(row))
	for b := range meanings {
		meanings[b] = int32(b)
	}
	if len(row) > asked {
		slices.SortStableFunc(meanings, func(x, y int32) int { return cmp.Compare(row[y], row[x]) })
	}
	lowest := float32(0)
	for at, b := range meanings {
		if at >= asked {
			row[b] += lowest
			continue
		}
		sum := 0.0
		expected := near.meantN[int(b)*field.persons:][:field.persons]
		for _, other := range near.seen[a] {
			likely := near.likely[int(field.seen[a*field.encodings+int(other)])*width:][:width]
			belief := beliefs[int(other)*field.persons:][:field.persons]
			answer := float32(1)
			for _, value := range near.meant[b] {
				answer += belief[value] * (likely[expected[value]] - 1)
			}
			sum += math.Log(float64(max(answer, 1e-5)))
		}
		for _, value := range near.meant[b] {
			for _, other := range sharp[value] {
				if int(other) == a || isNear[other] {
					continue
				}
				likely := near.likely[int(field.seen[a*field.encodings+int(other)])*width+int(expected[value])]
				sum += math.Log(float64(max(1+beliefs[int(other)*field.persons+int(value)]*(likely-1), 1e-3)))
			}
		}
		row[b] += float32(sum)
		lowest = min(lowest, float32(sum))
	}
}

// best returns the most likely person of each encoding.
func (s *solver) best() []int {
	best := make([]int, s.n)
	for i := range best {
		row := s.belief[i*s.m:][:s.m]
		for u := range row {
			if row[u] > row[best[i]] {
				best[i] = u
			}
		}
	}
	return best
}

// hamming returns in how many bits two filters differ.
func hamming(a, b []byte) int {
	n := 0
	for i := 0; i < len(a); i += 8 {
		n += bits.OnesCount64(word(a[i:]) ^ word(b[i:]))
	}
	return n
}

func word(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 | uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

package attack

import (
	"context"
)

// score is how many records an attack was tried on, and how many it named right.
type score struct{ records, right int }

func (s *score) add(o score) { s.records, s.right = s.records+o.records, s.right+o.right }

// figures are what an attack found, with what equality alone gives away, and what
// guessing would have found.
type figures struct {
	score
	floor  score
	chance float64 // sum over the records
}

// cohorts runs attacks 3 and S4: the cohort of each date, of which the attacker
// holds the register, after he learnt from known pairs of all dates. Attack 3
// judges each record by itself, S4 the records of a date together. At most so many
// dates are looked at.
func (r *run) cohorts(ctx context.Context, s tokenised, most int) (alone, together figures, err error) {
	people, err := readAll(ctx, s, r.world.elsewhere[:r.world.pairs])
	if err != nil {
		return alone, together, err
	}
	type date struct {
		register []individual
		encoded  *encodings
	}
	dates := make([]date, min(most, len(r.world.registers)))
	for i := range dates {
		d := &dates[i]
		if d.register, err = readAll(ctx, s, r.world.registers[i]); err != nil {
			return alone, together, err
		}
		if d.encoded, err = s.encode(ctx, r.victim, some(d.register, r.world.cohort[i])); err != nil {
			return alone, together, err
		}
		for k, person := range r.world.cohort[i] {
			if r.world.known[i][k] {
				people = append(people, d.register[person])
			}
		}
	}
	pairs, err := s.encode(ctx, r.victim, people)
	if err != nil {
		return alone, together, err
	}
	lessons, err := learn(ctx, s, people, pairs)
	if err != nil {
		return alone, together, err
	}
	for i := range dates {
		d := &dates[i]
		prior, err := lessons.judge(ctx, d.encoded, d.register)
		if err != nil {
			return alone, together, err
		}
		b := &block{encoded: d.encoded, register: d.register, share: float64(d.encoded.n) / float64(len(d.register)), prior: prior}
		truth := make([]int, d.encoded.n)
		copy(truth, r.world.cohort[i])
		for k, person := range truth {
			if r.world.known[i][k] {
				b.seeds = append(b.seeds, [2]int{k, person})
			}
		}
		found := make([]int, d.encoded.n)
		for k := range found {
			row := prior[k*len(d.register):][:len(d.register)]
			for u := range row {
				if row[u] > row[found[k]] {
					found[k] = u
				}
			}
		}
		alone.score.add(b.judge(found, truth))
		joint, err := r.solveBlock(ctx, s, b, truth, i)
		if err != nil {
			return alone, together, err
		}
		alone.floor.add(joint.floor)
		alone.chance += joint.chance
		together.score.add(joint.score)
		together.floor.add(joint.floor)
		together.chance += joint.chance
	}
	return alone, together, nil
}

// judge counts the records that were named right, known ones left out.
func (b *block) judge(found, truth []int) (s score) {
	known := map[int]bool{}
	for _, seed := range b.seeds {
		known[seed[0]] = true
	}
	for i := range truth {
		if known[i] {
			continue
		}
		s.records++
		if found[i] == truth[i] {
			s.right++
		}
	}
	return s
}

// solveBlock attacks a block, and then again with equality only.
func (r *run) solveBlock(ctx context.Context, s scheme, b *block, truth []int, index int) (figures, error) {
	var found figures
	likeness, err := learnLikeness(ctx, s, b.register, b.share, r.world.seed+uint64(index)<<32, allFields)
	if err != nil {
		return found, err
	}
	for _, equality := range []bool{false, true} {
		of := *b
		if equality {
			of.prior = nil
		}
		task, err := newMatching(ctx, s, &of, likeness, equality, allFields)
		if err != nil {
			return found, err
		}
		who, err := task.solve(ctx)
		if err != nil {
			return found, err
		}
		if equality {
			found.floor = of.judge(who, truth)
		} else {
			found.score = of.judge(who, truth)
		}
	}
	found.chance = float64(found.records) / float64(len(b.register))
	return found, nil
}

// closed runs S1, S2 or S3 on so many dates: the attacker holds the register of a
// date and is told which block it is; half of it is encoded, or all; of some he
// knows who they are.
func (r *run) closed(ctx context.Context, s scheme, blocks int, half bool, seeds int) (figures, error) {
	var total figures
	for i := range min(blocks, len(r.world.registers)) {
		register, err := readAll(ctx, s, r.world.registers[i][:min(r.world.block, len(r.world.registers[i]))])
		if err != nil {
			return total, err
		}
		n := len(register)
		if half {
			n /= 2
		}
		truth := stream(r.world.seed, "closed", i).Perm(len(register))[:n]
		b := &block{register: register, share: float64(n) / float64(len(register))}
		if b.encoded, err = s.encode(ctx, r.victim, some(register, truth)); err != nil {
			return total, err
		}
		for k := range min(seeds, n) {
			b.seeds = append(b.seeds, [2]int{k, truth[k]})
		}
		found, err := r.solveBlock(ctx, s, b, truth, i)
		if err != nil {
			return total, err
		}
		total.score.add(found.score)
		total.floor.add(found.floor)
		total.chance += found.chance
	}
	return total, nil
}

// recovered is what attack 2 found: columns of the table.
type recovered struct {
	field          string
	columns, right int // of the table; recovered rightly
	records        int // different filters that were looked at
}

// share is the part of the table that was recovered.
func (x recovered) share() float64 {
	if x.columns == 0 {
		return 0
	}
	return float64(x.right) / float64(x.columns)
}

// recoverPooled looks for one table in the filters of people of all dates, field by
// field, and returns the field of which most was found.
func (r *run) recoverPooled(ctx context.Context, s scheme, truth func(field int) ([]table, error)) (best recovered, err error) {
	public := s.fields()
	rows := make([]*bitRows, len(public))
	for f := range public {
		if public[f].inputs > 1 {
			rows[f] = newBitRows(public[f].bits)
		}
	}
	const batch = 100_000
	for from := 0; from < r.world.pooled; from += batch {
		people, err := peopleOf(ctx, r.world.nation, min(batch, r.world.pooled-from), func(i int) uint64 { return uint64(from + i) })
		if err != nil {
			return best, err
		}
		read, err := readAll(ctx, s, people)
		if err != nil {
			return best, err
		}
		e, err := s.encode(ctx, r.victim, read)
		if err != nil {
			return best, err
		}
		for f := range rows {
			if rows[f] != nil {
				rows[f].add(&e.columns[f])
			}
		}
	}
	return r.recoverFrom(ctx, s, rows, truth)
}

func (r *run) recoverFrom(ctx context.Context, s scheme, rows []*bitRows, truth func(field int) ([]table, error)) (best recovered, err error) {
	for f, public := range s.fields() {
		if rows[f] == nil {
			continue
		}
		z, err := rows[f].correlations(ctx)
		if err != nil {
			return best, err
		}
		tables, err := truth(f)
		if err != nil {
			return best, err
		}
		found := recovered{field: public.name, columns: public.bits, records: rows[f].n}
		columns, err := columnsOf(ctx, z, public.bits, public.inputs)
		if err != nil {
			return best, err
		}
		for _, t := range tables {
			found.right = max(found.right, t.rightColumns(columns))
		}
		if best.field == "" || found.share() > best.share() {
			best = found
		}
	}
	return best, nil
}

// recoverBlocks looks for the table of a date in the filters of its whole register.
func (r *run) recoverBlocks(ctx context.Context, s scheme, truth func(field, date int) (table, error)) (best recovered, err error) {
	public := s.fields()
	for i := range min(r.world.tables, len(r.world.registers)) {
		people, err := readAll(ctx, s, r.world.registers[i])
		if err != nil {
			return best, err
		}
		e, err := s.encode(ctx, r.victim, people)
		if err != nil {
			return best, err
		}
		rows := make([]*bitRows, len(public))
		for f := range public {
			if public[f].inputs > 1 {
				rows[f] = newBitRows(public[f].bits)
				rows[f].add(&e.columns[f])
			}
		}
		found, err := r.recoverFrom(ctx, s, rows, func(f int) ([]table, error) {
			t, err := truth(f, i)
			return []table{t}, err
		})
		if err != nil {
			return best, err
		}
		if best.field == "" || found.share() > best.share() {
			best = found
		}
	}
	return best, nil
}

package linkage

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"tarn/linkage/cohort"
	"tarn/linkage/cohort/table"
	"tarn/linkage/compare"
	"tarn/linkage/model"
	"tarn/linkage/resolve"
	"tarn/linkage/result"
)

// slowLevels compares two records field by field, as the specification says.
func slowLevels(a, b *cohort.Row, tokens bool) []int {
	levels := []int{compare.Missing, compare.Missing, compare.Missing, compare.Missing, compare.Missing}
	for f, field := range testFields.Fields[:3] {
		x, y := a.Filters[f], b.Filters[f]
		if x == nil || y == nil {
			continue
		}
		different, common, set := 0, 0, 0
		for i := 0; i < len(x); i += 8 {
			v, w := binary.BigEndian.Uint64(x[i:]), binary.BigEndian.Uint64(y[i:])
			different += bits.OnesCount64(v ^ w)
			common += bits.OnesCount64(v & w)
			set += bits.OnesCount64(v) + bits.OnesCount64(w)
		}
		similarity := 1 - float64(different)/float64(8*len(x))
		if field.Measure == cohort.MeasureDice {
			similarity = 2 * float64(common) / float64(set)
		}
		levels[f] = 0
		for _, bound := range field.Levels {
			if similarity >= bound {
				levels[f]++
			}
		}
		if different == 0 {
			levels[f] = len(field.Levels) + 1
		}
	}
	if a.Tags[0].Present && b.Tags[0].Present {
		levels[3] = map[bool]int{true: 1}[a.Tags[0] == b.Tags[0]]
	}
	if tokens && a.HasToken && b.HasToken {
		levels[4] = map[bool]int{true: compare.TokenEqual, false: compare.TokenDifferent}[a.Token == b.Token]
	}
	return levels
}

// slow does what a job does by nested loops over all pairs of records.
type slow struct {
	*testing.T
	j      *job // for its options and its blocks where they are hashes
	sides  []*side
	scheme *compare.Scheme
}

type slowPair struct {
	stratum, l, r int
	code          uint32
	key           string // match_key
	score         model.Score
	link          float64
	best          bool
}

func (s *slow) strata() (strata [][2]int) {
	for a := range s.sides {
		for b := a + 1; b < len(s.sides); b++ {
			strata = append(strata, [2]int{a, b})
		}
	}
	if s.j.Dedupe {
		return [][2]int{{0, 0}}
	}
	return strata
}

// key says what brings two records together; "" is nothing.
func (s *slow) key(a, l, b, r int) string {
	x, y := &s.sides[a].rows[l], &s.sides[b].rows[r]
	switch s.j.way {
	case BlockAll:
		return "all"
	case BlockLSH:
		for k := range s.j.cohorts[a].blocks {
			p, q := &s.j.cohorts[a].blocks[k], &s.j.cohorts[b].blocks[k]
			if p.Present[l] && q.Present[r] && p.Value[l] == q.Value[r] {
				return "lsh"
			}
		}
	default:
		for k, name := range []string{"dob", "area"} {
			if x.Blocks[k].Present && x.Blocks[k] == y.Blocks[k] {
				return name
			}
		}
	}
	if comparable(s.sides[a], s.sides[b]) && x.HasToken && y.HasToken && x.Token == y.Token {
		return "token"
	}
	return ""
}

func (s *slow) pairs() (pairs []slowPair, counts model.Counts) {
	histogram := func() compare.Histogram { return make(compare.Histogram, s.scheme.Patterns()) }
	for k, x := range s.strata() {
		a, b := x[0], x[1]
		counts.Cross = append(counts.Cross, histogram())
		for l := range s.sides[a].rows {
			for r := range s.sides[b].rows {
				key := s.key(a, l, b, r)
				x, y := cohort.ID(s.sides[a].rows[l].UniqueID), cohort.ID(s.sides[b].rows[r].UniqueID)
				if a == b && x.Compare(y) >= 0 || key == "" {
					continue
				}
				p := slowPair{stratum: k, l: l, r: r, key: key, code: s.j.tokenOnlyCode()}
				if key != "token" {
					p.code = s.scheme.Code(slowLevels(&s.sides[a].rows[l], &s.sides[b].rows[r], comparable(s.sides[a], s.sides[b])))
					counts.Cross[k][p.code]++
				}
				pairs = append(pairs, p)
			}
		}
		most := float64(min(len(s.sides[a].rows), len(s.sides[b].rows)))
		if a == b {
			most *= (most - 1) / 2
		}
		counts.MostMatches += most
	}
	if s.j.Dedupe {
		counts.Records = float64(len(s.sides[0].rows))
	} else {
		counts.Within = histogram()
		for a, side := range s.sides {
			for l := range side.rows {
				for r := range l {
					if s.j.way == BlockAll && l-r > withinFollowing {
						continue // in the order of ids, which is that of the file
					}
					if key := s.key(a, l, a, r); key != "" && key != "token" {
						counts.Within[s.scheme.Code(slowLevels(&side.rows[l], &side.rows[r], true))]++
					}
				}
			}
		}
	}
	return pairs, counts
}

// resolve returns the pairs that compete, and the conflicts.
func (s *slow) resolve() (candidates, conflicts []slowPair, m *model.Model) {
	pairs, counts := s.pairs()
	m, err := model.Fit(s.scheme, counts)
	must(s.T, err)
	for k, x := range s.strata() {
		rows := [2]float64{float64(len(s.sides[x[0]].rows)), float64(len(s.sides[x[1]].rows))}
		every := rows[0] * rows[1]
		if x[0] == x[1] {
			every = rows[0] * (rows[0] - 1) / 2
		}
		inBlocks, tokenOnly := 0.0, 0.0
		for _, p := range pairs {
			if p.stratum == k && p.key == "token" {
				tokenOnly++
			}
		}
		inBlocks = float64(s.j.pairs(x[0], x[1]))
		prior := (tokenOnly + .5) / max(every-inBlocks+1, tokenOnly+1)
		factor := 1.0
		if s.j.OneToOne != resolve.None {
			factor = resolve.OneToOneFactor(m.Strata[k].Matches*float64(counts.Cross[k].Total())+tokenOnly, rows[0], rows[1])
		}
		var group []slowPair
		known := map[uint32]model.Score{}
		for _, p := range pairs {
			if p.stratum != k {
				continue
			}
			if _, ok := known[p.code]; !ok {
				known[p.code] = m.Score(k, p.code)
			}
			p.score = known[p.code]
			level := func(f int) int { return s.scheme.Level(p.code, f) }
			switch {
			case p.key == "token":
				p.score = m.TokenOnlyScore(prior)
			case level(4) == compare.TokenEqual && level(0) == 0 && level(1) == 0:
				conflicts = append(conflicts, p)
				continue
			case p.score.Probability < min(s.j.Keep, .1)/factor*min(1, .1*factor):
				continue
			}
			group = append(group, p)
		}
		s.compete(group, x, factor)
		candidates = append(candidates, group...)
	}
	return candidates, conflicts, m
}

func (s *slow) levels(code uint32) (levels []int) {
	for f := range s.scheme.Fields {
		levels = append(levels, s.scheme.Level(code, f))
	}
	return levels
}

// compete compares every candidate with every other that has one of its records.
func (s *slow) compete(group []slowPair, sides [2]int, factor float64) {
	for i := range group {
		p := &group[i]
		p.best = true
		rivals := 0.0
		for k, q := range group {
			shared := p.l == q.l || p.r == q.r || sides[0] == sides[1] && (p.l == q.r || p.r == q.l)
			if k == i || !shared {
				continue
			}
			rivals += q.score.Odds
			if q.score.Odds > p.score.Odds || q.score.Odds == p.score.Odds && k < i {
				p.best = false
			}
		}
		if s.j.OneToOne == resolve.None {
			p.best, rivals = true, 0
		}
		p.link = p.score.Odds * factor / (1 + (p.score.Odds+rivals)*factor)
	}
	if s.j.OneToOne == resolve.Greedy {
		s.greedy(group)
	}
}

func (s *slow) greedy(group []slowPair) {
	order := make([]*slowPair, len(group))
	for i := range group {
		group[i].best, order[i] = false, &group[i]
	}
	slices.SortStableFunc(order, func(a, b *slowPair) int { return cmp.Compare(b.score.Odds, a.score.Odds) })
	left, right := map[int]bool{}, map[int]bool{}
	for _, p := range order {
		p.best = !left[p.l] && !right[p.r]
		left[p.l], right[p.r] = left[p.l] || p.best, right[p.r] || p.best
	}
}

// row is a row of links as text, with floating point numbers apart.
type row struct {
	text    string
	numbers []float64
}

func (s *slow) rows(pairs []slowPair, m *model.Model, conflicts bool) (rows []row) {
	strata := s.strata()
	for _, p := range pairs {
		a, b := s.sides[strata[p.stratum][0]], s.sides[strata[p.stratum][1]]
		levels := s.levels(p.code)
		decision := result.DecisionNo
		switch {
		case conflicts:
			p.link = math.NaN()
		case p.link < s.j.Keep:
			continue
		case p.best && p.link >= s.j.threshold:
			decision = result.DecisionLink
		case p.best && p.link >= .1:
			decision = result.DecisionReview
		}
		basis := result.BasisDemographic
		if levels[4] == compare.TokenEqual {
			basis = result.BasisToken
			alone := m.Score(p.stratum, s.scheme.WithoutToken(p.code)).Odds * max(s.j.strata[p.stratum].Factor, 1)
			if p.key != "token" && alone/(1+alone) >= s.j.threshold {
				basis = result.BasisBoth
			}
		}
		r := row{text: fmt.Sprintf("%s %s %s %s %v %s %s %s", a.name, b.name, cohort.ID(a.rows[p.l].UniqueID), cohort.ID(b.rows[p.r].UniqueID), levels, p.key, basis, decision)}
		r.numbers = append([]float64{p.score.Weight, p.score.Probability, p.link}, m.FieldWeights(p.code)...)
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.text, b.text) }) // data sets and ids come first
	return rows
}

// readRows reads a links table with all of its columns.
func readRows(t *testing.T, path string) (rows []row) {
	t.Helper()
	r, err := table.Open(path)
	must(t, err)
	defer func() { _ = r.Close() }()
	names := []string{"source_dataset_l", "source_dataset_r", "unique_id_l", "unique_id_r", "match_key", "basis", "decision", "match_weight", "match_probability", "link_probability"}
	scheme, err := compare.NewScheme(testFields)
	must(t, err)
	for _, field := range scheme.Names() {
		names = append(names, "mw_"+field)
	}
	for _, field := range scheme.Names() {
		names = append(names, "gamma_"+field)
	}
	must(t, r.Scan(t.Context(), names, func(batch arrow.RecordBatch) error {
		for i := range int(batch.NumRows()) {
			text := make([]string, 7)
			for c := range text {
				text[c] = batch.Column(c).(*array.String).Value(i)
			}
			var x row
			for c := 7; c < 15; c++ {
				value := batch.Column(c).(*array.Float64).Value(i)
				if batch.Column(c).IsNull(i) {
					value = math.NaN()
				}
				x.numbers = append(x.numbers, value)
			}
			var levels []int
			for c := 15; c < 20; c++ {
				levels = append(levels, int(batch.Column(c).(*array.Int8).Value(i)))
			}
			x.text = fmt.Sprintf("%s %s %s %s %v %s %s %s", text[0], text[1], text[2], text[3], levels, text[4], text[5], text[6])
			rows = append(rows, x)
		}
		return nil
	}))
	return rows
}

func checkRows(t *testing.T, name string, got, want []row) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s has %d rows, want %d", name, len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		near := func(a, b float64) bool {
			return math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= 1e-9*max(1, math.Abs(b))
		}
		if got[i].text != want[i].text || !slices.EqualFunc(got[i].numbers, want[i].numbers, near) {
			t.Fatalf("row %d of %s is\n%v, want\n%v", i, name, got[i], want[i])
		}
	}
}

// checkJob holds what a job wrote against the nested loops.
func checkJob(t *testing.T, j *job, sides []*side) {
	t.Helper()
	s := &slow{T: t, j: j, sides: sides, scheme: j.scheme}
	candidates, conflicts, m := s.resolve()
	for f := range m.M {
		if !slices.Equal(m.M[f], j.model.M[f]) || !slices.Equal(m.U[f], j.model.U[f]) {
			t.Fatal("the model is fitted to other counts")
		}
	}
	links := s.rows(candidates, m, false)
	checkRows(t, "links", readRows(t, filepath.Join(j.Out, result.LinksFile)), links)
	checkRows(t, "conflicts", readRows(t, filepath.Join(j.Out, result.ConflictsFile)), s.rows(conflicts, m, true))
	s.checkClusters(candidates)
	linked := 0
	for _, r := range links {
		if strings.HasSuffix(r.text, result.DecisionLink) {
			linked++
		}
	}
	if linked < 100 {
		t.Errorf("there are %d links, which tries little", linked)
	}
}

// checkClusters joins links, the surest first, and holds the people that this
// makes against clusters and crosswalks.
func (s *slow) checkClusters(candidates []slowPair) {
	strata := s.strata()
	for k, threshold := range []float64{s.j.threshold, .9, .95, .99} {
		var links []slowPair
		for _, p := range candidates {
			if p.best && p.link >= threshold {
				links = append(links, p)
			}
		}
		slices.SortStableFunc(links, func(a, b slowPair) int { return cmp.Compare(b.score.Odds, a.score.Odds) })
		people := map[string]map[string]int{} // of each record the party of each record of its person
		for at, side := range s.sides {
			for i := range side.rows {
				id := cohort.ID(side.rows[i].UniqueID).String()
				people[id] = map[string]int{id: at}
			}
		}
		for _, p := range links {
			a, b := strata[p.stratum][0], strata[p.stratum][1]
			l, r := people[cohort.ID(s.sides[a].rows[p.l].UniqueID).String()], people[cohort.ID(s.sides[b].rows[p.r].UniqueID).String()]
			taken := false
			for _, x := range l {
				for _, y := range r {
					taken = taken || x == y
				}
			}
			if taken && !s.j.Dedupe && s.j.OneToOne != resolve.None {
				continue
			}
			for id, at := range r {
				l[id] = at
			}
			for id := range l {
				people[id] = l
			}
		}
		of := map[string]string{} // of each record the cluster
		members := map[string]int{}
		must(s.T, result.ScanClusters(s.Context(), filepath.Join(s.j.Out, result.ClustersFile), func(m *result.Member) error {
			cluster := strings.Clone([]string{m.ClusterID, m.ClusterIDP90, m.ClusterIDP95, m.ClusterIDP99}[k])
			of[strings.Clone(m.UniqueID)] = cluster
			members[cluster]++
			parties := map[int]bool{}
			for _, at := range people[m.UniqueID] {
				parties[at] = true
			}
			if k == 0 && (int(m.ClusterSize) != len(people[m.UniqueID]) || int(m.Datasets) != len(parties) || s.sides[people[m.UniqueID][m.UniqueID]].name != m.SourceDataset) {
				s.Errorf("a row of clusters says %d records of %d parties, want %d of %d", m.ClusterSize, m.Datasets, len(people[m.UniqueID]), len(parties))
			}
			return nil
		}))
		if len(of) != len(people) {
			s.Fatalf("clusters have %d records, want %d", len(of), len(people))
		}
		for id, person := range people {
			for other := range person {
				if of[id] != of[other] || members[of[id]] != len(person) {
					s.Fatalf("threshold %v: a cluster has %d records, want %d, or others", threshold, members[of[id]], len(person))
				}
			}
		}
		if k > 0 {
			continue
		}
		for _, side := range s.sides {
			rows := 0
			r, err := table.Open(filepath.Join(s.j.Out, result.CrosswalkDir, side.name+".parquet"))
			must(s.T, err)
			must(s.T, r.Scan(s.Context(), []string{"unique_id", "cluster_id"}, func(batch arrow.RecordBatch) error {
				id, cluster := batch.Column(0).(*array.String), batch.Column(1).(*array.String)
				for i := range id.Len() {
					if rows++; of[id.Value(i)] != cluster.Value(i) {
						s.Error("a crosswalk differs from the clusters")
					}
				}
				return nil
			}))
			must(s.T, r.Close())
			if rows != len(side.rows) {
				s.Errorf("a crosswalk has %d rows, want %d", rows, len(side.rows))
			}
		}
	}
}

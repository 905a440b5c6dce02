package linkage

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tarn/keys/fault"
	"tarn/keys/secret"
	"tarn/linkage/cohort"
	"tarn/linkage/resolve"
	"tarn/linkage/result"
)

// person is a record of a history: a party and one of its few ids.
type person struct{ party, number int }

var historyParties = []string{"east", "north", "south"}

const historyRecords = 4 // of each party

func (p person) name() string { return historyParties[p.party] }

func (p person) id() (id cohort.ID) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d", p.party, p.number))
	return cohort.ID(sum[:len(id)])
}

// historyLink is a link of a run.
type historyLink struct {
	a, b        person
	probability float64
}

// historyRun is one job of a history: who is in it, and what is linked.
type historyRun struct {
	parties []int
	people  map[person]bool
	links   []historyLink
}

func drawRun(t *rapid.T) (r historyRun) {
	r.people = map[person]bool{}
	always := rapid.IntRange(0, len(historyParties)-1).Draw(t, "there")
	for p := range historyParties {
		if p != always && rapid.IntRange(0, 3).Draw(t, "left out") == 0 {
			continue
		}
		r.parties = append(r.parties, p)
		for k := range historyRecords {
			if rapid.IntRange(0, 3).Draw(t, "not there") > 0 {
				r.people[person{p, k}] = true
			}
		}
	}
	for range rapid.IntRange(0, 8).Draw(t, "links") {
		any := rapid.Custom(func(t *rapid.T) person {
			return person{rapid.IntRange(0, 2).Draw(t, "party"), rapid.IntRange(0, historyRecords-1).Draw(t, "record")}
		})
		l := historyLink{any.Draw(t, "a"), any.Draw(t, "b"), rapid.SampledFrom([]float64{.6, .92, .97, .995}).Draw(t, "probability")}
		if l.a.party < l.b.party && r.people[l.a] && r.people[l.b] {
			r.links = append(r.links, l)
		}
	}
	return r
}

// outcome is what a run came to.
type outcome struct {
	ids     map[person]string
	at      [len(fixedThresholds)]map[person]string
	changes []result.Change
	founder string // the bytes of the table that it left
	runID   string
}

// do brings a run from the state in folder to the one it leaves there.
func (r *historyRun) do(t rapid.TB, folder, jobID string) (o outcome) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := openState(folder, "test", 1, "test", "now", rand.NewChaCha8([32]byte{3}))
	must(err)
	j := &job{Options: Options{State: folder, Software: "test", OneToOne: resolve.None, Threads: 2}, state: s, threshold: .5, jobID: jobID, runID: jobID, number: 1}
	if before := s.before(jobID); len(before) > 0 {
		last := before[len(before)-1]
		sum := sha256.Sum256([]byte(last.RunID + jobID))
		j.earlier, j.number, j.runID = last.RunID, last.Number+1, fmt.Sprintf("%x", sum[:8])
	}
	number := map[person][2]int{}
	var rows []int
	for k, p := range r.parties {
		c := &party{File: &cohort.File{Manifest: &cohort.Manifest{Identity: cohort.Identity{SourceDataset: historyParties[p]}}}}
		for n := historyRecords - 1; n >= 0; n-- {
			if x := (person{p, n}); r.people[x] {
				number[x] = [2]int{k, len(c.ids)}
				c.ids = append(c.ids, x.id())
			}
		}
		j.cohorts, rows = append(j.cohorts, c), append(rows, len(c.ids))
		for other := range k {
			j.strata = append(j.strata, stratum{Stratum: resolve.Stratum{LeftCohort: other, RightCohort: k}})
		}
	}
	j.people = resolve.NewPeople(rows)
	for _, l := range r.links {
		a, b := number[l.a], number[l.b]
		at := slices.IndexFunc(j.strata, func(s stratum) bool { return s.LeftCohort == a[0] && s.RightCohort == b[0] })
		j.candidates = append(j.candidates, resolve.Candidate{Stratum: int16(at), Left: int32(a[1]), Right: int32(b[1]), Odds: l.probability, Probability: l.probability, Best: true})
	}
	slices.SortStableFunc(j.candidates, func(a, b resolve.Candidate) int { return cmp.Compare(a.Stratum, b.Stratum) })
	must(j.readFounders(context.Background()))
	c := j.cluster()
	j.orderRows()
	must(j.writeFounders(context.Background(), c))
	must(KeepState(folder, folder))
	o = outcome{ids: map[person]string{}, changes: j.changes(c), runID: j.runID}
	for k := range o.at {
		o.at[k] = map[person]string{}
	}
	h := secret.NewHasher()
	for x, at := range number {
		n := j.people.Number(at[0], int32(at[1]))
		o.ids[x] = c.names[c.Founder[n]].String()
		for k := range o.at {
			o.at[k][x] = j.clusterID(h, c.founderAt(k, n)).String()
		}
	}
	b, err := os.ReadFile(filepath.Join(folder, foundersFile(j.runID)))
	must(err)
	o.founder = string(b)
	return o
}

// sets returns what is linked at a threshold, slowly.
func (r *historyRun) sets(threshold float64) (sets [][]person) {
	for x := range r.people {
		sets = append(sets, []person{x})
	}
	for _, l := range r.links {
		holding := func(x person) int {
			return slices.IndexFunc(sets, func(s []person) bool { return slices.Contains(s, x) })
		}
		if a, b := holding(l.a), holding(l.b); l.probability >= threshold && a != b {
			sets[a] = append(sets[a], sets[b]...)
			sets = slices.Delete(sets, b, b+1)
		}
	}
	return sets
}

// returned are records without a memory of their own whose id others have: they
// founded their cluster, were not there for a time, and are again.
func (m memory) returned(t rapid.TB, r *historyRun) memory {
	t.Helper()
	borne := map[string]bool{}
	for x, id := range m {
		if r.people[x] || !slices.Contains(r.parties, x.party) {
			borne[id] = true
		}
	}
	all := maps.Clone(m)
	for x := range r.people {
		if m[x] == "" && borne[ownID(t, x)] {
			all[x] = ownID(t, x)
		}
	}
	return all
}

// memory is what a slow linker remembers: of every record that it has seen, the
// id of its cluster.
type memory map[person]string

// check holds an outcome against what was remembered before it.
func (m memory) check(t rapid.TB, r *historyRun, o *outcome) {
	t.Helper()
	inUse := map[string]bool{}
	for _, id := range m {
		inUse[id] = true
	}
	sets := r.sets(.5)
	of := map[string][]person{}
	for _, set := range sets {
		id := o.ids[set[0]]
		if of[id] != nil {
			t.Fatalf("%s is the id of two clusters", id)
		}
		of[id] = set
		claims := map[string]bool{}
		for _, x := range set {
			if o.ids[x] != id {
				t.Fatalf("a cluster has two ids")
			}
			if m[x] != "" {
				claims[m[x]] = true
			}
		}
		if !claims[id] && inUse[id] && !slices.ContainsFunc(set, func(x person) bool { return id == ownID(t, x) }) {
			t.Fatalf("%s was in use, and none of its records is here", id)
		}
	}
	for k, threshold := range fixedThresholds {
		seen := map[string]bool{}
		for _, set := range r.sets(threshold) {
			id := o.at[k][set[0]]
			if seen[id] {
				t.Fatalf("%s is the id of two clusters at %v", id, threshold)
			}
			seen[id] = true
			for _, x := range set {
				if o.at[k][x] != id {
					t.Fatalf("a cluster has two ids at %v", threshold)
				}
			}
			if slices.ContainsFunc(sets, func(s []person) bool { return len(s) == len(set) && slices.Contains(s, set[0]) }) && id != o.ids[set[0]] {
				t.Fatalf("the same cluster has another id at %v", threshold)
			}
		}
	}
	m.checkChanges(t, o, of)
}

// checkChanges: an id stays, or is merged into one that does, and every record
// that has another one is accounted for.
func (m memory) checkChanges(t rapid.TB, o *outcome, of map[string][]person) {
	t.Helper()
	want := map[[2]string]bool{}
	earlier := map[string]bool{}
	for x, id := range o.ids {
		if before := m[x]; before != "" {
			earlier[before] = true
			if before != id {
				want[[2]string{before, id}] = true
			}
		}
	}
	merged, got := map[string]string{}, map[[2]string]bool{}
	for _, c := range o.changes {
		got[[2]string{c.Before, c.After}] = true
		if c.Kind == result.ChangeMerged {
			if merged[c.Before] != "" {
				t.Fatalf("%s was merged into two", c.Before)
			}
			merged[c.Before] = c.After
		}
	}
	if !maps.Equal(got, want) || len(o.changes) != len(got) {
		t.Fatalf("changes %v, want %v", o.changes, want)
	}
	for id := range earlier {
		if stays, into := of[id] != nil, merged[id]; stays == (into != "") {
			t.Fatalf("%s stays: %v, and is merged into %q", id, stays, into)
		} else if !stays && !earlier[into] {
			t.Fatalf("%s was merged into a cluster that is new", id)
		}
	}
}

// ownID is the id of the cluster that a record founds.
func ownID(t rapid.TB, x person) string {
	raw := rand.NewChaCha8([32]byte{3})
	key, err := secret.Generate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return newState("", key, stateDocument{}).clusterID(secret.NewHasher(), x.name(), x.id().String()).String()
}

// remember takes over what a run came to: a party's records that it has not any
// more are forgotten, those of other parties go where their cluster went.
func (m memory) remember(r *historyRun, o *outcome) memory {
	next := memory{}
	for x, id := range m {
		if slices.Contains(r.parties, x.party) {
			continue
		}
		next[x] = id
		for _, c := range o.changes {
			if c.Before == id && c.Kind == result.ChangeMerged {
				next[x] = c.After
			}
		}
	}
	maps.Copy(next, o.ids)
	return next
}

// TestIdsStay: over histories in which records and parties come, go and come
// back, an id names one cluster, stays while any record that had it can be its
// bearer, and what changes is on record. A run that is done again is the same
// run, and knows nothing of itself.
func TestIdsStay(t *testing.T) {
	t.Parallel()
	kinds := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		folder, err := os.MkdirTemp("", "tarn-history-")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(folder) }()
		m := memory{}
		runs := rapid.IntRange(1, 4).Draw(t, "runs")
		for n := range runs {
			r := drawRun(t)
			job := fmt.Sprintf("%016x", n+1)
			o := r.do(t, folder, job)
			m = m.returned(t, &r)
			m.check(t, &r, &o)
			if n == 0 {
				for _, set := range r.sets(.5) {
					first := slices.MinFunc(set, func(a, b person) int { return cmp.Or(cmp.Compare(a.party, b.party), a.id().Compare(b.id())) })
					if o.ids[first] != ownID(t, first) {
						t.Fatal("without an earlier run a cluster is not named by its first record")
					}
				}
			}
			if n == runs-1 {
				again := r.do(t, folder, job)
				if again.founder != o.founder || again.runID != o.runID || !maps.Equal(again.ids, o.ids) || !slices.Equal(again.changes, o.changes) {
					t.Fatal("a run that is done again is another one")
				}
			}
			for _, c := range o.changes {
				kinds[c.Kind]++
			}
			m = m.remember(&r, &o)
		}
	})
	if kinds[result.ChangeMerged] == 0 || kinds[result.ChangeSplit] == 0 {
		t.Errorf("changes of the histories: %v", kinds)
	}
}

// TestRulesOfIds: which id stays, case by case.
func TestRulesOfIds(t *testing.T) {
	t.Parallel()
	e0, e1, n0, n1, s0 := person{0, 0}, person{0, 1}, person{1, 0}, person{1, 1}, person{2, 0}
	run := func(links []historyLink, people ...person) historyRun {
		r := historyRun{people: map[person]bool{}, links: links}
		for _, x := range people {
			if r.people[x] = true; !slices.Contains(r.parties, x.party) {
				r.parties = append(r.parties, x.party)
			}
		}
		slices.Sort(r.parties)
		return r
	}
	both := func(pairs ...[2]person) (links []historyLink) {
		for _, p := range pairs {
			links = append(links, historyLink{p[0], p[1], .995})
		}
		return links
	}
	for _, c := range []struct {
		name string
		runs []historyRun
		want map[person]person // whose id a record's cluster has in the end
		said string
	}{
		{"a new party that sorts first", []historyRun{run(both([2]person{n0, s0}), n0, s0), run(both([2]person{e0, n0}, [2]person{n0, s0}), e0, n0, s0)},
			map[person]person{e0: n0, s0: n0}, ""},
		{"the older of two clusters stays", []historyRun{run(nil, s0, n0), run(nil, s0, n0, e0), run(both([2]person{e0, s0}), s0, n0, e0)},
			map[person]person{e0: s0, s0: s0, n0: n0}, "merged"},
		{"of two that are as old, the first", []historyRun{run(nil, n0, s0), run(both([2]person{n0, s0}), n0, s0)}, map[person]person{n0: n0, s0: n0}, "merged"},
		{"a founder takes its id along", []historyRun{run(both([2]person{n0, s0}, [2]person{e0, s0}), e0, n0, s0), run(both([2]person{n0, s0}), e0, n0, s0)},
			map[person]person{e0: e0, n0: n0, s0: n0}, "split"},
		{"an id outlives its founder", []historyRun{run(both([2]person{n0, s0}), n0, n1, s0), run(nil, n1, s0), run(both([2]person{e1, s0}), e1, n1, s0)},
			map[person]person{s0: n0, e1: n0, n1: n1}, ""},
		{"a founder that comes back takes its id", []historyRun{run(both([2]person{n0, s0}), n0, s0), run(nil, n1, s0), run(nil, n0, s0)},
			map[person]person{n0: n0, s0: s0}, "split"},
		{"and names those that are new", []historyRun{run(both([2]person{n0, s0}), n0, s0), run(nil, n1, s0), run(both([2]person{e0, n0}), e0, n0, s0)},
			map[person]person{e0: n0, n0: n0, s0: s0}, "split"},
		{"a party that is left out once", []historyRun{run(both([2]person{e0, s0}, [2]person{n0, s0}), e0, n0, s0), run(both([2]person{n0, s0}), n0, s0), run(both([2]person{e0, n0}), e0, n0, s0)},
			map[person]person{e0: e0, n0: e0, s0: s0}, "split"},
		{"who is left out goes along with a merger", []historyRun{run(both([2]person{n0, s0}), n0, n1, s0, e0), run(both([2]person{e0, n0}), e0, n0, n1), run(nil, e0, n0, n1, s0)},
			map[person]person{e0: e0, n0: n0, s0: s0}, "split split"},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := t.TempDir()
			var o outcome
			for n := range c.runs {
				o = c.runs[n].do(t, folder, fmt.Sprintf("%016x", n))
			}
			for x, founder := range c.want {
				if o.ids[x] != ownID(t, founder) {
					t.Errorf("record %v does not have the id of %v", x, founder)
				}
			}
			var kinds []string
			for _, change := range o.changes {
				kinds = append(kinds, change.Kind)
			}
			if got := strings.Join(kinds, " "); got != c.said {
				t.Errorf("changes %q, want %q", got, c.said)
			}
			if tables, _ := filepath.Glob(filepath.Join(folder, "*")); len(tables) != min(len(c.runs), 2)+1 {
				t.Errorf("the state holds %v", tables)
			}
		})
	}
}

// TestDamagedFounders: what a state has lost is said, and never taken for a
// state that remembers nothing.
func TestDamagedFounders(t *testing.T) {
	folder := t.TempDir()
	r := historyRun{parties: []int{1, 2}, people: map[person]bool{{1, 0}: true, {1, 1}: true, {2, 0}: true}, links: []historyLink{{person{1, 0}, person{2, 0}, .9}}}
	o := r.do(t, folder, "0000000000000001")
	path := filepath.Join(folder, foundersFile(o.runID))
	read := func() error {
		s, err := openState(folder, "test", 1, "test", "now", nil)
		must(t, err)
		c := &party{File: &cohort.File{Manifest: &cohort.Manifest{Identity: cohort.Identity{SourceDataset: "north"}}}, ids: []cohort.ID{{1}}}
		j := &job{Options: Options{State: folder}, state: s, earlier: o.runID, number: 2, cohorts: []*party{c}, people: resolve.NewPeople([]int{1})}
		return j.readFounders(t.Context())
	}
	must(t, read())
	must(t, os.Remove(path))
	for _, content := range [][]byte{nil, []byte(o.founder)[:len(o.founder)/2], bytes.Replace([]byte(o.founder), []byte(o.runID), []byte("0000000000000002"), 1)} {
		if content != nil {
			must(t, os.WriteFile(path, content, 0o600))
		}
		if err := read(); fault.KindOf(err) != fault.Usage {
			t.Errorf("%d bytes: %v", len(content), err)
		}
	}
}

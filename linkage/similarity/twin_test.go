package similarity

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tarn/keys/fault"
	"tarn/linkage/kernel"
)

func ctx(t rapid.TB) context.Context {
	if with, ok := t.(interface{ Context() context.Context }); ok {
		return with.Context()
	}
	return context.Background()
}

// slowCandidates is Find, slow and obvious: every pair, by anonlink's
// arithmetic.
func slowCandidates(sets []*Set, threshold float64) (found []Candidate) {
	ones := func(a, b []uint64) (n int) {
		for w := range a {
			n += bits.OnesCount64(a[w] & b[w])
		}
		return n
	}
	for i, left := range sets {
		for j := i + 1; j < len(sets); j++ {
			for x := range left.Rows() {
				for y := range sets[j].Rows() {
					f, g := left.Bits[x*left.Words:(x+1)*left.Words], sets[j].Bits[y*left.Words:(y+1)*left.Words]
					a, b := ones(f, f), ones(g, g)
					if a == 0 {
						continue
					}
					similarity := float64(2*ones(f, g)) / float64(a+b)
					if similarity >= threshold && uint32(max(a-b, b-a)) <= uint32(float64(2*a)*(1/threshold-1)) {
						found = append(found, Candidate{similarity, uint32(x), uint32(y), uint16(i), uint16(j)})
					}
				}
			}
		}
	}
	slices.SortFunc(found, Compare)
	return found
}

// slowGreedy is Greedy, slow and obvious: groups are lists of records, and two
// are merged once all their pairs have been met.
func slowGreedy(candidates []Candidate) [][]Record {
	type pair struct{ a, b Record }
	met := map[pair]bool{}
	groups := [][]Record{}
	of := func(r Record) int {
		at := slices.IndexFunc(groups, func(g []Record) bool { return slices.Contains(g, r) })
		if at < 0 {
			groups = append(groups, []Record{r})
			at = len(groups) - 1
		}
		return at
	}
	for _, c := range candidates {
		left, right := Record{c.Left, c.LeftRow}, Record{c.Right, c.RightRow}
		met[pair{left, right}], met[pair{right, left}] = true, true
		a, b := of(left), of(right)
		all := a != b
		for _, x := range groups[a] {
			for _, y := range groups[b] {
				all = all && met[pair{x, y}]
			}
		}
		if all {
			groups[a] = append(groups[a], groups[b]...)
			groups = slices.Delete(groups, b, b+1)
		}
	}
	return normal(slices.DeleteFunc(groups, func(g []Record) bool { return len(g) < 2 }))
}

// drawCandidates draws candidates in an order of their own, of people whom most
// of up to seven parties have.
func drawCandidates(t *rapid.T) (sets []*Set, candidates []Candidate) {
	parties, rows := rapid.IntRange(2, 7).Draw(t, "parties"), rapid.IntRange(1, 4).Draw(t, "rows")
	for i := range parties {
		sets = append(sets, setOf(string(rune('a'+i)), 1, make([][]byte, rows)))
		sets[i].rows = rows
	}
	share := rapid.Float64Range(.2, 1).Draw(t, "share")
	strangers := rapid.Float64Range(0, .4).Draw(t, "strangers")
	for i := range parties {
		for j := i + 1; j < parties; j++ {
			for x := range rows {
				for y := range rows {
					if rapid.Float64Range(0, 1).Draw(t, "kept") < map[bool]float64{true: share, false: strangers}[x == y] {
						candidates = append(candidates, Candidate{1, uint32(x), uint32(y), uint16(i), uint16(j)})
					}
				}
			}
		}
	}
	if len(candidates) > 0 {
		candidates = rapid.Permutation(candidates).Draw(t, "order")
	}
	return sets, candidates
}

func TestFindIsItsTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sets := drawParties(t, 4)
		threshold := drawThreshold(t, sets)
		want := slowCandidates(sets, threshold)
		for _, path := range kernel.Available() {
			for _, threads := range []int{1, 3} {
				if err := bitEqual(find(t, sets, threshold, 0, threads, path), want); err != nil {
					t.Fatalf("%s, %d threads: %v", path, threads, err)
				}
			}
		}
	})
}

// TestTiles: right sides of several tiles and left sides of several chunks.
func TestTiles(t *testing.T) {
	filters := make([][]byte, 2*tileRows+5)
	for i := range filters {
		filters[i] = []byte{byte(i), byte(i >> 8), byte(i >> 16), 255, 255}
	}
	sets := []*Set{setOf("a", 5, filters[len(filters)-chunkRows-100:]), setOf("b", 5, filters)}
	want := slowCandidates(sets, .97)
	if err := bitEqual(find(t, sets, .97, 0, 3, kernel.Best()), want); err != nil {
		t.Error(err)
	}
	last := uint32(0)
	for _, c := range want {
		last = max(last, c.RightRow)
	}
	if len(want) < 1000 || last < 2*tileRows {
		t.Errorf("%d candidates, the last right row %d: this test shows little", len(want), last)
	}
}

func TestGreedyIsItsTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sets, candidates := drawCandidates(t)
		if got, want := Greedy(sets, candidates).list(), slowGreedy(candidates); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("groups %v, slowly %v", got, want)
		}
	})
}

// TestGreedyOfTwo: for two parties the greedy solution is the obvious one.
func TestGreedyOfTwo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sets := drawParties(t, 2)
		candidates := find(t, sets, .5, 0, 1, kernel.Best())
		taken := map[Record]bool{}
		want := [][]Record{}
		for _, c := range candidates {
			left, right := Record{0, c.LeftRow}, Record{1, c.RightRow}
			if !taken[left] && !taken[right] {
				taken[left], taken[right] = true, true
				want = append(want, []Record{left, right})
			}
		}
		g := Greedy(sets, candidates)
		if fmt.Sprint(g.list()) != fmt.Sprint(normal(want)) {
			t.Fatalf("groups %v, want %v", g.list(), want)
		}
		for _, c := range candidates {
			if g.Together(c) != slices.ContainsFunc(want, func(p []Record) bool { return p[0].Row == c.LeftRow && p[1].Row == c.RightRow }) {
				t.Fatalf("together: %+v", c)
			}
		}
	})
}

// TestMutualAndConnected hold what they promise, of any candidates.
func TestMutualAndConnected(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sets, candidates := drawCandidates(t)
		g, linked := Mutual(sets, candidates)
		for i, c := range candidates {
			first := !slices.ContainsFunc(candidates[:i], func(d Candidate) bool {
				return d.Left == c.Left && d.Right == c.Right && (d.LeftRow == c.LeftRow || d.RightRow == c.RightRow)
			})
			if linked(i) != first {
				t.Fatalf("candidate %d of %+v: linked %v", i, candidates, linked(i))
			}
		}
		for _, members := range g.list() {
			for i, r := range members[1:] {
				if members[i].Party == r.Party {
					t.Fatalf("two records of one party in %v", members)
				}
			}
		}
		all := Connected(sets, candidates)
		for _, c := range candidates {
			if !all.Together(c) {
				t.Fatalf("not connected: %+v", c)
			}
		}
		records := 0
		for _, members := range all.list() {
			records += len(members)
		}
		inSome := map[Record]bool{}
		for _, c := range candidates {
			inSome[Record{c.Left, c.LeftRow}], inSome[Record{c.Right, c.RightRow}] = true, true
		}
		if records != len(inSome) {
			t.Fatalf("%d records in groups, %d in candidates", records, len(inSome))
		}
	})
}

// TestTooManyCandidates: more than fit are refused, and never cut off.
func TestTooManyCandidates(t *testing.T) {
	filters := make([][]byte, 100)
	for i := range filters {
		filters[i] = []byte{255}
	}
	sets := []*Set{setOf("a", 1, filters), setOf("b", 1, filters)}
	for memory, fits := range map[int64]bool{10_000 * candidateBytes: true, 10_000*candidateBytes - 1: false, 0: false} {
		found, err := Search{Threshold: 1, Threads: 2, Memory: memory}.Find(t.Context(), sets)
		if fits != (err == nil) || fits && len(found) != 10_000 || !fits && fault.KindOf(err) != fault.Usage {
			t.Errorf("memory for %d bytes: %d candidates, %v", memory, len(found), err)
		}
	}
}

// TestInterrupted: an interrupt ends the search.
func TestInterrupted(t *testing.T) {
	stopped, stop := context.WithCancel(t.Context())
	stop()
	sets := []*Set{setOf("a", 1, make([][]byte, 10)), setOf("b", 1, make([][]byte, 10))}
	if _, err := (Search{Threshold: 1, Memory: 1 << 20}).Find(stopped, sets); err != context.Canceled {
		t.Errorf("the search ended with %v", err)
	}
}

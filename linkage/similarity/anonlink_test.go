package similarity

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tarn/linkage/kernel"
)

// TestAnonlinkRandom: candidates, similarities, order and greedy groups of
// random filters are anonlink's own.
func TestAnonlinkRandom(t *testing.T) {
	p := startPeer(t)
	tied, exact := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		sets := drawParties(t, 5)
		threshold := drawThreshold(t, sets)
		k := rapid.SampledFrom([]int{0, 0, 0, 1, 2, 5}).Draw(t, "k")
		want, groups := p.ask(t, request(sets, threshold, k))
		got := find(t, sets, threshold, k, 2, kernel.Best())
		if err := bitEqual(got, want); err != nil {
			t.Fatalf("here and there: %v", err)
		}
		if got := Greedy(sets, got).list(); fmt.Sprint(got) != fmt.Sprint(groups) {
			t.Fatalf("groups %v, anonlink's %v", got, groups)
		}
		for i, c := range got {
			if c.Similarity == threshold {
				exact++
			}
			if i > 0 && c.Similarity == got[i-1].Similarity {
				tied++
			}
		}
	})
	if tied < 100 || exact < 20 {
		t.Errorf("%d ties and %d similarities that are the threshold: this test shows little", tied, exact)
	}
}

// TestAnonlinkLosesAtTheThreshold: pairs of which one filter is part of the
// other and whose similarity is exactly the threshold are lost by anonlink where
// its bound on the difference in length is rounded down, and here as well.
func TestAnonlinkLosesAtTheThreshold(t *testing.T) {
	p := startPeer(t)
	const width = 128
	prefix := func(n int) []byte { // n bits set
		b := make([]byte, width)
		for bit := range n {
			b[bit/8] |= 1 << (bit % 8)
		}
		return b
	}
	rng := rand.New(rand.NewPCG(5, 5))
	lost, kept := 0, 0
	for range 300 {
		a := 1 + rng.IntN(600)
		b := a + rng.IntN(400)
		for _, x := range [][2]int{{a, b}, {b, a}} {
			sets := []*Set{setOf("a", width, [][]byte{prefix(x[0])}), setOf("b", width, [][]byte{prefix(x[1])})}
			threshold := float64(2*a) / float64(a+b)
			want, _ := p.ask(t, request(sets, threshold, 0))
			if err := bitEqual(find(t, sets, threshold, 0, 1, kernel.Best()), want); err != nil {
				t.Fatalf("%d and %d bits at %v: %v", x[0], x[1], threshold, err)
			}
			lost, kept = lost+1-len(want), kept+len(want)
		}
	}
	if lost == 0 || kept == 0 {
		t.Errorf("%d lost, %d kept: the bound was not tried", lost, kept)
	}
}

// TestAnonlinkGreedy: the groups of candidates in any order, up to seven
// parties, are anonlink's: groups of several meet groups of several.
func TestAnonlinkGreedy(t *testing.T) {
	p := startPeer(t)
	largest, merged := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		sets, candidates := drawCandidates(t)
		pairs := [][4]uint32{}
		for _, c := range candidates {
			pairs = append(pairs, [4]uint32{uint32(c.Left), uint32(c.Right), c.LeftRow, c.RightRow})
		}
		_, want := p.ask(t, map[string]any{"pairs": pairs})
		got := Greedy(sets, candidates).list()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("groups %v, anonlink's %v", got, want)
		}
		for _, g := range got {
			if largest = max(largest, len(g)); len(g) > 3 {
				merged++
			}
		}
	})
	if largest < 5 || merged < 20 {
		t.Errorf("the largest group has %d records, and %d have more than 3: this test shows little", largest, merged)
	}
}

// TestAnonlinkNoticesWrongTies is the control: with the order of equal
// similarities changed, and with groups merged too soon, the comparison with
// anonlink fails.
func TestAnonlinkNoticesWrongTies(t *testing.T) {
	p := startPeer(t)
	rng := rand.New(rand.NewPCG(3, 9))
	order, groups, early := 0, 0, 0
	for range 40 {
		var sets []*Set
		for party := range 3 {
			var filters [][]byte
			for range 12 {
				filters = append(filters, []byte{byte(rng.Uint32()), byte(rng.Uint32())})
			}
			sets = append(sets, setOf(string(rune('a'+party)), 2, filters))
		}
		want, wantGroups := p.ask(t, request(sets, .6, 0))
		wrong := find(t, sets, .6, 0, 1, kernel.Best())
		if err := bitEqual(wrong, want); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(Connected(sets, wrong).list()) != fmt.Sprint(wantGroups) {
			early++
		}
		slices.SortStableFunc(wrong, func(a, b Candidate) int { // the later row first
			if a.Similarity != b.Similarity {
				return Compare(a, b)
			}
			return Compare(b, a)
		})
		if bitEqual(wrong, want) != nil {
			order++
		}
		if fmt.Sprint(Greedy(sets, wrong).list()) != fmt.Sprint(wantGroups) {
			groups++
		}
	}
	if order < 20 || groups < 20 || early < 20 {
		t.Errorf("of 40 wrong orders %d were noticed, of wrong groups %d and %d: the comparison cannot fail", order, groups, early)
	}
}

// TestAnonlinkFEBRL: CLKs of FEBRL's people, two, three and four parties.
func TestAnonlinkFEBRL(t *testing.T) {
	p := startPeer(t)
	data := os.Getenv("TARN_TESTDATA")
	if data == "" {
		t.Skip("TARN_TESTDATA is not set: there are no CLKs of FEBRL")
	}
	var sets []*Set
	for _, name := range []string{"febrl4a_clks.json", "febrl4b_clks.json"} {
		s, err := ReadCLKs(t.Context(), filepath.Join(data, "vectors", "clkhash", name), 1<<30, nil)
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, s)
	}
	// Others who have some of the same people: their pairs are alike in hundreds of ways.
	for i, of := range []int{1, 0} {
		var filters [][]byte
		rng := rand.New(rand.NewPCG(7, uint64(i)))
		for _, row := range rng.Perm(sets[of].Rows())[:1500] {
			filters = append(filters, bytesOf(sets[of], row))
		}
		sets = append(sets, setOf(string(rune('c'+i)), sets[0].Bytes, filters))
	}
	for _, x := range []struct {
		parties   int
		threshold float64
	}{{2, .85}, {2, .78}, {3, .8}, {4, .78}} {
		want, groups := p.ask(t, request(sets[:x.parties], x.threshold, 0))
		got := find(t, sets[:x.parties], x.threshold, 0, 2, kernel.Best())
		if err := bitEqual(got, want); err != nil {
			t.Errorf("%+v: %v", x, err)
		}
		if got := Greedy(sets[:x.parties], got).list(); fmt.Sprint(got) != fmt.Sprint(groups) {
			t.Errorf("%+v: groups differ", x)
		}
		t.Logf("%d parties at %v: %d candidates, %d groups", x.parties, x.threshold, len(want), len(groups))
	}
}

package similarity

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"tarn/bench/peer"
	"tarn/linkage/kernel"
)

// anonlink is anonlink itself, in a process that ends with the test.
type anonlink struct{ *peer.Peer }

func startPeer(t testing.TB) anonlink {
	t.Helper()
	p := anonlink{peer.Start(t, peer.Python(t, "anonlink"), "anonlink_peer.py")}
	var hello struct {
		Anonlink *string `json:"anonlink"`
	}
	p.Read(t, &hello)
	if hello.Anonlink == nil {
		t.Skip("the Python of TARN_PYTHON has no anonlink: nothing is compared with it (make venv)")
	}
	if *hello.Anonlink != "0.15.3" {
		t.Fatalf("anonlink is %s, not 0.15.3", *hello.Anonlink)
	}
	return p
}

// answer is what anonlink finds: candidates in its order, and groups, of which
// the order says nothing.
type answer struct {
	Pairs  [][5]any      `json:"pairs"`
	Groups [][][2]uint32 `json:"groups"`
}

func (p anonlink) ask(t rapid.TB, request any) (candidates []Candidate, groups [][]Record) {
	t.Helper()
	var a answer
	p.Ask(t, request, &a)
	for _, x := range a.Pairs {
		similarity, err := strconv.ParseFloat(x[0].(string), 64)
		if err != nil {
			t.Fatal(err)
		}
		n := func(i int) uint32 { return uint32(x[i].(float64)) }
		candidates = append(candidates, Candidate{Similarity: similarity, Left: uint16(n(1)), Right: uint16(n(2)), LeftRow: n(3), RightRow: n(4)})
	}
	for _, members := range a.Groups {
		var group []Record
		for _, m := range members {
			group = append(group, Record{uint16(m[0]), m[1]})
		}
		groups = append(groups, group)
	}
	return candidates, normal(groups)
}

// normal orders records within groups, and groups.
func normal(groups [][]Record) [][]Record {
	compare := func(a, b Record) int {
		return (int(a.Party)-int(b.Party))<<33 + int(a.Row) - int(b.Row)
	}
	for _, g := range groups {
		slices.SortFunc(g, compare)
	}
	slices.SortFunc(groups, func(a, b []Record) int { return slices.CompareFunc(a, b, compare) })
	return groups
}

func (g *Groups) list() (groups [][]Record) {
	for _, members := range g.All {
		groups = append(groups, slices.Clone(members))
	}
	return normal(groups)
}

// request is what to ask anonlink of some parties.
func request(sets []*Set, threshold float64, k int) any {
	r := struct {
		Parties   [][]string `json:"parties"`
		Threshold float64    `json:"threshold"`
		K         *int       `json:"k"`
	}{Threshold: threshold, Parties: [][]string{}}
	if k > 0 {
		r.K = &k
	}
	for _, s := range sets {
		party := []string{}
		for row := range s.Rows() {
			party = append(party, base64.StdEncoding.EncodeToString(bytesOf(s, row)))
		}
		r.Parties = append(r.Parties, party)
	}
	return r
}

func bytesOf(s *Set, row int) []byte {
	var b []byte
	for _, word := range s.Bits[row*s.Words : (row+1)*s.Words] {
		b = binary.LittleEndian.AppendUint64(b, word)
	}
	return b[:s.Bytes]
}

func setOf(name string, width int, filters [][]byte) *Set {
	s := &Set{Name: name, Words: (width + 7) / 8, rows: len(filters)}
	if s.rows > 0 {
		s.Bytes = width
	}
	for _, f := range filters {
		padded := make([]byte, 8*s.Words)
		copy(padded, f)
		for w := range s.Words {
			s.Bits = append(s.Bits, binary.LittleEndian.Uint64(padded[8*w:]))
		}
	}
	s.count()
	return s
}

func find(t rapid.TB, sets []*Set, threshold float64, k, threads int, path kernel.Path) []Candidate {
	t.Helper()
	found, err := Search{Threshold: threshold, PerRecord: k, Threads: threads, Memory: 1 << 30, Path: path}.Find(ctx(t), sets)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// bitEqual compares candidates with their similarities bit by bit.
func bitEqual(a, b []Candidate) error {
	if len(a) != len(b) {
		return fmt.Errorf("%d candidates and %d", len(a), len(b))
	}
	for i := range a {
		if a[i] != b[i] || math.Float64bits(a[i].Similarity) != math.Float64bits(b[i].Similarity) {
			return fmt.Errorf("candidate %d is %+v and %+v", i, a[i], b[i])
		}
	}
	return nil
}

// drawParties draws parties whose filters resemble each other: many pairs are
// equally similar, some filters are the same, some empty, some full, some part
// of another.
func drawParties(t *rapid.T, most int) []*Set {
	width := rapid.SampledFrom([]int{1, 2, 3, 8, 9, 16, 24, 64, 100, 128, 136, 256, 520}).Draw(t, "bytes")
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	density := rapid.Float64Range(.02, .95).Draw(t, "density")
	noise := rapid.SampledFrom([]float64{0, .002, .02, .1}).Draw(t, "noise")
	people := make([][]byte, rapid.IntRange(1, 12).Draw(t, "people"))
	for i := range people {
		people[i] = make([]byte, width)
		for bit := range 8 * width {
			if rng.Float64() < density {
				people[i][bit/8] |= 1 << (bit % 8)
			}
		}
	}
	sets := make([]*Set, rapid.IntRange(2, most).Draw(t, "parties"))
	for i := range sets {
		filters := make([][]byte, rapid.IntRange(0, 40).Draw(t, "rows"))
		for row := range filters {
			filters[row] = slices.Clone(people[rng.IntN(len(people))])
			kind := rng.IntN(12)
			for bit := range 8 * width {
				switch one := byte(1 << (bit % 8)); {
				case kind == 0:
					filters[row][bit/8] &^= one
				case kind == 1 && noise == .1:
					filters[row][bit/8] |= one
				case kind < 5 && rng.Float64() < 4*noise: // part of the person's
					filters[row][bit/8] &^= one
				case kind >= 5 && rng.Float64() < noise:
					filters[row][bit/8] ^= one
				}
			}
		}
		sets[i] = setOf(string(rune('a'+i)), width, filters)
	}
	return sets
}

// drawThreshold draws a threshold that is often exactly what a pair has.
func drawThreshold(t *rapid.T, sets []*Set) float64 {
	if rapid.Bool().Draw(t, "round") {
		return rapid.SampledFrom([]float64{.1, .25, .4, .5, .6, 2. / 3, .7, .75, .8, .85, .9, .95, 1}).Draw(t, "threshold")
	}
	if all := slowCandidates(sets, 1e-3); len(all) > 0 {
		return all[rapid.IntRange(0, len(all)-1).Draw(t, "like")].Similarity
	}
	return .5
}

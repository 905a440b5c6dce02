package similarity

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sync/errgroup"

	"tarn/keys/fault"
	"tarn/linkage/kernel"
)

// Candidate is a pair of records of two parties whose similarity reaches the
// threshold.
type Candidate struct {
	Similarity float64 // Dice coefficient as anonlink computes it
	LeftRow    uint32
	RightRow   uint32
	Left       uint16 // index of the party, below Right
	Right      uint16
}

// Compare is anonlink's order of candidates, and total: the most similar first,
// then by left party, right party, left row and right row.
func Compare(a, b Candidate) int {
	switch {
	case a.Similarity != b.Similarity:
		return cmp.Compare(b.Similarity, a.Similarity)
	case a.Left != b.Left:
		return cmp.Compare(a.Left, b.Left)
	case a.Right != b.Right:
		return cmp.Compare(a.Right, b.Right)
	case a.LeftRow != b.LeftRow:
		return cmp.Compare(a.LeftRow, b.LeftRow)
	}
	return cmp.Compare(a.RightRow, b.RightRow)
}

// Search finds candidate pairs.
type Search struct {
	Threshold float64 // above 0 and up to 1
	// PerRecord is anonlink's k: how many candidates of each other party a
	// record may have; 0 is any number. See limit.
	PerRecord int
	Threads   int
	Memory    int64                   // bytes that candidates may take, not counting a copy while they are put in order; more is an error
	Path      kernel.Path             // how bits are counted; the result does not depend on it
	Progress  func(done, total int64) // pairs that were compared; may be nil
}

const (
	// A tile of right rows is laid out for the kernel once and scanned by all
	// threads: of filters of 1024 bits it is 4 MiB.
	tileRows = 32 << 10
	// chunkRows is the piece of work of a goroutine, small enough that an
	// interrupt is heard.
	chunkRows = 512

	candidateBytes = int64(unsafe.Sizeof(Candidate{}))
)

// Find returns the candidates among all pairs of records of different parties,
// in the order of [Compare]. It does not depend on Threads.
func (s Search) Find(ctx context.Context, sets []*Set) ([]Candidate, error) {
	f := &finder{Search: s}
	for i, left := range sets {
		for _, right := range sets[i+1:] {
			f.total += int64(left.Rows()) * int64(right.Rows())
		}
	}
	for i, left := range sets {
		for j, right := range sets[i+1:] {
			for from := 0; from < right.Rows(); from += tileRows {
				if err := f.tile(ctx, left, right, from, uint16(i), uint16(i+1+j)); err != nil {
					return nil, err
				}
			}
		}
	}
	ordered, err := s.order(ctx, f.found)
	if err == nil && s.PerRecord > 0 {
		ordered = limit(ordered, s.PerRecord)
	}
	return ordered, err
}

// order puts candidates in the order of [Compare], into a list of their own:
// first into shelves of those that are about equally similar, which several
// threads then sort.
func (s Search) order(ctx context.Context, found []Candidate) ([]Candidate, error) {
	const shelves = 1 << 12
	shelf := func(c *Candidate) int { return min(int((1-c.Similarity)*shelves), shelves-1) }
	var ends [shelves + 1]int
	for i := range found {
		ends[shelf(&found[i])+1]++
	}
	for i := range shelves {
		ends[i+1] += ends[i]
	}
	ordered, next := make([]Candidate, len(found)), ends
	for i := range found {
		at := shelf(&found[i])
		ordered[next[at]] = found[i]
		next[at]++
	}
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(max(s.Threads, 1))
	for i := range shelves {
		if part := ordered[ends[i]:ends[i+1]]; len(part) > 1 && working.Err() == nil {
			group.Go(func() error {
				slices.SortFunc(part, Compare)
				return working.Err()
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return ordered, ctx.Err()
}

// finder is one run of Find.
type finder struct {
	Search
	total int64
	done  atomic.Int64

	mu    sync.Mutex
	found []Candidate // in no particular order: they are sorted in the end
}

// tile compares the rows of a party with some rows of another.
func (f *finder) tile(ctx context.Context, left, right *Set, from int, leftIndex, rightIndex uint16) error {
	rows := min(tileRows, right.Rows()-from)
	scanner := f.Path.NewScanner(right.Words, right.Bits[from*right.Words:(from+rows)*right.Words], f.Threshold)
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(max(f.Threads, 1))
	for first := 0; first < left.Rows() && working.Err() == nil; first += chunkRows {
		group.Go(func() error {
			if err := working.Err(); err != nil {
				return err
			}
			last := min(first+chunkRows, left.Rows())
			var found []Candidate
			scanner.Scan(left.Bits[first*left.Words:last*left.Words], func(row int, matches []kernel.Match) {
				for _, m := range matches {
					found = append(found, Candidate{Similarity: m.Dice, LeftRow: uint32(first + row), RightRow: uint32(from) + m.Row, Left: leftIndex, Right: rightIndex})
				}
			})
			return f.add(found, int64(last-first)*int64(rows))
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// add takes what was found among so many pairs.
func (f *finder) add(found []Candidate, compared int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if want := len(f.found) + len(found); int64(want)*candidateBytes > f.Memory {
		return fault.New(fault.Usage, "looking for candidate pairs", fmt.Sprintf("more than %d pairs reach the threshold, and no more fit into the memory that may be used", len(f.found)),
			"raise --threshold: pairs that are alike by chance reach it; or allow more with --memory")
	} else if want > cap(f.found) { // in steps that do not go beyond what may be used
		f.found = slices.Grow(f.found, min(max(want/4, chunkRows), int(f.Memory/candidateBytes)-len(f.found)))
	}
	f.found = append(f.found, found...)
	if f.Progress != nil {
		f.Progress(f.done.Add(compared), f.total)
	}
	return nil
}

// limit applies anonlink's k to candidates that are in order: of the candidates
// of a left record with a right party the first k remain, and of those the first
// k of each right record with that left party.
func limit(candidates []Candidate, k int) []Candidate {
	type side struct {
		party, other uint16
		row          uint32
	}
	count := map[side]int{}
	first := func(s side) bool {
		count[s]++
		return count[s] <= k
	}
	kept := candidates[:0]
	for _, c := range candidates {
		if first(side{c.Left, c.Right, c.LeftRow}) && first(side{c.Right, c.Left, c.RightRow}) {
			kept = append(kept, c)
		}
	}
	return kept
}

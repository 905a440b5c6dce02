package evaluate

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"tarn/linkage/result"
)

// record is a record of a data set, numbered in order of appearance.
type record int32

// pair is two records, the smaller number in the upper half.
type pair uint64

func pairOf(a, b record) pair {
	if a > b {
		a, b = b, a
	}
	return pair(a)<<32 | pair(b)
}

func (p pair) records() (record, record) { return record(p >> 32), record(p & 0xffffffff) }

// registry numbers records.
type registry struct {
	datasets []string
	numbers  []map[string]record // of each data set
	dataset  []int32             // of each record
	ids      []string            // of each record
}

func (r *registry) find(dataset, id string) (record, bool) {
	d := slices.Index(r.datasets, dataset)
	if d < 0 {
		return 0, false
	}
	n, ok := r.numbers[d][id]
	return n, ok
}

func (r *registry) number(dataset, id string) record {
	d := slices.Index(r.datasets, dataset)
	if d < 0 {
		d = len(r.datasets)
		r.datasets = append(r.datasets, strings.Clone(dataset))
		r.numbers = append(r.numbers, map[string]record{})
	}
	n, ok := r.numbers[d][id]
	if !ok {
		n = record(len(r.dataset))
		id = strings.Clone(id) // callers' strings live in reused buffers
		r.numbers[d][id] = n
		r.dataset = append(r.dataset, int32(d))
		r.ids = append(r.ids, id)
	}
	return n
}

// candidate is one row of links.parquet.
type candidate struct {
	pair        pair
	probability float64 // link_probability, or unknown
	weight      float64
	linked      bool
}

// unknown stands for a link_probability that the links do not give: it is below
// every threshold.
const unknown = -1

// job is what a linkage job left.
type job struct {
	registry
	candidates []candidate // each pair once, best first
	summary    *result.Summary
	run        *result.Run
	whole      bool // every record of the job is in the registry
	within     bool // pairs of one data set count
	across     bool // pairs of two data sets count
}

func readJob(ctx context.Context, links string) (*job, error) {
	j := &job{}
	if exists(beside(links, result.SummaryFile)) {
		s, err := result.ReadSummary(dirOf(links))
		if err != nil {
			return nil, err
		}
		j.summary = s
	}
	if exists(beside(links, result.RunFile)) {
		r, err := result.ReadRun(dirOf(links))
		if err != nil {
			return nil, err
		}
		j.run = r
	}
	if clusters := beside(links, result.ClustersFile); exists(clusters) {
		j.whole = true
		err := result.ScanClusters(ctx, clusters, func(m *result.Member) error {
			j.number(m.SourceDataset, m.UniqueID)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	err := result.ScanLinks(ctx, links, func(l *result.Link) error {
		left, right := j.number(l.SourceDatasetL, l.UniqueIDL), j.number(l.SourceDatasetR, l.UniqueIDR)
		if left == right {
			return nil
		}
		j.within = j.within || l.SourceDatasetL == l.SourceDatasetR
		j.across = j.across || l.SourceDatasetL != l.SourceDatasetR
		probability := float64(unknown)
		if l.LinkProbability != nil {
			probability = *l.LinkProbability
		}
		j.candidates = append(j.candidates, candidate{pairOf(left, right), probability, l.MatchWeight, l.Decision == result.DecisionLink})
		return nil
	})
	if err != nil {
		return nil, err
	}
	j.orderCandidates()
	j.setScope()
	return j, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// orderCandidates keeps each pair once, as its best row, best pairs first:
// links before others, then by probability and weight.
func (j *job) orderCandidates() {
	better := func(a, b candidate) int {
		if a.linked != b.linked {
			if a.linked {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.probability, a.probability), cmp.Compare(b.weight, a.weight))
	}
	slices.SortFunc(j.candidates, func(a, b candidate) int { return cmp.Or(cmp.Compare(a.pair, b.pair), better(a, b)) })
	j.candidates = slices.CompactFunc(j.candidates, func(a, b candidate) bool { return a.pair == b.pair })
	slices.SortStableFunc(j.candidates, better) // ties stay in the order of records, which is the files'
}

// setScope says which pairs the job was about where the links alone do not.
func (j *job) setScope() {
	n := len(j.datasets)
	if j.summary != nil {
		n = max(n, len(j.summary.Inputs))
	}
	switch {
	case n == 1:
		j.within = true
	case n > 1 && !j.within:
		j.across = true
	case n == 0: // nothing is known: count what the truth holds
		j.within, j.across = true, true
	}
}

func (j *job) inScope(a, b record) bool {
	if j.dataset[a] == j.dataset[b] {
		return j.within
	}
	return j.across
}

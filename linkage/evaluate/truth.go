package evaluate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tarn/keys/fault"
	"tarn/linkage/equity/csvfile"
)

// truth is the set of true pairs that the job could have found.
type truth struct {
	pairs    map[pair]struct{}
	warnings []string
	absent   int64 // pairs with a record that was not in the job
	outside  int64 // pairs inside one data set of a job between data sets, or the reverse
	itself   int64 // pairs of a record with itself
}

const (
	truthNext = "give a CSV file with source_dataset_l,unique_id_l,source_dataset_r,unique_id_r (and, if wanted, clerical_match_score), or with source_dataset,unique_id,cluster"
	// matchScore is the clerical_match_score from which a pair counts as true.
	matchScore = .5
	// maxTruth bounds the pairs that clusters expand to: one wrong value in the
	// cluster column would otherwise fill the memory.
	maxTruth = 200_000_000
)

func readTruth(ctx context.Context, path string, j *job) (*truth, error) {
	r, err := csvfile.Open(path, "truth file", truthNext)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // opened for reading
	t := &truth{pairs: map[pair]struct{}{}}
	pairs := columns(r, "source_dataset_l", "unique_id_l", "source_dataset_r", "unique_id_r")
	clusters := columns(r, "source_dataset", "unique_id", "cluster")
	switch {
	case pairs != nil:
		err = t.readPairs(ctx, r, pairs, j)
	case clusters != nil:
		err = t.readClusters(ctx, r, clusters, j)
	default:
		err = fault.New(fault.Usage, "reading the truth file "+path, "it has neither the columns of pairs nor those of clusters", truthNext)
	}
	if err != nil {
		return nil, err
	}
	t.warn()
	return t, nil
}

// columns returns the places of the named columns, or nil if one is missing.
func columns(r *csvfile.Reader, names ...string) []int {
	at := make([]int, len(names))
	for i, name := range names {
		if at[i] = r.Column(name); at[i] < 0 {
			return nil
		}
	}
	return at
}

func (t *truth) readPairs(ctx context.Context, r *csvfile.Reader, at []int, j *job) error {
	score := r.Column("clerical_match_score")
	for {
		cells, err := r.Next()
		if errors.Is(err, io.EOF) {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		if score >= 0 {
			s, err := strconv.ParseFloat(strings.TrimSpace(cells[score]), 64)
			if err != nil || !(s >= 0 && s <= 1) {
				return r.Fault(r.Line(), "clerical_match_score is not a number from 0 to 1")
			}
			if s < matchScore {
				continue
			}
		}
		left, okLeft, err := j.truthRecord(r, cells[at[0]], cells[at[1]])
		if err != nil {
			return err
		}
		right, okRight, err := j.truthRecord(r, cells[at[2]], cells[at[3]])
		if err != nil {
			return err
		}
		if !okLeft || !okRight {
			t.absent++
			continue
		}
		t.add(j, left, right)
	}
}

// truthRecord finds a record that the truth names; ok is false for a record
// that was not in the job.
func (j *job) truthRecord(r *csvfile.Reader, dataset, id string) (n record, ok bool, err error) {
	dataset, id = strings.TrimSpace(dataset), strings.TrimSpace(id)
	if dataset == "" || id == "" {
		return 0, false, r.Fault(r.Line(), "a source_dataset or unique_id is missing")
	}
	if j.whole {
		n, ok = j.find(dataset, id)
		return n, ok, nil
	}
	return j.number(dataset, id), true, nil
}

func (t *truth) readClusters(ctx context.Context, r *csvfile.Reader, at []int, j *job) error {
	const absent = -1
	members := map[string][]record{}
	var order []string
	seen := map[record]struct{}{}
	for {
		cells, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		n, ok, err := j.truthRecord(r, cells[at[0]], cells[at[1]])
		if err != nil {
			return err
		}
		cluster := strings.TrimSpace(cells[at[2]])
		if cluster == "" {
			return r.Fault(r.Line(), "the cluster is missing")
		}
		if !ok {
			n = absent
		} else if _, twice := seen[n]; twice {
			return r.Fault(r.Line(), "the record is there twice")
		} else {
			seen[n] = struct{}{}
		}
		if _, known := members[cluster]; !known {
			cluster = strings.Clone(cluster)
			order = append(order, cluster)
		}
		members[cluster] = append(members[cluster], n)
	}
	total := int64(0)
	for _, cluster := range order {
		m := members[cluster]
		if total += int64(len(m)) * int64(len(m)-1) / 2; total > maxTruth {
			return r.Fault(1, fmt.Sprintf("its clusters make more than %d pairs", maxTruth))
		}
		for i, a := range m {
			for _, b := range m[:i] {
				if a == absent || b == absent {
					t.absent++
					continue
				}
				t.add(j, a, b)
			}
		}
	}
	return ctx.Err()
}

func (t *truth) add(j *job, a, b record) {
	switch {
	case a == b:
		t.itself++
	case !j.inScope(a, b):
		t.outside++
	default:
		t.pairs[pairOf(a, b)] = struct{}{}
	}
}

func (t *truth) warn() {
	for _, w := range []struct {
		n    int64
		text string
	}{
		{t.absent, "true pairs have a record that was not in the job and were left out"},
		{t.outside, "true pairs are of a kind the job did not look for (inside one data set, or between two) and were left out"},
		{t.itself, "true pairs name one record twice and were left out"},
	} {
		if w.n > 0 {
			t.warnings = append(t.warnings, fmt.Sprintf("%d %s", w.n, w.text))
		}
	}
	if len(t.pairs) == 0 {
		t.warnings = append(t.warnings, "the truth holds no pair that the job could have found; check that it names the minted unique_ids (tarn truth)")
	}
	t.warnings = slices.Clip(t.warnings)
}

func dirOf(path string) string { return filepath.Dir(path) }

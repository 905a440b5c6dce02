// Package equity measures how evenly linkage works: the share of records that
// found a partner, by group of people and by party. Linkage error is not
// spread evenly (Bohensky et al., BMC Health Serv Res 2010; 10: 346), and a
// study on linked data inherits what is missed.
//
// It reads a job's clusters and group files and never an encoding, so that
// group columns and encodings do not meet.
package equity

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"tarn/keys/fault"
	"tarn/linkage/equity/disclosure"
	"tarn/linkage/equity/groups"
	"tarn/linkage/result"
)

// cell counts the records of one group in one party.
type cell struct{ rows, linked int64 }

// tally counts records: cells[party][dimension][group].
type tally struct {
	parties []string
	cells   [][][]cell
	joined  []bool // the party has a record in a group file
}

// Measure returns link rates by group and party for the result folder dir.
//
// A record is linked when its cluster holds records of two data sets or more;
// in the result of a deduplication, two records or more. Records without a
// group count as [groups.NotRecorded]; a party of whom no record is in a group
// file is left out. Group columns outside allowed are refused; an empty allowed
// permits every column.
//
// Groups of fewer than ten records are hidden, and where a hidden one would
// follow by subtraction from the party's total, the next smallest too. Rows are
// rounded to five, and rates and their 95% Wilson intervals are those of the
// rounded counts, since an exact rate would give the exact count back. MaxGap
// is the widest difference between two groups' rates, each over all parties
// in which the group is shown.
func Measure(ctx context.Context, dir string, groupFiles []string, allowed ...string) (*result.Equity, error) {
	table, err := groups.Read(ctx, groupFiles, allowed)
	if err != nil {
		return nil, err
	}
	doing := "measuring link rates by group"
	if len(table.Dimensions) == 0 {
		return nil, fault.New(fault.Usage, doing, "the group files have no group column", "give files with unique_id and one column for each grouping")
	}
	path := filepath.Join(dir, result.ClustersFile)
	dedupe, err := oneDataset(ctx, path)
	if err != nil {
		return nil, err
	}
	t, err := count(ctx, path, table, dedupe)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(t.joined, true) {
		return nil, fault.New(fault.Usage, doing, "no record of the job is in the group files", "give the group files that tokeniser run --groups wrote for these cohorts")
	}
	return publish(table, t), nil
}

// oneDataset reports whether all records are of one data set, as after
// deduplication.
func oneDataset(ctx context.Context, path string) (bool, error) {
	first, several := "", false
	err := result.ScanClusters(ctx, path, func(m *result.Member) error {
		if first == "" {
			first = strings.Clone(m.SourceDataset)
		}
		several = several || m.SourceDataset != first
		return nil
	})
	return !several, err
}

func count(ctx context.Context, path string, table *groups.Table, dedupe bool) (*tally, error) {
	t := &tally{}
	notRecorded := make([]int32, len(table.Dimensions))
	for d := range notRecorded {
		notRecorded[d] = int32(len(table.Groups[d]) - 1)
	}
	err := result.ScanClusters(ctx, path, func(m *result.Member) error {
		party := t.party(m.SourceDataset, table)
		codes, err := table.Lookup(m.SourceDataset, m.UniqueID)
		if err != nil {
			return err
		}
		if codes == nil {
			codes = notRecorded
		} else {
			t.joined[party] = true
		}
		linked := m.Datasets >= 2 || dedupe && m.ClusterSize >= 2
		for d, g := range codes {
			c := &t.cells[party][d][g]
			c.rows++
			if linked {
				c.linked++
			}
		}
		return nil
	})
	return t, err
}

func (t *tally) party(dataset string, table *groups.Table) int {
	if i := slices.Index(t.parties, dataset); i >= 0 {
		return i
	}
	cells := make([][]cell, len(table.Dimensions))
	for d := range cells {
		cells[d] = make([]cell, len(table.Groups[d]))
	}
	t.parties = append(t.parties, strings.Clone(dataset))
	t.cells = append(t.cells, cells)
	t.joined = append(t.joined, false)
	return len(t.parties) - 1
}

// publish hides small groups, rounds the others and orders them: by group in
// natural order, then by party in alphabetical order.
func publish(table *groups.Table, t *tally) *result.Equity {
	order := make([]int, len(t.parties))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return groups.NaturalCompare(t.parties[a], t.parties[b]) })
	order = slices.DeleteFunc(order, func(p int) bool { return !t.joined[p] })
	e := &result.Equity{}
	for d, name := range table.Dimensions {
		dimension := result.EquityDimension{Name: name}
		hidden := make([][]bool, len(t.parties))
		for p := range t.parties {
			rows := make([]int64, len(table.Groups[d]))
			for g := range rows {
				rows[g] = t.cells[p][d][g].rows
			}
			hidden[p] = disclosure.Hide(rows)
		}
		for g, group := range table.Groups[d] {
			for _, p := range order {
				c := t.cells[p][d][g]
				if c.rows == 0 {
					continue
				}
				published := result.EquityGroup{Group: group, SourceDataset: t.parties[p]}
				if !hidden[p][g] {
					rows := disclosure.Round(c.rows)
					rate := disclosure.Wilson(disclosure.Round(c.linked), rows)
					published.Rows, published.LinkRate = &rows, &rate
				}
				dimension.Groups = append(dimension.Groups, published)
			}
		}
		if low, high, ok := disclosure.Ends(disclosure.Pool(&dimension)); ok {
			gap := high.Rate.Value - low.Rate.Value
			dimension.MaxGap = &gap
		}
		e.Dimensions = append(e.Dimensions, dimension)
	}
	return e
}

// Package similarity links record filters (CLKs) by their Dice coefficient
// alone, as anonlink 0.15.3 does: the same candidate pairs with the same
// similarities, bit for bit, in the same order, and the same groups of the
// greedy solution, for any number of parties. It is what `--method clk` runs, for
// those who come from anonlink; docs/clk-method.md says how the sameness is
// proved and what differs.
//
// It fits no model: a similarity is no probability, and nothing is estimated of
// how many links are right.
package similarity

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage/cohort"
)

// Set is the filters of one party, row by row.
type Set struct {
	Name   string   // source_dataset
	Digest string   // what tells its content from others', 16 hex digits
	Bits   []uint64 // row i at [i*Words:(i+1)*Words]; which bit is where does not matter, as it is the same in every Set
	Words  int      // 64-bit words of a filter, at least 1
	Bytes  int      // width of the filters as they were read; 0 where there are none
	rows   int
	ids    []cohort.ID // unique_ids of a cohort; nil: rows are named by their numbers
	empty  int64       // filters without a bit, which are in no pair
}

// Rows returns the number of records.
func (s *Set) Rows() int { return s.rows }

// UniqueID returns what names a row: the unique_id of a cohort, or the row's
// number, from 0, as anonlink counts.
func (s *Set) UniqueID(row int) string {
	if s.ids != nil {
		return s.ids[row].String()
	}
	return strconv.Itoa(row)
}

// compareIDs orders rows by the text that names them.
func (s *Set) compareIDs(a, b uint32) int {
	if s.ids != nil {
		return s.ids[a].Compare(s.ids[b])
	}
	var x, y [10]byte
	return bytes.Compare(strconv.AppendUint(x[:0], uint64(a), 10), strconv.AppendUint(y[:0], uint64(b), 10))
}

// byID returns the rows in the order of the text that names them.
func (s *Set) byID() []uint32 {
	rows := make([]uint32, 0, s.rows)
	if s.ids != nil {
		for row := range s.rows {
			rows = append(rows, uint32(row))
		}
		slices.SortFunc(rows, s.compareIDs)
		return rows
	}
	// 0, 1, 10, 100, .., 101, .., 11, ..: each number before those that it begins.
	var from func(row int)
	from = func(row int) {
		if row >= s.rows {
			return
		}
		rows = append(rows, uint32(row))
		for digit := range 10 {
			if row > 0 {
				from(10*row + digit)
			}
		}
	}
	for first := range 10 {
		from(first)
	}
	return rows
}

// count counts the filters without a bit.
func (s *Set) count() {
	s.empty = 0
	for row := range s.rows {
		if !slices.ContainsFunc(s.Bits[row*s.Words:(row+1)*s.Words], func(word uint64) bool { return word != 0 }) {
			s.empty++
		}
	}
}

// nameOf returns the source_dataset of a file of CLKs: its name without
// .clks.json or .json.
func nameOf(path string) (string, error) {
	name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".json"), ".clks")
	if !keys.ValidSourceDataset(name) {
		return "", fault.New(fault.Usage, "reading the CLKs "+path, "its name, without .clks.json, becomes the name of the data set, and is none: 1 to 64 of letters, digits, - and _",
			"rename it, such as to north.clks.json")
	}
	return name, nil
}

// sameWidth refuses parties whose filters differ in width, or share a name. A
// party without filters takes the width of the others.
func sameWidth(sets []*Set) error {
	doing := "comparing the filters"
	names := map[string]bool{}
	width := sets[0]
	for _, s := range sets {
		if names[s.Name] {
			return fault.New(fault.Usage, doing, "two inputs are named "+s.Name, "give each party once; of files of CLKs the file's name counts, so rename one")
		}
		names[s.Name] = true
		if width.Bytes == 0 {
			width = s
		}
		if s.Bytes != 0 && s.Bytes != width.Bytes {
			return fault.New(fault.Usage, doing, fmt.Sprintf("filters of %s have %d bits, those of %s %d", width.Name, 8*width.Bytes, s.Name, 8*s.Bytes),
				"encode both with one schema and one secret")
		}
	}
	for _, s := range sets {
		if s.Bytes == 0 {
			s.Words, s.Bits = width.Words, make([]uint64, s.rows*width.Words)
		}
	}
	return nil
}

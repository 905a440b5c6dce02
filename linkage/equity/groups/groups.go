// Package groups reads group files: for each record the groups of people it
// belongs to, such as an ethnic category or a deprivation decile. It reads
// Parquet and CSV, needs unique_id, takes source_dataset where it is there and
// every other column as a dimension. It never reads an encoding.
package groups

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"tarn/keys/fault"
	"tarn/linkage/cohort"
	"tarn/linkage/cohort/table"
	"tarn/linkage/equity/csvfile"
)

// NotRecorded is the group of records whose cell is empty or who are in no
// group file.
const NotRecorded = "not recorded"

// MaxGroups is how many groups a dimension may have. A column with more is no
// group column; it may be one that says who somebody is.
const MaxGroups = 100

// maxLabel is the length in bytes that a group's name may have.
const maxLabel = 100

const next = "give a CSV or Parquet file with unique_id, if needed source_dataset, and one column for each grouping"

// key names a record; dataset is empty where the file does not say.
type key struct{ dataset, id string }

// Table holds the groups of records. It is not safe for concurrent use.
type Table struct {
	Dimensions []string   // in the order of the files' columns
	Groups     [][]string // of each dimension, as NaturalCompare orders them, NotRecorded last

	rows   map[key]int32
	codes  []int32 // rows × dimensions, index into names; -1 not recorded
	names  [][]string
	codeOf []map[string]int32
	owner  map[string]string // unique_id of a row without source_dataset: the data set that used it
}

// Read reads group files. Columns outside allowed are refused with kind
// [fault.Policy]; an empty allowed permits every column.
func Read(ctx context.Context, paths, allowed []string) (*Table, error) {
	t := &Table{rows: map[key]int32{}, owner: map[string]string{}}
	files := make([]*file, len(paths))
	defer func() {
		for _, f := range files {
			if f != nil {
				_ = f.close() // opened for reading
			}
		}
	}()
	for i, path := range paths {
		f, err := open(path)
		if err != nil {
			return nil, err
		}
		files[i] = f
		if err := t.addDimensions(f, allowed); err != nil {
			return nil, err
		}
	}
	t.names = make([][]string, len(t.Dimensions))
	t.codeOf = make([]map[string]int32, len(t.Dimensions))
	for d := range t.codeOf {
		t.codeOf[d] = map[string]int32{}
	}
	for _, f := range files {
		if err := t.readRows(ctx, f); err != nil {
			return nil, err
		}
	}
	t.order()
	return t, nil
}

func (t *Table) addDimensions(f *file, allowed []string) error {
	if !slices.Contains(f.columns, cohort.ColumnUniqueID) {
		return fault.New(fault.Usage, f.doing, "it has no column "+cohort.ColumnUniqueID, next)
	}
	for _, name := range f.columns {
		switch {
		case name == cohort.ColumnUniqueID || name == cohort.ColumnSourceDataset:
			continue
		case name == "" || name == "__index_level_0__": // the latter is pandas' row number
			continue
		case name == cohort.ColumnToken, strings.HasPrefix(name, cohort.FilterPrefix), strings.HasPrefix(name, cohort.TagPrefix), strings.HasPrefix(name, cohort.BlockPrefix):
			return fault.New(fault.Policy, f.doing, "it has the encoded column "+name+" beside groups",
				"give groups in a file of their own; clear groups beside encodings narrow a person down")
		case len(allowed) > 0 && !slices.Contains(allowed, name):
			return fault.New(fault.Policy, f.doing, "the project does not allow the group column "+name, "remove the column or have the project changed")
		case !slices.Contains(t.Dimensions, name):
			t.Dimensions = append(t.Dimensions, name)
		}
	}
	return nil
}

func (t *Table) readRows(ctx context.Context, f *file) error {
	id, dataset := slices.Index(f.columns, cohort.ColumnUniqueID), slices.Index(f.columns, cohort.ColumnSourceDataset)
	to := make([]int, len(f.columns))
	for i, name := range f.columns {
		to[i] = slices.Index(t.Dimensions, name)
	}
	seen := map[key]struct{}{}
	row := 0
	return f.scan(ctx, func(cells []string) error {
		row++
		k := key{id: strings.TrimSpace(cells[id])}
		if dataset >= 0 {
			k.dataset = strings.TrimSpace(cells[dataset])
		}
		if k.id == "" {
			return fault.New(fault.Usage, f.doing, fmt.Sprintf("row %d has no unique_id", row), next)
		}
		if _, ok := seen[k]; ok {
			return fault.New(fault.Usage, f.doing, fmt.Sprintf("row %d repeats the unique_id of an earlier row", row), "give one row for each record")
		}
		seen[k] = struct{}{}
		at := t.rowOf(k)
		for i, cell := range cells {
			if to[i] < 0 {
				continue
			}
			code, err := t.code(to[i], strings.TrimSpace(cell), f.doing, row)
			if err != nil {
				return err
			}
			slot := &t.codes[int(at)*len(t.Dimensions)+to[i]]
			if *slot >= 0 && code >= 0 && *slot != code {
				return fault.New(fault.Usage, f.doing, fmt.Sprintf("row %d, column %s: another group file says otherwise", row, f.columns[i]), "give one group of a dimension for each record")
			}
			*slot = max(*slot, code)
		}
		return nil
	})
}

func (t *Table) rowOf(k key) int32 {
	at, ok := t.rows[k]
	if !ok {
		at = int32(len(t.rows))
		t.rows[key{strings.Clone(k.dataset), strings.Clone(k.id)}] = at
		for range t.Dimensions {
			t.codes = append(t.codes, -1)
		}
	}
	return at
}

func (t *Table) code(dimension int, cell, doing string, row int) (int32, error) {
	if cell == "" {
		return -1, nil
	}
	if c, ok := t.codeOf[dimension][cell]; ok {
		return c, nil
	}
	if len(cell) > maxLabel {
		return 0, fault.New(fault.Usage, doing, fmt.Sprintf("row %d, column %s: the name of a group has more than %d bytes", row, t.Dimensions[dimension], maxLabel), next)
	}
	c := int32(len(t.names[dimension]))
	if c == MaxGroups {
		return 0, fault.New(fault.Usage, doing, fmt.Sprintf("column %s has more than %d different values, so it is no grouping", t.Dimensions[dimension], MaxGroups),
			"remove the column or put its values into bands")
	}
	cell = strings.Clone(cell)
	t.names[dimension] = append(t.names[dimension], cell)
	t.codeOf[dimension][cell] = c
	return c, nil
}

// order puts the groups of each dimension in natural order and recodes.
func (t *Table) order() {
	t.Groups = make([][]string, len(t.Dimensions))
	recode := make([][]int32, len(t.Dimensions))
	for d, names := range t.names {
		sorted := slices.SortedFunc(slices.Values(names), NaturalCompare)
		recode[d] = make([]int32, len(names))
		for c, name := range names {
			recode[d][c] = int32(slices.Index(sorted, name))
		}
		t.Groups[d] = append(sorted, NotRecorded)
	}
	for i, c := range t.codes {
		d := i % len(t.Dimensions)
		if c < 0 {
			t.codes[i] = int32(len(t.Groups[d]) - 1)
		} else {
			t.codes[i] = recode[d][c]
		}
	}
	t.names, t.codeOf = nil, nil
}

// Rows returns the number of records in the files.
func (t *Table) Rows() int { return len(t.rows) }

// Lookup returns the group of a record in each dimension, as indices into
// Groups, or nil for a record that is in no file. The slice must not be
// changed. A row without source_dataset belongs to the one data set that has
// its unique_id; two are an error.
func (t *Table) Lookup(dataset, id string) ([]int32, error) {
	at, ok := t.rows[key{dataset, id}]
	if !ok {
		if at, ok = t.rows[key{"", id}]; !ok {
			return nil, nil
		}
		if owner, taken := t.owner[id]; !taken {
			t.owner[strings.Clone(id)] = strings.Clone(dataset)
		} else if owner != dataset {
			return nil, fault.New(fault.Usage, "joining groups to records", "a unique_id of the group files occurs in more than one data set", "add the column source_dataset to the group files")
		}
	}
	n := len(t.Dimensions)
	return t.codes[int(at)*n : int(at)*n+n], nil
}

// NaturalCompare orders names with the numbers in them by size, so that the
// age band 5-9 comes before 10-14.
func NaturalCompare(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		m, n := digits(x), digits(y)
		if m > 0 && n > 0 {
			u, errU := strconv.ParseUint(x[:m], 10, 64)
			v, errV := strconv.ParseUint(y[:n], 10, 64)
			if errU == nil && errV == nil && u != v {
				if u < v {
					return -1
				}
				return 1
			}
			if errU == nil && errV == nil {
				x, y = x[m:], y[n:]
				continue
			}
		}
		if x[0] != y[0] {
			break
		}
		x, y = x[1:], y[1:]
	}
	if c := strings.Compare(x, y); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// file is one open group file of either format.
type file struct {
	doing   string
	columns []string
	csv     *csvfile.Reader
	parquet *table.Reader
}

func open(path string) (*file, error) {
	f := &file{doing: "reading the group file " + path}
	isParquet, err := startsWith(path, "PAR1")
	if err != nil {
		return nil, fault.Wrap(fault.Usage, f.doing, err, next)
	}
	if !isParquet {
		f.csv, err = csvfile.Open(path, "group file", next)
		if err != nil {
			return nil, err
		}
		f.columns = f.csv.Header
		return f, nil
	}
	if f.parquet, err = table.Open(path); err != nil {
		return nil, err
	}
	for _, field := range f.parquet.Schema().Fields() {
		f.columns = append(f.columns, field.Name)
	}
	return f, nil
}

func startsWith(path, magic string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // opened for reading
	head := make([]byte, len(magic))
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return string(head[:n]) == magic, nil
}

func (f *file) close() error {
	if f.csv != nil {
		return f.csv.Close()
	}
	return f.parquet.Close()
}

// scan calls visit with the cells of each row, as columns has them; missing
// cells are empty. The slice is reused.
func (f *file) scan(ctx context.Context, visit func([]string) error) error {
	if f.csv != nil {
		for {
			cells, err := f.csv.Next()
			if errors.Is(err, io.EOF) {
				return ctx.Err()
			}
			if err != nil {
				return err
			}
			if err := visit(cells); err != nil {
				return err
			}
		}
	}
	cells := make([]string, len(f.columns))
	return f.parquet.Scan(ctx, f.columns, func(batch arrow.RecordBatch) error {
		for row := range int(batch.NumRows()) {
			for i := range cells {
				cells[i] = ""
				if c := batch.Column(i); c.IsValid(row) {
					cells[i] = c.ValueStr(row) // bands and deciles arrive as text or as numbers
				}
			}
			if err := visit(cells); err != nil {
				return err
			}
		}
		return nil
	})
}

package trial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"tarn/keys/fault"
	"tarn/linkage/cohort/table"
	"tarn/linkage/equity/csvfile"
	"tarn/tokenise/batch"
)

// record numbers the records of all sides, side after side.
type record = int32

// key names a record as the results do.
type key struct{ dataset, id string }

// Clear is the clear text of a data set in memory: Fields, date and number.
type Clear struct {
	dataset *Dataset
	sides   []int      // rows of each
	values  [][]string // of each record, by column: Fields, then Date, then Number
	source  []string   // source id of each record
	numbers map[key]record
}

// ReadClear reads the tables and crosswalks of an encoded data set. Records
// that were refused are left out.
func ReadClear(ctx context.Context, d *Dataset) (*Clear, error) {
	c := &Clear{dataset: d, numbers: map[key]record{}}
	for i := range d.Sides {
		if err := c.readSide(ctx, &d.Sides[i]); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Clear) columns() []string {
	columns := append(slices.Clone(c.dataset.Fields), c.dataset.Date)
	if c.dataset.Number != "" {
		columns = append(columns, c.dataset.Number)
	}
	return columns
}

const clearNext = "give the CSV file that was encoded"

func (c *Clear) readSide(ctx context.Context, s *Side) error {
	minted, err := readCrosswalk(ctx, batch.CrosswalkPath(s.Cohort))
	if err != nil {
		return err
	}
	r, err := csvfile.Open(s.Table, "clear text", clearNext)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // opened for reading
	id, at := r.Column(c.dataset.ID), []int{}
	for _, name := range c.columns() {
		at = append(at, r.Column(name))
	}
	if id < 0 || slices.Contains(at, -1) {
		return fault.New(fault.Usage, "reading the clear text "+s.Table, "a column is missing", clearNext)
	}
	rows := 0
	for {
		cells, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		source := strings.TrimSpace(cells[id])
		unique, ok := minted[source]
		if !ok {
			continue
		}
		values := make([]string, len(at))
		for i, column := range at {
			values[i] = strings.ToLower(strings.TrimSpace(cells[column]))
		}
		c.numbers[key{s.Name, unique}] = record(len(c.values))
		c.values, c.source = append(c.values, values), append(c.source, source)
		rows++
	}
	c.sides = append(c.sides, rows)
	return ctx.Err()
}

func readCrosswalk(ctx context.Context, path string) (map[string]string, error) {
	r, err := table.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // opened for reading
	minted := map[string]string{}
	return minted, r.Scan(ctx, []string{"source_id", "unique_id"}, func(b arrow.RecordBatch) error {
		source, err := table.Strings(b.Column(0), "source_id")
		if err != nil {
			return err
		}
		unique, err := table.Strings(b.Column(1), "unique_id")
		if err != nil {
			return err
		}
		for i := range int(b.NumRows()) {
			s, _ := source(i)
			u, _ := unique(i)
			minted[strings.Clone(s)] = strings.Clone(u) // they share the batch's memory
		}
		return nil
	})
}

// side returns the side of a record.
func (c *Clear) side(r record) int {
	for i, rows := range c.sides {
		if r -= record(rows); r < 0 {
			return i
		}
	}
	return len(c.sides)
}

// date returns the date of birth of a record, empty where it is missing.
func (c *Clear) date(r record) string { return c.values[r][len(c.dataset.Fields)] }

// number returns the digits of the NHS number of a record.
func (c *Clear) number(r record) string {
	if c.dataset.Number == "" {
		return ""
	}
	return strings.ReplaceAll(c.values[r][len(c.dataset.Fields)+1], " ", "")
}

// value returns a field of a record, empty for a column that is not compared.
func (c *Clear) value(r record, column string) string {
	if at := slices.Index(c.dataset.Fields, column); at >= 0 {
		return c.values[r][at]
	}
	return ""
}

// differing names the fields, and the date, in which two records differ. A
// field that only one of them lacks is named with a question mark; one that
// both lack is not.
func (c *Clear) differing(a, b record) string {
	var names []string
	for i, name := range append(slices.Clone(c.dataset.Fields), c.dataset.Date) {
		x, y := c.values[a][i], c.values[b][i]
		switch {
		case x == y:
		case x == "" || y == "":
			names = append(names, name+"?")
		default:
			names = append(names, name)
		}
	}
	if names == nil {
		return "nothing"
	}
	return strings.Join(names, "+")
}

// WriteClear writes the clear text of a side as Parquet with columns named as
// in the table, the id as unique_id, for peers that read clear text. Missing
// values are null.
func (c *Clear) WriteClear(side int, path, software string) error {
	columns := c.columns()
	fields := []arrow.Field{table.String("unique_id", false, false)}
	for _, name := range columns {
		fields = append(fields, table.String(name, true, false))
	}
	w, err := table.Create(path, arrow.NewSchema(fields, nil), software)
	if err != nil {
		return err
	}
	defer w.Abort()
	first := 0
	for _, rows := range c.sides[:side] {
		first += rows
	}
	for r := first; r < first+c.sides[side]; r++ {
		b := w.Builder()
		b.Field(0).(*array.StringBuilder).Append(c.source[r])
		for i := range columns {
			column := b.Field(1 + i).(*array.StringBuilder)
			if value := c.values[r][i]; value == "" {
				column.AppendNull()
			} else {
				column.Append(value)
			}
		}
		if err := w.EndRow(); err != nil {
			return err
		}
	}
	_, err = w.Commit()
	return err
}

// sourceRecords gives the record of a source id on each side.
func (c *Clear) sourceRecords() (records []map[string]record) {
	next := record(0)
	for _, rows := range c.sides {
		of := make(map[string]record, rows)
		for range rows {
			of[c.source[next]] = next
			next++
		}
		records = append(records, of)
	}
	return records
}

func (c *Clear) String() string { return fmt.Sprintf("%d records", len(c.values)) } // no identifier by accident

package cohort

import (
	"slices"

	"tarn/keys/fault"
)

// Records reads the records of a cohort whole, in file order, so that they can be written
// again.
type Records struct {
	file                  *File
	id, token, state      *column
	blocks, filters, tags []*column
	left                  int
}

// Records returns what reads the records from the first on. A cohort whose tags a tool
// has rounded, or of which a filter's width cannot be told, cannot be written again, and is
// refused.
func (f *File) Records() (*Records, error) {
	doing := "reading the cohort " + f.Path
	if f.Rounded {
		return nil, fault.New(fault.Usage, doing, "a tool stored its tags as floating point, and only their leading bits are left", giveOurs)
	}
	if len(f.parts) > 0 && len(f.parts[0].Schema().FieldIndices(ColumnNHSNumberState)) != 1 {
		return nil, fault.New(fault.Usage, doing, "it has no single column "+ColumnNHSNumberState, giveOurs)
	}
	r := &Records{file: f, left: f.rows, id: f.column(ColumnUniqueID), token: f.column(ColumnToken), state: f.column(ColumnNHSNumberState)}
	for _, name := range f.Layout.Blocks {
		r.blocks = append(r.blocks, f.column(name))
	}
	for _, c := range f.Layout.Filters {
		if c.Bytes <= 0 {
			return nil, fault.New(fault.Usage, doing, "no record has a filter in column "+c.Name+", and a tool has taken away how wide they are", giveOurs)
		}
		r.filters = append(r.filters, f.column(c.Name))
	}
	for _, name := range f.Layout.Tags {
		r.tags = append(r.tags, f.column(name))
	}
	return r, nil
}

// Read fills rows with the next records and returns how many there are, 0 after the last.
// What a row holds is the caller's until rows are read into it again.
func (r *Records) Read(rows []Row) (n int, err error) {
	n = min(len(rows), r.left)
	if n == 0 {
		return 0, nil
	}
	r.left -= n
	rows = rows[:n]
	for i := range rows {
		rows[i].reset(&r.file.Layout)
	}
	err = r.id.bytes(n, func(i int, value []byte) error {
		if !parseID((*ID)(&rows[i].UniqueID), value) {
			return r.file.badID()
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	err = r.token.bytes(n, func(i int, value []byte) error {
		if value == nil {
			return nil
		}
		if len(value) != TokenBytes {
			return wrongWidth(ColumnToken, len(value), TokenBytes)
		}
		rows[i].Token, rows[i].HasToken = [TokenBytes]byte(value), true
		return nil
	})
	if err != nil {
		return 0, err
	}
	err = r.state.bytes(n, func(i int, value []byte) error {
		state := slices.Index(nhsNumberStates, string(value))
		if state < 0 {
			return fault.New(fault.Usage, "reading column "+ColumnNHSNumberState+" of "+r.file.Path, "a value is none of the format's", giveOurs)
		}
		rows[i].NHSNumberState = nhsNumberStates[state]
		return nil
	})
	if err != nil {
		return 0, err
	}
	for at, c := range r.blocks {
		if err := c.int64s(n, func(i int, value int64, ok bool) error { rows[i].Blocks[at] = tag(value, ok); return nil }); err != nil {
			return 0, err
		}
	}
	for at, c := range r.tags {
		if err := c.int64s(n, func(i int, value int64, ok bool) error { rows[i].Tags[at] = tag(value, ok); return nil }); err != nil {
			return 0, err
		}
	}
	for at, c := range r.filters {
		width := r.file.Layout.Filters[at].Bytes
		err := c.bytes(n, func(i int, value []byte) error {
			if value != nil && len(value) != width {
				return wrongWidth(c.name, len(value), width)
			}
			rows[i].setFilter(at, value)
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

func tag(value int64, present bool) Tag {
	if !present {
		return Tag{}
	}
	return Tag{Value: value, Present: true}
}

// reset makes a row empty, of a layout, and keeps the memory that it has.
func (row *Row) reset(l *Layout) {
	*row = Row{Blocks: resized(row.Blocks, len(l.Blocks)), Filters: resized(row.Filters, len(l.Filters)), Tags: resized(row.Tags, len(l.Tags))}
}

// setFilter copies a filter, or sets it missing.
func (row *Row) setFilter(at int, value []byte) {
	if value == nil {
		row.Filters[at] = nil
		return
	}
	row.Filters[at] = append(row.Filters[at][:0], value...)
}

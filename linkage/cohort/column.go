package cohort

import (
	"tarn/keys/fault"
	"tarn/linkage/cohort/table"
)

// column reads one column over all parts.
type column struct {
	parts []*table.Reader
	at    int
	left  int
	name  string
	open  *table.Cursor
}

func (f *File) column(name string) *column { return &column{parts: f.parts, name: name, at: -1} }

// each calls f with a cursor and its share of the next n rows, of which from
// were read before.
func (c *column) each(n int, f func(cursor *table.Cursor, from, n int) error) (err error) {
	for from := 0; from < n; {
		for c.left == 0 {
			c.at++
			if c.at >= len(c.parts) {
				return fault.New(fault.Internal, "reading column "+c.name, "it has fewer rows than the cohort", "")
			}
			c.left = int(c.parts[c.at].Rows())
			if c.left == 0 {
				continue
			}
			if c.open, err = c.parts[c.at].Cursor(c.name); err != nil {
				return err
			}
		}
		rows := min(n-from, c.left)
		if err := f(c.open, from, rows); err != nil {
			return err
		}
		from, c.left = from+rows, c.left-rows
	}
	return nil
}

func (c *column) bytes(n int, f func(i int, value []byte) error) error {
	return c.each(n, func(cursor *table.Cursor, from, n int) error {
		return cursor.Bytes(n, func(i int, value []byte) error { return f(from+i, value) })
	})
}

func (c *column) int64s(n int, f func(i int, value int64, ok bool) error) error {
	return c.each(n, func(cursor *table.Cursor, from, n int) error {
		return cursor.Int64s(n, func(i int, value int64, ok bool) error { return f(from+i, value, ok) })
	})
}

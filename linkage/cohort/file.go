package cohort

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tarn/keys/fault"
	"tarn/linkage/cohort/table"
)

// File is an encoded cohort on disk, a Parquet file or a folder of parts, with
// its manifest. Close it when it is read no more.
type File struct {
	Manifest     *Manifest
	ManifestPath string // where it was found
	Path         string
	Layout       Layout
	// Rounded says that a tool stored tags as floating point: every tag holds
	// only its 53 leading bits, see [Round].
	Rounded bool
	parts   []*table.Reader
	rows    int
}

// Note is a remark on a cohort that does not stop its use.
type Note struct{ Code, Text string }

// pandasIndex is a column that pandas adds when it writes a frame whose rows
// were filtered; it holds row numbers only.
const pandasIndex = "__index_level_0__"

// giveOurs is what to do about a file that is not of the format.
const giveOurs = "give the file that tokeniser run wrote"

// Open opens the cohort at path, a Parquet file or a folder of parts, and finds
// the manifest that lies beside it.
//
// A column that is not of the format is refused with kind [fault.Policy]: group
// columns beside encodings narrow a person down. Everything else that is wrong
// with the file is of kind [fault.Usage].
func Open(ctx context.Context, path string) (f *File, err error) {
	path = filepath.Clean(path) // a folder may be named with a slash at its end
	paths, err := Parts(path)
	if err != nil {
		return nil, err
	}
	opened := &File{Path: path}
	defer func() {
		if err != nil {
			opened.Close()
		}
	}()
	return opened, opened.open(ctx, paths)
}

func (f *File) open(ctx context.Context, paths []string) error {
	cohortID := ""
	for i, name := range paths {
		part, err := table.Open(name)
		if err != nil {
			return err
		}
		f.parts = append(f.parts, part)
		if err := f.addRows(name, part.Rows()); err != nil {
			return err
		}
		if err := f.addLayout(i, name, part); err != nil {
			return err
		}
		id, err := soleCohortID(ctx, part, name)
		if err != nil {
			return err
		}
		if id != "" && cohortID != "" && id != cohortID {
			return fault.New(fault.Usage, "reading "+f.Path, "it holds rows of two cohorts", "give each cohort on its own")
		}
		cohortID = max(cohortID, id)
	}
	if err := f.findWidths(); err != nil {
		return err
	}
	var err error
	f.Manifest, f.ManifestPath, err = findManifest(f.Path, cohortID)
	return err
}

// rowsOfByte is more rows than a byte of a file can hold, each with an id of its
// own.
const rowsOfByte = 64

// addRows counts the rows of a part, and refuses numbers that cannot be: memory
// is reserved for every row before any is read.
func (f *File) addRows(path string, rows int64) error {
	info, err := os.Stat(path)
	if err != nil {
		return fault.Wrap(fault.Usage, "reading the cohort "+path, err, giveOurs)
	}
	if rows < 0 || rows > rowsOfByte*info.Size() {
		return fault.New(fault.Usage, "reading the cohort "+path, "its data are damaged", giveOurs)
	}
	if rows > math.MaxInt32-int64(f.rows) {
		return fault.New(fault.Usage, "reading the cohort "+f.Path, fmt.Sprintf("it has more than %d rows", math.MaxInt32), "divide it into several cohorts")
	}
	f.rows += int(rows)
	return nil
}

// Close closes the files.
func (f *File) Close() {
	for _, part := range f.parts {
		_ = part.Close() // opened for reading
	}
}

// Rows returns the number of records.
func (f *File) Rows() int { return f.rows }

// SourceDataset returns the party's data set name.
func (f *File) SourceDataset() string { return f.Manifest.SourceDataset }

// HasColumn reports whether the cohort has a column of its layout by this name.
func (f *File) HasColumn(name string) bool {
	return slices.Contains(f.Layout.Blocks, name) || slices.Contains(f.Layout.Tags, name) || f.FilterWidth(name) >= 0
}

// FilterWidth returns the width of a filter column in bytes, 0 where a column
// without any filter does not tell, and -1 where there is no such column.
func (f *File) FilterWidth(name string) int {
	at := slices.IndexFunc(f.Layout.Filters, func(c FilterColumn) bool { return c.Name == name })
	if at < 0 {
		return -1
	}
	return f.Layout.Filters[at].Bytes
}

// SetFilterWidth gives a column without any filter the width that its other
// side has.
func (f *File) SetFilterWidth(name string, width int) {
	for i := range f.Layout.Filters {
		if f.Layout.Filters[i].Name == name {
			f.Layout.Filters[i].Bytes = width
		}
	}
}

// Parts returns the Parquet files of the cohort at path: itself, or the parts
// in a folder.
func Parts(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "reading the cohort "+path, err, "give the Parquet file that tokeniser run wrote")
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	parts, err := filesWith(path, ".parquet")
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "reading the cohort "+path, err, "give a folder that this user can read")
	}
	if len(parts) == 0 {
		return nil, fault.New(fault.Usage, "reading the cohort "+path, "the folder holds no *.parquet", "give a cohort's file or its folder of parts")
	}
	return parts, nil
}

// filesWith returns the files of a folder whose names end so, by name. The
// folder's own name may hold what a pattern would take for something else.
func filesWith(folder, suffix string) (paths []string, err error) {
	entries, err := os.ReadDir(folder)
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), suffix) {
			paths = append(paths, filepath.Join(folder, entry.Name()))
		}
	}
	return paths, err
}

// addLayout checks the columns of part i against those before it.
func (f *File) addLayout(i int, path string, part *table.Reader) error {
	doing, next := "reading the cohort "+path, "give the Parquet file that tokeniser run wrote"
	layout, unknown := layoutOf(part.Schema())
	unknown = slices.DeleteFunc(unknown, func(name string) bool { return name == pandasIndex })
	if len(unknown) > 0 {
		return fault.New(fault.Policy, doing, "it has columns that may not lie beside encodings: "+strings.Join(unknown, ", "),
			"remove them; group columns go to linker equity in a file of their own")
	}
	for _, name := range []string{ColumnUniqueID, ColumnSourceDataset, ColumnCohortID, ColumnToken} {
		if len(part.Schema().FieldIndices(name)) != 1 {
			return fault.New(fault.Usage, doing, "it has no single column "+name, next)
		}
	}
	if i == 0 {
		f.Layout = layout
	} else if !sameNames(f.Layout, layout) {
		return fault.New(fault.Usage, doing, "its columns differ from those of the other parts", next)
	}
	for _, name := range slices.Concat(layout.Blocks, layout.Tags) {
		f.Rounded = f.Rounded || part.Rounded(name)
	}
	return nil
}

func sameNames(a, b Layout) bool {
	name := func(x, y FilterColumn) bool { return x.Name == y.Name }
	return slices.Equal(a.Blocks, b.Blocks) && slices.Equal(a.Tags, b.Tags) && slices.EqualFunc(a.Filters, b.Filters, name)
}

// soleCohortID returns the cohort_id of every row of a part, empty where it
// has no rows.
func soleCohortID(ctx context.Context, part *table.Reader, path string) (string, error) {
	doing := "reading column " + ColumnCohortID + " of " + path
	if id, ok := part.SoleText(ColumnCohortID); ok && (id != "" || part.Rows() == 0) {
		return id, nil
	}
	c, err := part.Cursor(ColumnCohortID)
	if err != nil {
		return "", err
	}
	var id []byte
	err = inPieces(ctx, int(part.Rows()), func(_, n int) error {
		return c.Bytes(n, func(_ int, value []byte) error {
			switch {
			case len(value) == 0:
				return fault.New(fault.Usage, doing, "a value is missing", giveOurs)
			case id == nil:
				id = bytes.Clone(value)
			case !bytes.Equal(id, value):
				return fault.New(fault.Usage, doing, "it holds two values", "give each cohort on its own")
			}
			return nil
		})
	})
	return string(id), err
}

// pieceRows is how many rows are read between two looks at the context.
const pieceRows = 64 << 10

func inPieces(ctx context.Context, rows int, f func(from, n int) error) error {
	for from := 0; from < rows; from += pieceRows {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f(from, min(pieceRows, rows-from)); err != nil {
			return err
		}
	}
	return nil
}

// findWidths takes the width of a column that a tool has made variable from its
// first value.
func (f *File) findWidths() error {
	for i := range f.Layout.Filters {
		column := &f.Layout.Filters[i]
		for _, part := range f.parts {
			if column.Bytes > 0 {
				break
			}
			width, err := firstWidth(part, column.Name)
			if err != nil {
				return err
			}
			column.Bytes = width
		}
		if column.Bytes%8 != 0 {
			return fault.New(fault.Usage, "reading column "+column.Name+" of "+f.Path, fmt.Sprintf("a filter has %d bytes, which is no multiple of 8", column.Bytes), giveOurs)
		}
	}
	return nil
}

func firstWidth(part *table.Reader, name string) (width int, err error) {
	c, err := part.Cursor(name)
	if err != nil {
		return 0, err
	}
	for from := 0; from < int(part.Rows()) && width == 0; from += 1024 {
		err := c.Bytes(min(1024, int(part.Rows())-from), func(_ int, value []byte) error {
			if width == 0 && value != nil {
				if width = len(value); width == 0 {
					return fault.New(fault.Usage, "reading column "+name, "a filter has 0 bytes, which is no multiple of 8", giveOurs)
				}
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return width, nil
}

// Round returns what is left of a tag after a tool has stored it as floating
// point. Two different random tags become equal with probability 2^-52.
func Round(tag int64) int64 { return table.Round(tag) }

package cohort

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"tarn/keys/fault"
	"tarn/linkage/cohort/table"
)

// Cohort is an encoded cohort in memory, column by column. Row i of every
// column is the same record.
type Cohort struct {
	Manifest *Manifest
	Path     string
	Layout   Layout
	UniqueID []string
	Token    [][TokenBytes]byte
	HasToken []bool
	Blocks   []TagValues    // as Layout.Blocks
	Filters  []FilterValues // as Layout.Filters
	Tags     []TagValues    // as Layout.Tags
	// Rounded says that a tool stored tags as floating point: every tag holds
	// only its 53 leading bits, see RoundTags.
	Rounded bool
	// RowsDigest is the digest of the unique_ids that are there, which is the
	// manifest's unless rows were added or removed.
	RowsDigest string
	// Notes says what is unlike the file that the tokeniser wrote, for the
	// report's warnings.
	Notes []Note
}

// Note is a remark on a cohort that does not stop its use.
type Note struct{ Code, Text string }

// TagValues is a column of tags; Value is 0 where Present is false.
type TagValues struct {
	Value   []int64
	Present []bool
}

// FilterValues is a column of filters, row i at Words[i*W:(i+1)*W] where W is
// the filter's width in 64-bit words; word bit j is filter bit 64w+j. A missing
// filter is all zeros with Present false.
type FilterValues struct {
	WordsPerRow int
	Words       []uint64
	Present     []bool
}

// Row returns the filter of row i.
func (f *FilterValues) Row(i int) []uint64 { return f.Words[i*f.WordsPerRow : (i+1)*f.WordsPerRow] }

// Rows returns the number of records.
func (c *Cohort) Rows() int { return len(c.UniqueID) }

// SourceDataset returns the party's data set name.
func (c *Cohort) SourceDataset() string { return c.Manifest.SourceDataset }

// FilterIndex returns the index of a filter column, or -1.
func (c *Cohort) FilterIndex(column string) int {
	return slices.IndexFunc(c.Layout.Filters, func(f FilterColumn) bool { return f.Name == column })
}

// TagIndex returns the index of a tag column, or -1.
func (c *Cohort) TagIndex(column string) int { return slices.Index(c.Layout.Tags, column) }

// BlockIndex returns the index of a block column, or -1.
func (c *Cohort) BlockIndex(column string) int { return slices.Index(c.Layout.Blocks, column) }

// pandasIndex is a column that pandas adds when it writes a frame whose rows
// were filtered; it holds row numbers only.
const pandasIndex = "__index_level_0__"

// Read reads the cohort at path, a Parquet file or a folder of parts, and the
// manifest that lies beside it.
//
// A column that is not of the format is refused with kind [fault.Policy]:
// group columns beside encodings narrow a person down. Everything else that is
// wrong with the file is of kind [fault.Usage].
func Read(ctx context.Context, path string) (*Cohort, error) {
	parts, err := partsOf(path)
	if err != nil {
		return nil, err
	}
	c := &Cohort{Path: path}
	cohortID := ""
	for _, part := range parts {
		id, err := c.readPart(ctx, part)
		if err != nil {
			return nil, err
		}
		if id != "" && cohortID != "" && id != cohortID {
			return nil, fault.New(fault.Usage, "reading "+path, "it holds rows of two cohorts", "give each cohort on its own")
		}
		cohortID = max(cohortID, id)
	}
	c.Manifest, err = findManifest(path, cohortID)
	if err != nil {
		return nil, err
	}
	if err := c.checkIDs(); err != nil {
		return nil, err
	}
	c.compareWithManifest()
	return c, nil
}

func partsOf(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "reading the cohort "+path, err, "give the Parquet file that tokeniser run wrote")
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	parts, err := filepath.Glob(filepath.Join(path, "*.parquet"))
	if err != nil || len(parts) == 0 {
		return nil, fault.New(fault.Usage, "reading the cohort "+path, "the folder holds no *.parquet", "give a cohort's file or its folder of parts")
	}
	slices.Sort(parts)
	return parts, nil
}

// readPart appends the rows of one file and returns its cohort_id, empty where
// it has no rows.
func (c *Cohort) readPart(ctx context.Context, path string) (cohortID string, err error) {
	r, err := table.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Close() }() // opened for reading
	doing, next := "reading the cohort "+path, "give the Parquet file that tokeniser run wrote"
	layout, unknown := layoutOf(r.Schema())
	unknown = slices.DeleteFunc(unknown, func(name string) bool { return name == pandasIndex })
	if len(unknown) > 0 {
		return "", fault.New(fault.Policy, doing,
			"it has columns that may not lie beside encodings: "+strings.Join(unknown, ", "),
			"remove them; group columns go to linker equity in a file of their own")
	}
	for _, name := range []string{ColumnUniqueID, ColumnSourceDataset, ColumnCohortID, ColumnToken} {
		if len(r.Schema().FieldIndices(name)) != 1 {
			return "", fault.New(fault.Usage, doing, "it has no single column "+name, next)
		}
	}
	if c.Layout.Blocks == nil && c.Layout.Filters == nil && c.Layout.Tags == nil {
		c.setLayout(layout)
	} else if !sameNames(c.Layout, layout) {
		return "", fault.New(fault.Usage, doing, "its columns differ from those of the other parts", next)
	}
	columns := []string{ColumnUniqueID, ColumnCohortID, ColumnToken}
	columns = append(columns, c.Layout.Blocks...)
	for _, f := range c.Layout.Filters {
		columns = append(columns, f.Name)
	}
	columns = append(columns, c.Layout.Tags...)
	err = r.Scan(ctx, columns, func(batch arrow.RecordBatch) error {
		id, err := c.appendBatch(batch)
		if err != nil {
			return err
		}
		if cohortID != "" && id != cohortID {
			return fault.New(fault.Usage, doing, "it holds rows of two cohorts", "give each cohort on its own")
		}
		cohortID = id
		return nil
	})
	return cohortID, err
}

func sameNames(a, b Layout) bool {
	name := func(x, y FilterColumn) bool { return x.Name == y.Name }
	return slices.Equal(a.Blocks, b.Blocks) && slices.Equal(a.Tags, b.Tags) && slices.EqualFunc(a.Filters, b.Filters, name)
}

func (c *Cohort) setLayout(l Layout) {
	c.Layout = l
	c.Blocks = make([]TagValues, len(l.Blocks))
	c.Filters = make([]FilterValues, len(l.Filters))
	for i, f := range l.Filters {
		c.Filters[i].WordsPerRow = f.Bytes / 8
	}
	c.Tags = make([]TagValues, len(l.Tags))
}

func (c *Cohort) appendBatch(batch arrow.RecordBatch) (cohortID string, err error) {
	n := int(batch.NumRows())
	ids, err := table.Strings(batch.Column(0), ColumnUniqueID)
	if err != nil {
		return "", err
	}
	cohorts, err := table.Strings(batch.Column(1), ColumnCohortID)
	if err != nil {
		return "", err
	}
	for i := range n {
		id, ok := ids(i)
		if !ok || id == "" {
			return "", fault.New(fault.Usage, "reading column "+ColumnUniqueID, "a value is missing", "give the file that tokeniser run wrote")
		}
		c.UniqueID = append(c.UniqueID, strings.Clone(id))
		this, _ := cohorts(i)
		if cohortID != "" && this != cohortID {
			return "", fault.New(fault.Usage, "reading column "+ColumnCohortID, "it holds two values", "give each cohort on its own")
		}
		cohortID = strings.Clone(this)
	}
	if err := c.appendTokens(batch.Column(2), n); err != nil {
		return "", err
	}
	at := 3
	for i := range c.Blocks {
		if err := c.appendTags(&c.Blocks[i], batch.Column(at), c.Layout.Blocks[i], n); err != nil {
			return "", err
		}
		at++
	}
	for i := range c.Filters {
		if err := c.appendFilters(i, batch.Column(at), n); err != nil {
			return "", err
		}
		at++
	}
	for i := range c.Tags {
		if err := c.appendTags(&c.Tags[i], batch.Column(at), c.Layout.Tags[i], n); err != nil {
			return "", err
		}
		at++
	}
	return cohortID, nil
}

// allNull reports a column without values, to which tools that infer types
// give any type at all.
func allNull(column arrow.Array) bool { return column.NullN() == column.Len() }

func (c *Cohort) appendTokens(column arrow.Array, n int) error {
	base := len(c.Token)
	c.Token = append(c.Token, make([][TokenBytes]byte, n)...)
	c.HasToken = append(c.HasToken, make([]bool, n)...)
	if allNull(column) {
		return nil
	}
	values, err := table.Bytes(column, ColumnToken, TokenBytes)
	if err != nil {
		return err
	}
	for i := range n {
		b, err := values(i)
		if err != nil {
			return err
		}
		if b != nil {
			copy(c.Token[base+i][:], b)
			c.HasToken[base+i] = true
		}
	}
	return nil
}

func (c *Cohort) appendTags(to *TagValues, column arrow.Array, name string, n int) error {
	base := len(to.Value)
	to.Value = append(to.Value, make([]int64, n)...)
	to.Present = append(to.Present, make([]bool, n)...)
	if allNull(column) {
		return nil
	}
	values, rounded, err := table.Int64s(column, name)
	if err != nil {
		return err
	}
	c.Rounded = c.Rounded || rounded
	for i := range n {
		if v, ok := values(i); ok { // the slot of a null holds anything
			to.Value[base+i], to.Present[base+i] = v, true
		}
	}
	return nil
}

func (c *Cohort) appendFilters(index int, column arrow.Array, n int) error {
	to, name := &c.Filters[index], c.Layout.Filters[index].Name
	base := len(to.Present)
	to.Present = append(to.Present, make([]bool, n)...)
	if allNull(column) {
		to.Words = append(to.Words, make([]uint64, n*to.WordsPerRow)...)
		return nil
	}
	if to.WordsPerRow == 0 {
		if err := to.setWidth(column, name, base); err != nil {
			return err
		}
		c.Layout.Filters[index].Bytes = to.WordsPerRow * 8
	}
	values, err := table.Bytes(column, name, to.WordsPerRow*8)
	if err != nil {
		return err
	}
	to.Words = append(to.Words, make([]uint64, n*to.WordsPerRow)...)
	for i := range n {
		b, err := values(i)
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		to.Present[base+i] = true
		row := to.Row(base + i)
		for w := range row {
			row[w] = binary.LittleEndian.Uint64(b[8*w:])
		}
	}
	return nil
}

// setWidth takes the width of a widened column from its first value. Rows
// before it had no value and are filled in.
func (f *FilterValues) setWidth(column arrow.Array, name string, rowsBefore int) error {
	type binary interface{ Value(int) []byte }
	a, ok := column.(binary)
	if !ok {
		return fault.New(fault.Usage, "reading column "+name, "it does not hold bytes", "give the file that tokeniser run wrote")
	}
	for i := range column.Len() {
		if column.IsNull(i) {
			continue
		}
		bytes := len(a.Value(i))
		if bytes == 0 || bytes%8 != 0 {
			return fault.New(fault.Usage, "reading column "+name, fmt.Sprintf("a filter has %d bytes, which is no multiple of 8", bytes), "give the file that tokeniser run wrote")
		}
		f.WordsPerRow = bytes / 8
		f.Words = make([]uint64, rowsBefore*f.WordsPerRow)
		return nil
	}
	return nil
}

func (c *Cohort) checkIDs() error {
	seen := make(map[string]struct{}, len(c.UniqueID))
	for _, id := range c.UniqueID {
		if _, ok := seen[id]; ok {
			return fault.New(fault.Usage, "reading the cohort "+c.Path, "a unique_id is there twice", "give the file that tokeniser run wrote, once")
		}
		seen[id] = struct{}{}
	}
	return nil
}

func (c *Cohort) compareWithManifest() {
	m := c.Manifest
	c.RowsDigest = rowsDigestOf(c.UniqueID)
	if c.RowsDigest != m.RowsDigest {
		c.Notes = append(c.Notes, Note{"cohort_rows_changed",
			fmt.Sprintf("%s: its rows are not those the tokeniser wrote (%d rows, %d in the manifest); links are found among the rows that are there", m.SourceDataset, c.Rows(), m.Rows)})
	}
	if c.Rounded {
		c.Notes = append(c.Notes, Note{"cohort_tags_rounded",
			m.SourceDataset + ": a tool stored its tags as floating point, so tags are compared by their 53 leading bits; rewrite with nullable integers to keep all 64"})
		c.RoundTags()
	}
}

// RoundTags reduces every tag to what is left of it after a tool has stored it
// as floating point, so that the cohort can be compared with one to which that
// happened. Two different random tags become equal with probability 2^-52.
func (c *Cohort) RoundTags() {
	for _, columns := range [][]TagValues{c.Blocks, c.Tags} {
		for _, column := range columns {
			for i, v := range column.Value {
				column.Value[i] = table.Round(v)
			}
		}
	}
}

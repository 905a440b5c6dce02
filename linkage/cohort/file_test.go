package cohort

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"tarn/keys/fault"
)

var testComparison = Comparison{Fields: []FieldComparison{
	{Name: "given_name", Column: "bf_given_name", Measure: MeasureEqualBits, M: []float64{.5, .5}, U: []float64{.5, .5}, Twin: TwinDiffers},
	{Name: "sex", Column: "tag_sex", Measure: MeasureEqual, M: []float64{.1, .9}, U: []float64{.5, .5}, Twin: TwinDiffers},
	{Name: "record", Column: "bf_record", Measure: MeasureDice, M: []float64{.5, .5}, U: []float64{.5, .5}, Twin: TwinAgrees},
}}

var testLayout = Layout{Blocks: []string{BlockDateOfBirth, "blk_area"}, Tags: []string{"tag_sex"},
	Filters: []FilterColumn{{Name: "bf_given_name", Bytes: 16}, {Name: "bf_record", Bytes: 24}}}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// drawRows draws n rows in the order of a cohort.
func drawRows(n int) (rows []Row) {
	random := rand.New(rand.NewPCG(uint64(n), 3))
	tag := func() Tag {
		if random.IntN(4) == 0 {
			return Tag{}
		}
		return Tag{Value: int64(random.Uint64()), Present: true}
	}
	some := func(b []byte) []byte {
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	for i := range n {
		r := Row{NHSNumberState: "absent", Blocks: []Tag{tag(), tag()}, Tags: []Tag{tag()}, Filters: [][]byte{some(make([]byte, 16)), some(make([]byte, 24))}}
		some(r.UniqueID[:])
		switch i % 5 {
		case 0:
			r.Filters[i%2] = nil
		case 1, 2, 3:
			r.HasToken, r.NHSNumberState = true, "valid"
			some(r.Token[:])
		}
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b Row) int { return testLayout.Compare(&a, &b) })
	return rows
}

func idsOf(rows []Row) (ids []ID) {
	for i := range rows {
		ids = append(ids, rows[i].UniqueID)
	}
	return ids
}

func testIdentity(rows []Row) Identity {
	sorted := idsOf(rows)
	slices.SortFunc(sorted, ID.Compare)
	return Identity{Schema: Schema, Project: "test", SourceDataset: "north", RowsDigest: RowsDigest(sorted)}
}

func writeTestManifest(t testing.TB, path string, identity Identity, rows int) {
	t.Helper()
	id, err := identity.CohortID()
	must(t, err)
	must(t, WriteManifest(ManifestPath(path), &Manifest{CohortID: id, Identity: identity, Rows: int64(rows), Comparison: testComparison}))
}

// copied is a column of a cohort as another tool may have copied it.
type copied struct {
	name  string
	kind  arrow.DataType
	value func(r *Row) any // nil is missing
}

func tagValue(tag Tag) any {
	if !tag.Present {
		return nil
	}
	return tag.Value
}

// copies returns the columns of a cohort.
func copies(cohortID string) []copied {
	filter := func(k int) func(r *Row) any {
		return func(r *Row) any {
			if r.Filters[k] == nil {
				return nil
			}
			return r.Filters[k]
		}
	}
	return []copied{
		{ColumnUniqueID, arrow.BinaryTypes.String, func(r *Row) any { return ID(r.UniqueID).String() }},
		{ColumnSourceDataset, arrow.BinaryTypes.String, func(*Row) any { return "north" }},
		{ColumnCohortID, arrow.BinaryTypes.String, func(*Row) any { return cohortID }},
		{ColumnToken, &arrow.FixedSizeBinaryType{ByteWidth: TokenBytes}, func(r *Row) any {
			if !r.HasToken {
				return nil
			}
			return r.Token[:]
		}},
		{ColumnNHSNumberState, arrow.BinaryTypes.String, func(r *Row) any { return r.NHSNumberState }},
		{BlockDateOfBirth, arrow.PrimitiveTypes.Int64, func(r *Row) any { return tagValue(r.Blocks[0]) }},
		{"blk_area", arrow.PrimitiveTypes.Int64, func(r *Row) any { return tagValue(r.Blocks[1]) }},
		{"bf_given_name", &arrow.FixedSizeBinaryType{ByteWidth: 16}, filter(0)},
		{"bf_record", &arrow.FixedSizeBinaryType{ByteWidth: 24}, filter(1)},
		{"tag_sex", arrow.PrimitiveTypes.Int64, func(r *Row) any { return tagValue(r.Tags[0]) }},
	}
}

// write writes a cohort as another tool may.
func writeCopy(t testing.TB, path string, columns []copied, rows []Row, properties ...parquet.WriterProperty) {
	t.Helper()
	var fields []arrow.Field
	for _, c := range columns {
		fields = append(fields, arrow.Field{Name: c.name, Type: c.kind, Nullable: true})
	}
	schema := arrow.NewSchema(fields, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for i := range rows {
		for k, c := range columns {
			value := c.value(&rows[i])
			if value == nil {
				b.Field(k).AppendNull()
				continue
			}
			switch column := b.Field(k).(type) {
			case *array.StringBuilder:
				column.Append(fmt.Sprint(value))
			case *array.LargeStringBuilder:
				column.Append(fmt.Sprint(value))
			case *array.BinaryBuilder:
				column.Append(value.([]byte))
			case *array.FixedSizeBinaryBuilder:
				column.Append(value.([]byte))
			case *array.Int64Builder:
				column.Append(value.(int64))
			case *array.Float64Builder:
				column.Append(float64(value.(int64)))
			default:
				t.Fatalf("column %s", c.name)
			}
		}
	}
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &out, parquet.NewWriterProperties(properties...), pqarrow.DefaultWriterProps())
	must(t, err)
	if len(rows) > 0 {
		must(t, w.WriteTable(array.NewTableFromRecords(schema, []arrow.RecordBatch{b.NewRecordBatch()}), 64))
	}
	must(t, w.Close())
	must(t, os.WriteFile(path, out.Bytes(), 0o600))
}

// checkCohort holds what is read of a cohort against the rows that were written.
func checkCohort(t *testing.T, path string, rows []Row, rounded bool) {
	t.Helper()
	f, err := Open(t.Context(), path)
	must(t, err)
	defer f.Close()
	if f.Rows() != len(rows) || f.SourceDataset() != "north" || f.Rounded != rounded || !f.HasColumn("bf_record") || !f.HasColumn("blk_area") || f.HasColumn("bf_other") || f.FilterWidth("bf_record") != 24 {
		t.Fatalf("it is opened as %+v", f)
	}
	ids, err := f.ReadIDs(t.Context())
	must(t, err)
	if !slices.Equal(ids, idsOf(rows)) {
		t.Error("ids differ")
	}
	digest, err := f.CheckIDs(ids)
	must(t, err)
	if len(f.Notes(digest)) != map[bool]int{true: 1}[rounded] || digest != f.Manifest.RowsDigest {
		t.Errorf("digest %s, notes %v", digest, f.Notes(digest))
	}
	for _, atOnce := range []int{1, len(rows)/3 + 1, 1 << 20} {
		if again, err := f.CheckRows(t.Context(), atOnce); err != nil || again != digest {
			t.Errorf("with %d ids at once: digest %s, %v", atOnce, again, err)
		}
	}
	checkRecords(t, f, rows, rounded)
	folds, err := f.ReadTokens(t.Context())
	must(t, err)
	whole, err := f.ReadWholeTokens(t.Context())
	must(t, err)
	for i := range rows {
		var want Fold
		for k := range 2 {
			want[k] = binary.LittleEndian.Uint64(rows[i].Token[8*k:]) ^ binary.LittleEndian.Uint64(rows[i].Token[16+8*k:])
		}
		if folds[i] != want || (whole[i] != nil) != rows[i].HasToken || whole[i] != nil && *whole[i] != rows[i].Token {
			t.Fatalf("token %d differs", i)
		}
	}
	for k, name := range testLayout.Blocks {
		for _, reduce := range []bool{false, true} {
			tags, err := f.ReadTags(t.Context(), name, reduce)
			must(t, err)
			for i := range rows {
				want := rows[i].Blocks[k]
				if rounded || reduce {
					want.Value = Round(want.Value)
				}
				if tags.Present[i] != want.Present || tags.Value[i] != want.Value {
					t.Fatalf("%s of row %d is %v %v, want %v", name, i, tags.Value[i], tags.Present[i], want)
				}
			}
		}
	}
	checkStream(t, f, rows, rounded)
}

// checkRecords reads the records whole, some at a time.
func checkRecords(t *testing.T, f *File, rows []Row, rounded bool) {
	t.Helper()
	records, err := f.Records()
	if rounded {
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "floating point") {
			t.Errorf("records of rounded tags: %v", err)
		}
		return
	}
	must(t, err)
	turned := f.Layout.Blocks[0] != BlockDateOfBirth
	at := 0
	for some := make([]Row, 7); ; {
		n, err := records.Read(some)
		must(t, err)
		if n == 0 {
			break
		}
		for i := range some[:n] {
			if turned {
				slices.Reverse(some[i].Blocks)
				slices.Reverse(some[i].Filters)
			}
			if at >= len(rows) || !reflect.DeepEqual(some[i], rows[at]) {
				t.Fatalf("record %d is not the one that was written", at)
			}
			at++
		}
	}
	if at != len(rows) {
		t.Errorf("%d records of %d", at, len(rows))
	}
}

func checkStream(t *testing.T, f *File, rows []Row, rounded bool) {
	t.Helper()
	shape := f.Shape(testComparison)
	if shape.RowWords() != 5 || !slices.Equal(shape.Words, []int{2, 0, 3}) {
		t.Fatalf("shape %+v", shape)
	}
	stream, read := f.Stream(shape, rounded), new(Rows)
	for from, n := 0, 1; from < len(rows); from, n = from+n, n*3%101 {
		n = min(n, len(rows)-from)
		must(t, stream.Read(read, n))
		if read.Len() != n {
			t.Fatalf("%d rows, want %d", read.Len(), n)
		}
		for i := range n {
			r := &rows[from+i]
			present, filters := uint64(0), append(bytes.Clone(orZero(r.Filters[0], 16)), orZero(r.Filters[1], 24)...)
			for bit, ok := range []bool{r.Filters[0] != nil, r.Tags[0].Present, r.Filters[1] != nil} {
				if ok {
					present |= 1 << bit
				}
			}
			tag := r.Tags[0].Value
			if rounded {
				tag = Round(tag)
			}
			if read.Number[i] != int32(from+i) || read.Present[i] != present || read.Tags[1][i] != tag || read.Tags[0] != nil || read.Tags[2] != nil {
				t.Fatalf("row %d is read as %v", from+i, read)
			}
			for w := range 5 {
				if read.Filters[5*i+w] != binary.LittleEndian.Uint64(filters[8*w:]) {
					t.Fatalf("word %d of row %d differs", w, from+i)
				}
			}
		}
	}
	if err := stream.Read(read, 1); err == nil {
		t.Error("a row is read after the last")
	}
}

func orZero(b []byte, n int) []byte {
	if b == nil {
		return make([]byte, n)
	}
	return b
}

// TestReadsWhatCreateWrites, and what other tools make of it.
func TestReadsWhatCreateWrites(t *testing.T) {
	rows := drawRows(300)
	identity := testIdentity(rows)
	id, err := identity.CohortID()
	must(t, err)
	dir := t.TempDir()
	own := filepath.Join(dir, "own.parquet")
	w, err := Create(own, testLayout, identity, "test")
	must(t, err)
	for i := range rows {
		must(t, w.Append(&rows[i]))
	}
	_, err = w.Commit()
	must(t, err)
	writeTestManifest(t, own, identity, len(rows))
	checkCohort(t, own, rows, false)

	set := func(change func(*copied)) []copied {
		columns := copies(id)
		for i := range columns {
			change(&columns[i])
		}
		return columns
	}
	integers := func(c *copied) bool { return c.kind.ID() == arrow.INT64 }
	fixed := func(c *copied) bool { return c.kind.ID() == arrow.FIXED_SIZE_BINARY }
	turned := copies(id)
	slices.Reverse(turned)
	for _, x := range []struct {
		name       string
		columns    []copied
		rounded    bool
		properties []parquet.WriterProperty
	}{
		{"as it was", copies(id), false, nil},
		{"no statistics", copies(id), false, []parquet.WriterProperty{parquet.WithStats(false)}},
		{"columns turned", turned, false, nil},
		{"row numbers of pandas", append(copies(id), copied{pandasIndex, arrow.PrimitiveTypes.Int64, func(*Row) any { return int64(1) }}), false, nil},
		{"variable width", set(func(c *copied) {
			if fixed(c) {
				c.kind = arrow.BinaryTypes.Binary
			}
		}), false, []parquet.WriterProperty{parquet.WithDataPageVersion(parquet.DataPageV2)}},
		{"doubles", set(func(c *copied) {
			if integers(c) {
				c.kind = arrow.PrimitiveTypes.Float64
			}
		}), true, nil},
		{"one column of doubles", set(func(c *copied) {
			if c.name == "tag_sex" {
				c.kind = arrow.PrimitiveTypes.Float64
			}
		}), true, nil},
		{"large text", set(func(c *copied) {
			if c.kind.ID() == arrow.STRING {
				c.kind = arrow.BinaryTypes.LargeString
			}
		}), false, []parquet.WriterProperty{parquet.WithStats(false)}},
	} {
		t.Run(x.name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(x.name, " ", "_")+".parquet") // the manifest is own's
			writeCopy(t, path, x.columns, rows, x.properties...)
			if x.name == "one column of doubles" {
				f, err := Open(t.Context(), path)
				must(t, err)
				defer f.Close()
				if !f.Rounded {
					t.Error("it is not rounded")
				}
				checkStream(t, f, rows, true)
				return
			}
			checkCohort(t, path, rows, x.rounded)
		})
	}
}

// TestFolderOfParts: parts are read one after the other, by name; some may be
// empty, and of other types.
func TestFolderOfParts(t *testing.T) {
	rows := drawRows(200)
	identity := testIdentity(rows)
	id, err := identity.CohortID()
	must(t, err)
	folder := filepath.Join(t.TempDir(), "north[1]*") // a name that would be a pattern
	must(t, os.Mkdir(folder, 0o700))
	writeTestManifest(t, folder, identity, len(rows))
	wide := copies(id)
	for i := range wide {
		if wide[i].kind.ID() == arrow.FIXED_SIZE_BINARY {
			wide[i].kind = arrow.BinaryTypes.Binary
		}
	}
	writeCopy(t, filepath.Join(folder, "part-0.parquet"), wide, nil)
	writeCopy(t, filepath.Join(folder, "part-1.parquet"), wide, rows[:70])
	writeCopy(t, filepath.Join(folder, "part-2.parquet"), copies(id), rows[70:71])
	writeCopy(t, filepath.Join(folder, "part-3.parquet"), copies(id), rows[71:])
	must(t, os.WriteFile(filepath.Join(folder, "_SUCCESS"), nil, 0o600))
	checkCohort(t, folder, rows, false)
	checkCohort(t, folder+string(filepath.Separator), rows, false)
	if parts, err := Parts(folder); err != nil || len(parts) != 4 {
		t.Errorf("%v, %v", parts, err)
	}
}

// TestRefusesCohorts: everything that would make a wrong result of a file.
func TestRefusesCohorts(t *testing.T) {
	rows := drawRows(40)
	identity := testIdentity(rows)
	id, err := identity.CohortID()
	must(t, err)
	with := func(name string, kind arrow.DataType, value func(r *Row) any) []copied {
		columns := copies(id)
		for i := range columns {
			if columns[i].name == name {
				if columns[i].value = value; kind != nil {
					columns[i].kind = kind
				}
				return columns
			}
		}
		return append(columns, copied{name, kind, value})
	}
	without := func(name string) []copied {
		return slices.DeleteFunc(copies(id), func(c copied) bool { return c.name == name })
	}
	text := func(value func(r *Row) any) func(r *Row) any { return value }
	last := ID(rows[39].UniqueID).String()
	isLast := func(r *Row) bool { return ID(r.UniqueID).String() == last }
	lastElse := func(a, b any) func(r *Row) any {
		return func(r *Row) any {
			if isLast(r) {
				return a
			}
			return b
		}
	}
	own := func(name string) func(r *Row) any {
		for _, c := range copies(id) {
			if c.name == name {
				return c.value
			}
		}
		return nil
	}
	lastOf := func(name string, a any) func(r *Row) any {
		return func(r *Row) any {
			if isLast(r) {
				return a
			}
			return own(name)(r)
		}
	}
	noStats := []parquet.WriterProperty{parquet.WithStats(false)}
	for name, x := range map[string]struct {
		columns    []copied
		kind       fault.Kind
		properties []parquet.WriterProperty
	}{
		"group column":                 {with("ethnicity", arrow.BinaryTypes.String, text(func(*Row) any { return "A" })), fault.Policy, nil},
		"no unique_id":                 {without(ColumnUniqueID), fault.Usage, nil},
		"no token":                     {without(ColumnToken), fault.Usage, nil},
		"no cohort_id":                 {without(ColumnCohortID), fault.Usage, nil},
		"no source_dataset":            {without(ColumnSourceDataset), fault.Usage, nil},
		"two cohorts":                  {with(ColumnCohortID, nil, lastElse("0123456789abcdef", id)), fault.Usage, nil},
		"two cohorts, scanned":         {with(ColumnCohortID, nil, lastElse("0123456789abcdef", id)), fault.Usage, noStats},
		"another cohort":               {with(ColumnCohortID, nil, text(func(*Row) any { return "0123456789abcdef" })), fault.Usage, nil},
		"no cohort_id anywhere":        {with(ColumnCohortID, nil, text(func(*Row) any { return nil })), fault.Usage, nil},
		"empty cohort_id":              {with(ColumnCohortID, nil, text(func(*Row) any { return "" })), fault.Usage, nil},
		"a row without cohort_id":      {with(ColumnCohortID, nil, lastElse(nil, id)), fault.Usage, nil},
		"all but one without":          {with(ColumnCohortID, nil, lastElse(id, nil)), fault.Usage, noStats},
		"cohort_id of another type":    {with(ColumnCohortID, arrow.PrimitiveTypes.Int64, text(func(*Row) any { return int64(7) })), fault.Usage, nil},
		"an id of other digits":        {with(ColumnUniqueID, nil, lastOf(ColumnUniqueID, "0123456789abcdef0123456789abcdeg")), fault.Usage, nil},
		"an id of capitals":            {with(ColumnUniqueID, nil, lastOf(ColumnUniqueID, "0123456789ABCDEF0123456789ABCDEF")), fault.Usage, nil},
		"a short id":                   {with(ColumnUniqueID, nil, lastOf(ColumnUniqueID, "0123456789abcdef")), fault.Usage, nil},
		"an id missing":                {with(ColumnUniqueID, nil, lastOf(ColumnUniqueID, nil)), fault.Usage, nil},
		"an id twice":                  {with(ColumnUniqueID, nil, lastOf(ColumnUniqueID, ID(rows[3].UniqueID).String())), fault.Usage, nil},
		"a token of 31 bytes":          {with(ColumnToken, arrow.BinaryTypes.Binary, lastOf(ColumnToken, make([]byte, 31))), fault.Usage, nil},
		"a token of no bytes":          {with(ColumnToken, arrow.BinaryTypes.Binary, lastOf(ColumnToken, []byte{})), fault.Usage, nil},
		"tokens of 31 bytes":           {with(ColumnToken, &arrow.FixedSizeBinaryType{ByteWidth: 31}, text(func(*Row) any { return make([]byte, 31) })), fault.Usage, nil},
		"filters of 12 bytes":          {with("bf_record", &arrow.FixedSizeBinaryType{ByteWidth: 12}, text(func(*Row) any { return make([]byte, 12) })), fault.Usage, nil},
		"variable filters of 12 bytes": {with("bf_record", arrow.BinaryTypes.Binary, text(func(*Row) any { return make([]byte, 12) })), fault.Usage, nil},
		"filters of no bytes":          {with("bf_record", arrow.BinaryTypes.Binary, text(func(*Row) any { return []byte{} })), fault.Usage, nil},
		"a filter of 16 bytes":         {with("bf_record", arrow.BinaryTypes.Binary, lastOf("bf_record", make([]byte, 16))), fault.Usage, nil},
		"tags of text":                 {with("blk_area", arrow.BinaryTypes.String, text(func(*Row) any { return "x" })), fault.Usage, nil},
		"filters of text":              {with("tag_sex", arrow.BinaryTypes.String, text(func(*Row) any { return "x" })), fault.Usage, nil},
		"filters of integers":          {with("bf_record", arrow.PrimitiveTypes.Int64, text(func(*Row) any { return int64(1) })), fault.Usage, nil},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "c.parquet")
			writeTestManifest(t, path, identity, len(rows))
			writeCopy(t, path, x.columns, rows, x.properties...)
			err := readWhole(t, path)
			if fault.KindOf(err) != x.kind || err == nil {
				t.Fatalf("got %v", err)
			}
			for i := range rows {
				if strings.Contains(err.Error(), ID(rows[i].UniqueID).String()) {
					t.Error("the error quotes an id")
				}
			}
		})
	}
	t.Run("two cohorts in two parts", func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "c")
		must(t, os.Mkdir(folder, 0o700))
		writeTestManifest(t, folder, identity, len(rows))
		writeCopy(t, filepath.Join(folder, "1.parquet"), copies(id), rows[:20])
		writeCopy(t, filepath.Join(folder, "2.parquet"), copies("0123456789abcdef"), rows[20:])
		if err := readWhole(t, folder); fault.KindOf(err) != fault.Usage {
			t.Errorf("got %v", err)
		}
		writeCopy(t, filepath.Join(folder, "2.parquet"), without("blk_area"), rows[20:])
		if err := readWhole(t, folder); fault.KindOf(err) != fault.Usage {
			t.Errorf("parts of other columns: %v", err)
		}
		must(t, os.Remove(filepath.Join(folder, "1.parquet")))
		must(t, os.Remove(filepath.Join(folder, "2.parquet")))
		if err := readWhole(t, folder); fault.KindOf(err) != fault.Usage {
			t.Errorf("an empty folder: %v", err)
		}
	})
	if err := readWhole(t, filepath.Join(t.TempDir(), "none.parquet")); fault.KindOf(err) != fault.Usage {
		t.Errorf("no file: %v", err)
	}
}

// readWhole reads all that a job reads of a cohort.
func readWhole(t *testing.T, path string) error {
	f, err := Open(t.Context(), path)
	if err != nil {
		return err
	}
	defer f.Close()
	ids, err := f.ReadIDs(t.Context())
	if err != nil {
		return err
	}
	if _, err := f.CheckIDs(ids); err != nil {
		return err
	}
	if _, err := f.CheckRows(t.Context(), 10); err != nil {
		return err
	}
	if records, err := f.Records(); err == nil {
		for n, some := 1, make([]Row, 16); n > 0; {
			if n, err = records.Read(some); err != nil {
				return err
			}
		}
	} else if !f.Rounded {
		return err
	}
	if _, err := f.ReadTokens(t.Context()); err != nil {
		return err
	}
	for _, name := range f.Layout.Blocks {
		if _, err := f.ReadTags(t.Context(), name, false); err != nil {
			return err
		}
	}
	return f.Stream(f.Shape(testComparison), false).Read(new(Rows), f.Rows())
}

// TestDamagedCohorts: a cohort with a bit changed, or cut short, is refused in
// words, or is read.
func TestDamagedCohorts(t *testing.T) {
	rows := drawRows(40)
	identity := testIdentity(rows)
	id, err := identity.CohortID()
	must(t, err)
	path := filepath.Join(t.TempDir(), "c.parquet")
	writeTestManifest(t, path, identity, len(rows))
	writeCopy(t, path, copies(id), rows)
	whole, err := os.ReadFile(path)
	must(t, err)
	refused := 0
	for i := 0; i < len(whole); i += 97 {
		b := bytes.Clone(whole)
		b[i] ^= 1 << (i % 8)
		if i%5 == 0 {
			b = whole[:i]
		}
		must(t, os.Remove(path)) // to write over a file waits for the disk
		must(t, os.WriteFile(path, b, 0o600))
		if err := readWhole(t, path); err != nil {
			refused++
			if kind := fault.KindOf(err); kind != fault.Usage && kind != fault.Policy {
				t.Errorf("byte %d: %v", i, err)
			}
		}
	}
	if refused < len(whole)/97/3 {
		t.Errorf("%d of %d are refused", refused, len(whole)/97)
	}
}

// TestRowsDigest: it is of the text of the sorted ids.
func TestRowsDigest(t *testing.T) {
	for _, n := range []int{0, 1, 1023, 1024, 2500} {
		ids := idsOf(drawRows(n))
		sorted := sortedIDs(ids)
		var text []string
		for _, id := range ids {
			text = append(text, id.String())
		}
		slices.Sort(text)
		sum := sha256.Sum256([]byte(strings.Join(text, "")))
		if want := hex.EncodeToString(sum[:]); RowsDigest(sorted) != want {
			t.Errorf("%d ids: got %s, want %s", n, RowsDigest(sorted), want)
		}
	}
}

// TestIDsThatAreThereTwice are found with however few in memory.
func TestIDsThatAreThereTwice(t *testing.T) {
	rows := drawRows(40)
	rows[39].UniqueID = rows[3].UniqueID
	identity := testIdentity(rows)
	id, err := identity.CohortID()
	must(t, err)
	path := filepath.Join(t.TempDir(), "c.parquet")
	writeTestManifest(t, path, identity, len(rows))
	writeCopy(t, path, copies(id), rows)
	f, err := Open(t.Context(), path)
	must(t, err)
	defer f.Close()
	for _, atOnce := range []int{1, 100} {
		if _, err := f.CheckRows(t.Context(), atOnce); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "there twice") {
			t.Errorf("with %d ids at once: %v", atOnce, err)
		}
	}
}

// TestImpossibleRows: room is made for rows before they are read, so their
// number is held against the size of the file.
func TestImpossibleRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	must(t, os.WriteFile(path, make([]byte, 100), 0o600))
	for _, x := range []struct {
		before int
		rows   int64
		ok     bool
	}{{0, 0, true}, {0, 100 * rowsOfByte, true}, {0, 100*rowsOfByte + 1, false}, {0, -1, false}, {1<<31 - 11, 10, true}, {1<<31 - 10, 10, false}} {
		f := &File{rows: x.before}
		if err := f.addRows(path, x.rows); (err == nil) != x.ok || err != nil && fault.KindOf(err) != fault.Usage {
			t.Errorf("%d rows after %d: %v", x.rows, x.before, err)
		}
	}
}

package cmd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// documented is a row of a table of columns in docs/formats.md.
type documented struct{ name, kind, null string }

// matches reports whether a column is the row's: bf_* and gamma_FIELD stand for
// any column that begins like them, GROUP for any other of a table of groups.
func (d documented) matches(column string) bool {
	for _, end := range []string{"*", "FIELD"} {
		if prefix, ok := strings.CutSuffix(d.name, end); ok {
			return strings.HasPrefix(column, prefix)
		}
	}
	return d.name == column || d.name == "GROUP" && column != "unique_id" && column != "sex"
}

// documentedColumns reads the tables of docs/formats.md whose first heading is
// the name of a Parquet file, and the keys of metadata that it names.
func documentedColumns(t *testing.T) (tables map[string][]documented, metadata []string) {
	t.Helper()
	b, err := os.ReadFile("../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	tables = map[string][]documented{}
	table := ""
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`")
		}
		switch {
		case !strings.HasPrefix(line, "|"):
			table = ""
		case strings.HasSuffix(cells[0], ".parquet"):
			table = cells[0]
		case table != "" && !strings.HasPrefix(cells[0], "---"):
			for _, name := range strings.Split(cells[0], "`, `") {
				tables[table] = append(tables[table], documented{name, cells[1], cells[2]})
			}
		}
	}
	for _, match := range regexp.MustCompile("`(tarn\\.[a-z_]+)`").FindAllStringSubmatch(string(b), -1) {
		metadata = append(metadata, match[1])
	}
	return tables, metadata
}

// tableOf returns the heading under which a file is documented.
func tableOf(path string) string {
	name := filepath.Base(path)
	switch {
	case filepath.Base(filepath.Dir(path)) == "crosswalk":
		return "crosswalk/NAME.parquet"
	case filepath.Base(filepath.Dir(path)) == "conflicts":
		return "conflicts/NAME.parquet"
	case strings.HasSuffix(name, ".crosswalk.parquet"):
		return "NAME.crosswalk.parquet"
	case strings.HasSuffix(name, "groups.parquet"):
		return "groups.parquet"
	case strings.HasPrefix(name, "founders-"):
		return ".state/founders-RUN.parquet"
	case name == "links.parquet" || name == "conflicts.parquet" || name == "clusters.parquet" || name == "changes.parquet":
		return name
	}
	return "NAME.parquet"
}

func kindOf(column arrow.Field) string {
	switch c := column.Type.(type) {
	case *arrow.StringType:
		return "text"
	case *arrow.FixedSizeBinaryType:
		if strings.HasPrefix(column.Name, "bf_") {
			return "fixed bytes"
		}
		return fmt.Sprintf("%d bytes", c.ByteWidth)
	case *arrow.Float64Type:
		return "double"
	}
	return column.Type.String()
}

// columns holds the Parquet files of a journey to docs/formats.md: every column
// has a row there with its type and whether it may be null, every row is of a
// column, and so are the keys of a cohort's metadata.
func (j *journey) columns(t *testing.T) {
	tables, metadata := documentedColumns(t)
	met := map[string]bool{}
	paths, err := filepath.Glob(filepath.Join(j.folder, "*.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"result/*.parquet", "result/crosswalk/*.parquet", "result/.state/*.parquet", "release/*.parquet", "release/*/*.parquet"} {
		more, err := filepath.Glob(filepath.Join(j.folder, pattern))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, more...)
	}
	for _, path := range paths {
		table := tableOf(path)
		schema, keys := parquetSchema(t, path)
		for _, column := range schema.Fields() {
			rows := slices.DeleteFunc(slices.Clone(tables[table]), func(d documented) bool { return !d.matches(column.Name) })
			null := map[bool]string{true: "null", false: ""}[column.Nullable]
			if len(rows) != 1 {
				t.Errorf("%s: column %s has %d rows in docs/formats.md", table, column.Name, len(rows))
			} else if rows[0].kind != kindOf(column) || rows[0].null != null {
				t.Errorf("%s: column %s is %s %s, and %s %s in docs/formats.md", table, column.Name, kindOf(column), null, rows[0].kind, rows[0].null)
			} else {
				met[table+rows[0].name] = true
			}
		}
		if table == "NAME.parquet" && !slices.Equal(keys, slices.Sorted(slices.Values(metadata))) {
			t.Errorf("%s: metadata has %q, and docs/formats.md %q", table, keys, metadata)
		}
	}
	for table, rows := range tables {
		for _, row := range rows {
			if !met[table+row.name] {
				t.Errorf("docs/formats.md has a column %s of %s that no file has", row.name, table)
			}
		}
	}
	if len(met) < 30 {
		t.Errorf("%d columns were compared: the test is blind", len(met))
	}
}

func parquetSchema(t *testing.T, path string) (*arrow.Schema, []string) {
	t.Helper()
	f, err := file.OpenParquetFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // opened for reading
	r, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := r.Schema()
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, key := range f.MetaData().KeyValueMetadata().Keys() {
		if strings.HasPrefix(key, "tarn.") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return schema, keys
}

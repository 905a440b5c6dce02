package source

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/BurntSushi/toml"

	"tarn/keys/fault"
)

// mapDocument is a column map as it lies on disk.
type mapDocument struct {
	Schema    string            `toml:"schema"`
	Confirmed bool              `toml:"confirmed"`
	UniqueID  string            `toml:"unique_id"`
	Absent    []string          `toml:"absent,omitempty"`
	Columns   map[string]string `toml:"columns"`
}

// LoadMap reads a column map. Unknown keys are errors of kind [fault.Usage].
func LoadMap(path string) (*Mapping, error) {
	doing, next := "reading the column map "+path, "write one with tokeniser profile --write-map and correct it"
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, next)
	}
	m, err := parseMap(string(b))
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, next)
	}
	return m, nil
}

func parseMap(text string) (*Mapping, error) {
	var d mapDocument
	meta, err := toml.Decode(text, &d)
	if err != nil {
		var parse toml.ParseError
		if asParseError(err, &parse) {
			return nil, fmt.Errorf("line %d is not valid TOML", parse.Position.Line)
		}
		return nil, fmt.Errorf("a value is not of the expected type")
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("the key %s is not known: schema, confirmed, unique_id, absent and [columns] are", keyText(unknown[0]))
	}
	if d.Schema != MapSchema {
		return nil, fmt.Errorf("schema is not %q", MapSchema)
	}
	m := &Mapping{Fields: d.Columns, UniqueID: d.UniqueID, Absent: d.Absent, Confirmed: d.Confirmed}
	if m.Fields == nil {
		m.Fields = map[string]string{}
	}
	if m.UniqueID == "" {
		return nil, fmt.Errorf("unique_id is missing: the name of a column, or %q", RowID)
	}
	if _, twice := m.Fields[UniqueIDField]; twice {
		return nil, fmt.Errorf("unique_id stands above [columns], not in it")
	}
	taken := map[string]string{m.UniqueID: UniqueIDField}
	for _, field := range m.sortedFields() {
		column := m.Fields[field]
		if other, twice := taken[column]; twice && field != "" {
			return nil, fmt.Errorf("%s and %s are given the same column", other, field)
		}
		taken[column] = field
	}
	for i, field := range m.Absent {
		if _, there := m.Fields[field]; there || field == UniqueIDField {
			return nil, fmt.Errorf("absent[%d] is a field that the map gives a column for", i)
		}
	}
	return m, nil
}

// keyText is the name of a key that nobody knows. It may be a value: the file may
// be another than was meant.
func keyText(key toml.Key) string {
	parts := make([]string, len(key))
	for i := range key {
		parts[i] = fault.Name(key[i])
	}
	return strings.Join(parts, ".")
}

func asParseError(err error, to *toml.ParseError) bool {
	p, ok := err.(toml.ParseError)
	*to = p
	return ok
}

// Write writes the map in the form that LoadMap reads.
func (m *Mapping) Write(w io.Writer) error {
	head := "# Which column holds which field. Set confirmed to true when somebody has looked at it." +
		"\n# A field that is encoded and that the table does not have is named above [columns]: absent = [\"sex\"]"
	if m.UniqueID == "" {
		head += "\n# No column was found that identifies rows, so their numbers would: name a column in unique_id if there is one."
	}
	if _, err := fmt.Fprintln(w, head); err != nil {
		return err
	}
	e := toml.NewEncoder(w)
	e.Indent = ""
	return e.Encode(mapDocument{Schema: MapSchema, Confirmed: m.Confirmed, UniqueID: cmp.Or(m.UniqueID, RowID), Absent: m.Absent, Columns: m.Fields})
}

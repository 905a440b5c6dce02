package column

import (
	"encoding/base64"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/go-json-experiment/json"
)

// Keys of file metadata that repeat the type of columns.
const (
	arrowKey  = "ARROW:schema"
	pandasKey = "pandas"
)

// metadata returns the file's metadata, in which the column is text now. What
// says otherwise and cannot be read is left out: readers do without.
func (c *parquetCopy) metadata() (metadata.KeyValueMetadata, error) {
	from := c.in.MetaData().KeyValueMetadata()
	to := metadata.NewKeyValueMetadata()
	names, values := corrected(from.Keys(), from.Values(), c.Column)
	for i, name := range names {
		if err := to.Append(name, values[i]); err != nil {
			return nil, c.damaged("its metadata cannot be copied")
		}
	}
	return to, nil
}

// corrected returns metadata in which the column is text.
func corrected(names, values []string, column string) (newNames, newValues []string) {
	for i, name := range names {
		value, keep := values[i], true
		switch name {
		case arrowKey:
			value, keep = arrowSchema(value, column)
		case pandasKey:
			value, keep = pandasSchema(value, column)
		}
		if keep {
			newNames, newValues = append(newNames, name), append(newValues, value)
		}
	}
	return newNames, newValues
}

func arrowSchema(text, column string) (string, bool) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", false
	}
	old, err := flight.DeserializeSchema(raw, memory.DefaultAllocator)
	if err != nil {
		return "", false
	}
	fields := old.Fields()
	for i := range fields {
		if fields[i].Name == column {
			fields[i] = arrow.Field{Name: column, Type: arrow.BinaryTypes.String, Nullable: true}
		}
	}
	meta := arrow.NewMetadata(corrected(old.Metadata().Keys(), old.Metadata().Values(), column)) // it repeats that of the file
	return base64.StdEncoding.EncodeToString(flight.SerializeSchema(arrow.NewSchema(fields, &meta), memory.DefaultAllocator)), true
}

func pandasSchema(text, column string) (string, bool) {
	var document map[string]any
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		return "", false
	}
	columns, _ := document["columns"].([]any)
	for _, entry := range columns {
		if c, ok := entry.(map[string]any); ok && (c["name"] == column || c["field_name"] == column) {
			c["pandas_type"], c["numpy_type"], c["metadata"] = "unicode", "object", nil
		}
	}
	b, err := json.Marshal(document, json.Deterministic(true))
	return string(b), err == nil
}

package forward

import (
	"bytes"
	"encoding/base64"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/go-json-experiment/json"
)

// Parquet has no durations: they are whole numbers, and the schema that Arrow's tools store
// beside them says that they are durations and in which unit. Arrow in Go reads them as
// neither. So they go as whole numbers whose field says the unit, and the schema that is
// stored where they arrive says again what they are.
const (
	durationKey  = "tarn.duration" // of a field's metadata; its value is the unit
	arrowKey     = "ARROW:schema"  // of a file's metadata
	pandasKey    = "pandas"
	rangeOfIndex = "range"
)

var durationUnits = []arrow.TimeUnit{arrow.Second, arrow.Millisecond, arrow.Microsecond, arrow.Nanosecond}

// withoutDurations changes the stored schema of a file that is being read, so that columns
// of durations are read as whole numbers. within says that there are others, inside lists
// or objects.
func withoutDurations(in *file.Reader) (within bool) {
	for _, pair := range in.MetaData().KeyValueMetadata() {
		if pair.Key != arrowKey || pair.Value == nil {
			continue
		}
		stored, fields := storedSchema(*pair.Value)
		found := false
		for i := range fields {
			switch t := fields[i].Type.(type) {
			case *arrow.DurationType:
				fields[i].Type, fields[i].Metadata = arrow.PrimitiveTypes.Int64, withKey(fields[i].Metadata, durationKey, t.Unit.String())
				found = true
			case arrow.NestedType:
				within = within || holds(t, arrow.DURATION)
			}
		}
		if found {
			text := schemaText(fields, stored)
			pair.Value = &text
		}
	}
	return within
}

// storedSchema reads a schema from a file's metadata, and its fields; nothing where it
// cannot be read, as readers do without it then.
func storedSchema(text string) (*arrow.Schema, []arrow.Field) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, nil
	}
	s, err := flight.DeserializeSchema(raw, memory.DefaultAllocator)
	if err != nil {
		return nil, nil
	}
	return s, s.Fields()
}

func schemaText(fields []arrow.Field, of *arrow.Schema) string {
	meta := of.Metadata()
	return base64.StdEncoding.EncodeToString(flight.SerializeSchema(arrow.NewSchema(fields, &meta), memory.DefaultAllocator))
}

func withKey(m arrow.Metadata, key, value string) arrow.Metadata {
	m = withoutKey(m, key)
	return arrow.NewMetadata(append(slices.Clone(m.Keys()), key), append(slices.Clone(m.Values()), value))
}

func withoutKey(m arrow.Metadata, key string) arrow.Metadata {
	var names, values []string
	for i, name := range m.Keys() {
		if name != key {
			names, values = append(names, name), append(values, m.Values()[i])
		}
	}
	return arrow.NewMetadata(names, values)
}

// withDurations returns the schema under which a table is written that arrived under s: as
// it is, but where it has durations with a stored schema of its own. Then it is to be
// written without another. Fields that say so and cannot be durations are an error.
func withDurations(s *arrow.Schema) (written *arrow.Schema, stored bool, err error) {
	fields, units := s.Fields(), map[string]arrow.TimeUnit{}
	for i := range fields {
		text, there := fields[i].Metadata.GetValue(durationKey)
		if !there {
			continue
		}
		at := slices.IndexFunc(durationUnits, func(u arrow.TimeUnit) bool { return u.String() == text })
		if _, twice := units[fields[i].Name]; at < 0 || twice || fields[i].Type.ID() != arrow.INT64 {
			return nil, false, errRow
		}
		units[fields[i].Name] = durationUnits[at]
		fields[i].Metadata = withoutKey(fields[i].Metadata, durationKey)
	}
	if len(units) == 0 {
		return s, false, nil
	}
	meta := s.Metadata()
	// What the writer would store itself is had from a table of no rows.
	var empty bytes.Buffer
	w, err := pqarrow.NewFileWriter(arrow.NewSchema(fields, &meta), &empty, nil, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, false, err
	}
	in, err := file.NewParquetReader(bytes.NewReader(empty.Bytes()))
	if err != nil {
		return nil, false, err
	}
	text := in.MetaData().KeyValueMetadata().FindValue(arrowKey)
	if text == nil {
		return nil, false, errRow
	}
	of, there := storedSchema(*text)
	if of == nil || len(there) != len(fields) {
		return nil, false, errRow
	}
	for i := range there {
		if unit, is := units[there[i].Name]; is {
			there[i].Type = &arrow.DurationType{Unit: unit}
		}
	}
	meta = withKey(meta, arrowKey, schemaText(there, of))
	return arrow.NewSchema(fields, &meta), true, nil
}

// withoutRange leaves out of what pandas says of a table that its rows are numbered: they
// arrive in another order, and would get the numbers of others.
func withoutRange(m arrow.Metadata) arrow.Metadata {
	text, there := m.GetValue(pandasKey)
	if !there {
		return m
	}
	var document map[string]any
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		return withoutKey(m, pandasKey)
	}
	columns, _ := document["index_columns"].([]any)
	left := []any{}
	for _, c := range columns {
		if of, is := c.(map[string]any); !is || of["kind"] != rangeOfIndex {
			left = append(left, c)
		}
	}
	if len(left) == len(columns) {
		return m
	}
	document["index_columns"] = left
	b, err := json.Marshal(document, json.Deterministic(true))
	if err != nil {
		return withoutKey(m, pandasKey)
	}
	return withKey(m, pandasKey, string(b))
}

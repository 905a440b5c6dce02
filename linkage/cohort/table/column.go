package table

import (
	"fmt"
	"math"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"tarn/keys/fault"
)

// Hints are field metadata that tell Create how to store a column; they do
// not reach the file.
const (
	hintPlain    = "tarn.plain"    // no dictionary, no compression, no statistics: filters look random
	hintRandom   = "tarn.random"   // the same, of text
	hintRepeated = "tarn.repeated" // few distinct values: a dictionary
	hintOneOf    = "tarn.one-of"   // a dictionary of these values, a line each
	hintConstant = "tarn.constant" // the first of them in every row
)

func hint(key string) arrow.Metadata { return arrow.NewMetadata([]string{key}, []string{"1"}) }

// String is a column of text, with a dictionary where values repeat.
func String(name string, nullable, repeated bool) arrow.Field {
	f := arrow.Field{Name: name, Type: arrow.BinaryTypes.String, Nullable: nullable}
	if repeated {
		f.Metadata = hint(hintRepeated)
	}
	return f
}

// ID is a column of minted ids: text in which no compressor finds anything.
func ID(name string) arrow.Field {
	return arrow.Field{Name: name, Type: arrow.BinaryTypes.String, Metadata: hint(hintRandom)}
}

// Constant is a column of the same text in every row. It has no column builder.
func Constant(name, value string) arrow.Field {
	return arrow.Field{Name: name, Type: knownType, Metadata: arrow.NewMetadata([]string{hintOneOf, hintConstant}, []string{value, "1"})}
}

// OneOf is a column of these texts, none of which is empty or has a line end. Its
// column builder, an [array.Int8Builder], takes their indices.
func OneOf(name string, values ...string) arrow.Field {
	return arrow.Field{Name: name, Type: knownType, Metadata: arrow.NewMetadata([]string{hintOneOf}, []string{strings.Join(values, "\n")})}
}

// knownType is the type of columns whose dictionary is known beforehand.
// Parquet knows dictionaries as an encoding only: they are read as text.
var knownType = &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}

// Int64 is a column of 64-bit integers.
func Int64(name string, nullable bool) arrow.Field {
	return arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int64, Nullable: nullable}
}

// Int32 is a column of 32-bit integers.
func Int32(name string, nullable bool) arrow.Field {
	return arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int32, Nullable: nullable}
}

// Int8 is a column of small integers.
func Int8(name string, nullable bool) arrow.Field {
	return arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int8, Nullable: nullable}
}

// Double is a column of IEEE 754 doubles.
func Double(name string, nullable bool) arrow.Field {
	return arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Float64, Nullable: nullable}
}

// Fixed is a column of byte strings of one width, stored as they are.
func Fixed(name string, width int, nullable bool) arrow.Field {
	return arrow.Field{Name: name, Type: &arrow.FixedSizeBinaryType{ByteWidth: width}, Nullable: nullable, Metadata: hint(hintPlain)}
}

func withoutHints(schema *arrow.Schema) *arrow.Schema {
	fields := schema.Fields()
	for i := range fields {
		fields[i].Metadata = arrow.Metadata{}
	}
	return arrow.NewSchema(fields, nil)
}

// Strings gives the text values of a column, whatever string type the tool
// that wrote the file chose. The function returns false for null.
func Strings(column arrow.Array, name string) (func(i int) (string, bool), error) {
	switch a := column.(type) {
	case *array.String:
		return func(i int) (string, bool) { return a.Value(i), a.IsValid(i) }, nil
	case *array.LargeString:
		return func(i int) (string, bool) { return a.Value(i), a.IsValid(i) }, nil
	case *array.Binary:
		return func(i int) (string, bool) { return string(a.Value(i)), a.IsValid(i) }, nil
	case *array.Dictionary:
		values, err := Strings(a.Dictionary(), name)
		if err != nil {
			return nil, err
		}
		return func(i int) (string, bool) {
			if a.IsNull(i) {
				return "", false
			}
			return values(a.GetValueIndex(i))
		}, nil
	}
	return nil, wrongType(name, column, "text")
}

// Bytes gives the values of a column of byte strings of this width, fixed or
// widened to variable length. The function returns nil for null, and an error
// for a value of another length.
func Bytes(column arrow.Array, name string, width int) (func(i int) ([]byte, error), error) {
	check := func(b []byte) ([]byte, error) {
		if len(b) != width {
			return nil, fault.New(fault.Usage, "reading column "+name, fmt.Sprintf("a value has %d bytes instead of %d", len(b), width),
				"give a file of the format docs/formats.md describes")
		}
		return b, nil
	}
	type binary interface {
		IsNull(int) bool
		Value(int) []byte
	}
	a, ok := column.(binary)
	if !ok {
		return nil, wrongType(name, column, "bytes")
	}
	return func(i int) ([]byte, error) {
		if a.IsNull(i) {
			return nil, nil
		}
		return check(a.Value(i))
	}, nil
}

// Round returns what is left of v after a tool has stored it as a double.
func Round(v int64) int64 { return saturate(float64(v)) }

func saturate(f float64) int64 {
	if f >= 1<<63 {
		return math.MaxInt64
	}
	return int64(f)
}

// Doubles gives the values of a column of doubles.
func Doubles(column arrow.Array, name string) (func(i int) (float64, bool), error) {
	switch a := column.(type) {
	case *array.Float64:
		return func(i int) (float64, bool) { return a.Value(i), a.IsValid(i) }, nil
	case *array.Null:
		return func(int) (float64, bool) { return 0, false }, nil
	}
	return nil, wrongType(name, column, "doubles")
}

func wrongType(name string, column arrow.Array, want string) error {
	return fault.New(fault.Usage, "reading column "+name, fmt.Sprintf("its type is %s where %s are expected", column.DataType(), want),
		"give a file of the format docs/formats.md describes")
}

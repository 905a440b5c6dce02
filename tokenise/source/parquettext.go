package source

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// TextColumn appends the text that CSV would hold for a value that is not
// null: dates are 2006-01-02, times 15:04:05, moments 2006-01-02T15:04:05 in
// their own time zone. A number that is none (NaN) is missing.
type TextColumn func(to []byte, row int) []byte

const momentLayout = "2006-01-02T15:04:05"

// Readable reports whether a column of this type has a text.
func Readable(t arrow.DataType) bool {
	if d, ok := t.(*arrow.DictionaryType); ok {
		t = d.ValueType
	}
	switch t := t.(type) {
	case *arrow.StringType, *arrow.LargeStringType, *arrow.StringViewType, *arrow.BinaryType, *arrow.LargeBinaryType, *arrow.BinaryViewType,
		*arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Int64Type, *arrow.Uint8Type, *arrow.Uint16Type, *arrow.Uint32Type, *arrow.Uint64Type,
		*arrow.Float32Type, *arrow.Float64Type, *arrow.BooleanType, *arrow.Date32Type, *arrow.Date64Type, *arrow.Time32Type, *arrow.Time64Type,
		*arrow.Decimal32Type, *arrow.Decimal64Type, *arrow.Decimal128Type, *arrow.Decimal256Type, *arrow.NullType:
		return true
	case *arrow.TimestampType:
		_, err := t.GetToTimeFunc()
		return err == nil
	}
	return false
}

// ColumnText returns what gives the values of a column as text. What Readable
// accepts has no error.
func ColumnText(column arrow.Array) (TextColumn, error) {
	switch a := column.(type) {
	case *array.String:
		return func(to []byte, i int) []byte { return append(to, a.Value(i)...) }, nil
	case *array.LargeString:
		return func(to []byte, i int) []byte { return append(to, a.Value(i)...) }, nil
	case *array.StringView:
		return func(to []byte, i int) []byte { return append(to, a.Value(i)...) }, nil
	case *array.Binary:
		return func(to []byte, i int) []byte { return append(to, a.Value(i)...) }, nil
	case *array.LargeBinary:
		return func(to []byte, i int) []byte { return append(to, a.Value(i)...) }, nil
	case *array.BinaryView:
		return func(to []byte, i int) []byte { return append(to, a.Value(i)...) }, nil
	case *array.Boolean:
		return func(to []byte, i int) []byte { return strconv.AppendBool(to, a.Value(i)) }, nil
	case *array.Null:
		return func(to []byte, _ int) []byte { return to }, nil
	case *array.Dictionary:
		values, err := ColumnText(a.Dictionary())
		if err != nil {
			return nil, err
		}
		dictionary := a.Dictionary()
		return func(to []byte, i int) []byte {
			if at := a.GetValueIndex(i); !dictionary.IsNull(at) {
				return values(to, at)
			}
			return to
		}, nil
	}
	if text := numberText(column); text != nil {
		return text, nil
	}
	if text := timeText(column); text != nil {
		return text, nil
	}
	return nil, fmt.Errorf("is of type %s", column.DataType())
}

func numberText(column arrow.Array) TextColumn {
	signed := func(value func(int) int64) TextColumn {
		return func(to []byte, i int) []byte { return strconv.AppendInt(to, value(i), 10) }
	}
	fraction := func(value func(int) float64, bits int) TextColumn {
		// From here on not every whole number has a float of its own: one that was
		// rounded must not look like the digits that somebody wrote.
		exact := float64(int64(1) << 53)
		if bits == 32 {
			exact = 1 << 24
		}
		return func(to []byte, i int) []byte {
			switch v := value(i); {
			case math.IsNaN(v):
				return to
			case math.Abs(v) >= exact:
				return strconv.AppendFloat(to, v, 'e', -1, bits)
			default:
				return strconv.AppendFloat(to, v, 'f', -1, bits)
			}
		}
	}
	text := func(value func(int) string) TextColumn {
		return func(to []byte, i int) []byte { return append(to, value(i)...) }
	}
	switch a := column.(type) {
	case *array.Int8:
		return signed(func(i int) int64 { return int64(a.Value(i)) })
	case *array.Int16:
		return signed(func(i int) int64 { return int64(a.Value(i)) })
	case *array.Int32:
		return signed(func(i int) int64 { return int64(a.Value(i)) })
	case *array.Int64:
		return signed(a.Value)
	case *array.Uint8:
		return signed(func(i int) int64 { return int64(a.Value(i)) })
	case *array.Uint16:
		return signed(func(i int) int64 { return int64(a.Value(i)) })
	case *array.Uint32:
		return signed(func(i int) int64 { return int64(a.Value(i)) })
	case *array.Uint64:
		return func(to []byte, i int) []byte { return strconv.AppendUint(to, a.Value(i), 10) }
	case *array.Float32:
		return fraction(func(i int) float64 { return float64(a.Value(i)) }, 32)
	case *array.Float64:
		return fraction(a.Value, 64)
	case *array.Decimal32:
		scale := a.DataType().(arrow.DecimalType).GetScale()
		return text(func(i int) string { return a.Value(i).ToString(scale) })
	case *array.Decimal64:
		scale := a.DataType().(arrow.DecimalType).GetScale()
		return text(func(i int) string { return a.Value(i).ToString(scale) })
	case *array.Decimal128:
		scale := a.DataType().(arrow.DecimalType).GetScale()
		return text(func(i int) string { return a.Value(i).ToString(scale) })
	case *array.Decimal256:
		scale := a.DataType().(arrow.DecimalType).GetScale()
		return text(func(i int) string { return a.Value(i).ToString(scale) })
	}
	return nil
}

func timeText(column arrow.Array) TextColumn {
	moment := func(value func(int) time.Time, layout string) TextColumn {
		return func(to []byte, i int) []byte { return value(i).AppendFormat(to, layout) }
	}
	switch a := column.(type) {
	case *array.Date32:
		return moment(func(i int) time.Time { return a.Value(i).ToTime() }, time.DateOnly)
	case *array.Date64:
		return moment(func(i int) time.Time { return a.Value(i).ToTime() }, time.DateOnly)
	case *array.Time32:
		unit := a.DataType().(*arrow.Time32Type).Unit
		return moment(func(i int) time.Time { return a.Value(i).ToTime(unit) }, time.TimeOnly)
	case *array.Time64:
		unit := a.DataType().(*arrow.Time64Type).Unit
		return moment(func(i int) time.Time { return a.Value(i).ToTime(unit) }, time.TimeOnly)
	case *array.Timestamp:
		toTime, err := a.DataType().(*arrow.TimestampType).GetToTimeFunc()
		if err != nil {
			return nil
		}
		return moment(func(i int) time.Time { return toTime(a.Value(i)) }, momentLayout)
	}
	return nil
}

package table

import (
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// assembler makes batches of all columns from those that are built row by row.
// A column whose values are known beforehand is built as indices into them, or
// not at all: Parquet's writer would look up each row's text in a hash table.
type assembler struct {
	schema  *arrow.Schema // without hints
	built   *arrow.Schema // of the columns with a builder
	values  []arrow.Array // of each column its dictionary, nil where there is none
	isBuilt []bool
	zeros   arrow.Array // batchRows indices of the first value
	ids     []int       // the built columns of minted ids
}

func newAssembler(schema *arrow.Schema) *assembler {
	a := &assembler{schema: withoutHints(schema)}
	var built []arrow.Field
	for i, f := range schema.Fields() {
		var values arrow.Array
		if text, ok := f.Metadata.GetValue(hintOneOf); ok {
			b := array.NewStringBuilder(memory.DefaultAllocator)
			b.AppendValues(strings.Split(text, "\n"), nil)
			values = b.NewArray()
		}
		_, constant := f.Metadata.GetValue(hintConstant)
		a.values, a.isBuilt = append(a.values, values), append(a.isBuilt, !constant)
		switch {
		case constant:
		case values != nil:
			built = append(built, arrow.Field{Name: f.Name, Type: knownType.IndexType})
		default:
			if _, random := f.Metadata.GetValue(hintRandom); random {
				a.ids = append(a.ids, len(built))
			}
			built = append(built, a.schema.Field(i))
		}
	}
	a.built = arrow.NewSchema(built, nil)
	indices := array.NewInt8Builder(memory.DefaultAllocator)
	indices.AppendValues(make([]int8, batchRows), nil)
	a.zeros = indices.NewArray()
	return a
}

// batch returns the whole batch of one that was built, which it releases.
func (a *assembler) batch(built arrow.RecordBatch) arrow.RecordBatch {
	defer built.Release()
	columns, next := make([]arrow.Array, len(a.values)), 0
	for i, values := range a.values {
		var column arrow.Array
		if a.isBuilt[i] {
			column = built.Column(next)
			column.Retain()
			next++
		} else {
			column = array.NewSlice(a.zeros, 0, built.NumRows())
		}
		if values != nil {
			indices := column
			column = array.NewDictionaryArray(knownType, indices, values)
			indices.Release()
		}
		columns[i] = column
	}
	whole := array.NewRecordBatch(a.schema, columns, built.NumRows())
	for _, column := range columns {
		column.Release() // the batch has retained it
	}
	return whole
}

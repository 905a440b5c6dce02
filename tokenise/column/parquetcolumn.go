package column

import (
	"context"
	"math"
	"math/big"
	"strconv"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/schema"
	"golang.org/x/sync/errgroup"

	"tarn/keys/fault"
)

// physicalText reads a batch of a chunk and gives its values as text.
type physicalText func(chunk file.ColumnChunkReader, definition []int16) (total int64, texts []string, err error)

// textOfPhysical returns how to read a column of text or whole numbers; nil for
// any other.
func textOfPhysical(column *schema.Column) physicalText {
	switch t := column.LogicalType().(type) {
	case schema.NoLogicalType, schema.UnknownLogicalType, schema.NullLogicalType, schema.StringLogicalType, schema.EnumLogicalType, schema.JSONLogicalType, schema.IntLogicalType:
	case schema.DecimalLogicalType:
		if t.Scale() != 0 {
			return nil
		}
	default:
		return nil
	}
	switch column.PhysicalType() {
	case parquet.Types.ByteArray:
		if _, decimal := column.LogicalType().(schema.DecimalLogicalType); decimal {
			return nil
		}
		return func(chunk file.ColumnChunkReader, definition []int16) (int64, []string, error) {
			return readTexts(chunk.(*file.ByteArrayColumnChunkReader), definition, shortText)
		}
	case parquet.Types.Int32:
		return func(chunk file.ColumnChunkReader, definition []int16) (int64, []string, error) {
			return readTexts(chunk.(*file.Int32ColumnChunkReader), definition, func(v int32) string { return strconv.FormatInt(int64(v), 10) })
		}
	case parquet.Types.Int64:
		return func(chunk file.ColumnChunkReader, definition []int16) (int64, []string, error) {
			return readTexts(chunk.(*file.Int64ColumnChunkReader), definition, func(v int64) string { return strconv.FormatInt(v, 10) })
		}
	case parquet.Types.Double:
		return func(chunk file.ColumnChunkReader, definition []int16) (int64, []string, error) {
			return readTexts(chunk.(*file.Float64ColumnChunkReader), definition, fractionText)
		}
	case parquet.Types.FixedLenByteArray:
		if _, decimal := column.LogicalType().(schema.DecimalLogicalType); !decimal {
			return nil
		}
		return func(chunk file.ColumnChunkReader, definition []int16) (int64, []string, error) {
			return readTexts(chunk.(*file.FixedLenByteArrayColumnChunkReader), definition, decimalText)
		}
	}
	return nil
}

// longestNumber bounds the text of a cell that may be a number, in bytes.
const longestNumber = 1 << 10

// shortText gives a text as it is, and one that is too long for a number as
// something that is none.
func shortText(v parquet.ByteArray) string {
	if len(v) > longestNumber {
		return "too long"
	}
	return string(v)
}

// decimalText gives a whole number of big-endian bytes, in two's complement, as
// text.
func decimalText(v parquet.FixedLenByteArray) string {
	n := new(big.Int).SetBytes(v)
	if len(v) > 0 && v[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), 8*uint(len(v))))
	}
	return n.String()
}

// fractionText gives a fraction as text; one that is no number is missing.
func fractionText(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

func readTexts[T any](from batchReader[T], definition []int16, text func(T) string) (int64, []string, error) {
	values := make([]T, batchElements)
	total, read, err := from.ReadBatchInPage(batchElements, values, definition, nil)
	if err != nil {
		return 0, nil, err
	}
	texts := make([]string, read)
	for i, v := range values[:read] {
		texts[i] = text(v)
	}
	return total, texts, nil
}

// replace writes tokens in place of a chunk of the column.
func (c *parquetCopy) replace(ctx context.Context, from file.ColumnChunkReader, writer file.ColumnChunkWriter) error {
	to := writer.(*file.ByteArrayColumnChunkWriter) // as the new schema says
	present := levels(from.Descriptor().MaxDefinitionLevel())
	judges := make([]*judge, c.shares())
	for i := range judges {
		judges[i] = c.newJudge()
	}
	for from.HasNext() {
		total, texts, err := c.text(from, present)
		if err != nil || total == 0 {
			return c.damaged("its data are damaged")
		}
		tokens, events, err := tokensOf(ctx, judges, texts)
		if err != nil {
			return err
		}
		values, definition := make([]parquet.ByteArray, 0, len(texts)), make([]int16, total)
		for row, at := 0, 0; row < int(total); row++ {
			number := c.result.Rows + int64(row) + 1
			if present != nil && present[row] == 0 {
				c.result.Absent++
				continue
			}
			if tokens[at] != "" {
				definition[row] = 1
				values = append(values, parquet.ByteArray(tokens[at]))
			}
			if code := events[at]; code.code != "" {
				if err := c.note(event{row: number, code: code.code, cell: true}); err != nil {
					return err
				}
			}
			at++
		}
		c.result.Rows += total
		if _, err := to.WriteBatch(values, definition, nil); err != nil {
			return c.failed(err)
		}
	}
	for _, j := range judges {
		c.result.add(j.counts)
	}
	return nil
}

// movedShares is in how many batches the texts that are read at a time are moved. It
// does not depend on the number of threads: a run that goes on on another machine asks for
// the same batches.
const movedShares = 2

// shares is on how many goroutines texts are judged.
func (c *parquetCopy) shares() int {
	if c.Rotate != nil {
		return movedShares
	}
	return max(c.Threads, 1)
}

// tokensOf judges texts on as many goroutines as there are judges.
func tokensOf(ctx context.Context, judges []*judge, texts []string) (tokens []string, events []event, err error) {
	tokens, events = make([]string, len(texts)), make([]event, len(texts))
	group, ctx := errgroup.WithContext(ctx)
	share := (len(texts) + len(judges) - 1) / len(judges)
	for i, j := range judges {
		from, to := min(i*share, len(texts)), min((i+1)*share, len(texts))
		group.Go(func() (err error) {
			defer fault.Contain(&err)
			made, codes, err := j.cells(ctx, texts[from:to])
			copy(tokens[from:], made)
			for i, code := range codes {
				events[from+i].code = code
			}
			return err
		})
	}
	return tokens, events, group.Wait()
}

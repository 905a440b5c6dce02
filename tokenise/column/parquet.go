package column

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"tarn/keys/fault"
	"tarn/tokenise/source"
)

// parquetCopy copies a Parquet file column chunk by column chunk, as levels and
// physical values, so that no type or null is interpreted on the way.
type parquetCopy struct {
	*setting
	file    *os.File
	reading *parquet.ReaderProperties
	in      *file.Reader
	out     *file.Writer
	column  int // the leaf that is replaced
	text    physicalText
}

const parquetNext = "give a whole Parquet file; if it was copied, copy it again"

func (s *setting) damaged(wrong string) error {
	return fault.New(fault.Usage, "reading "+s.In, wrong, parquetNext)
}

// parquet replaces the column of a Parquet file.
func (s *setting) parquet(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.damaged(fmt.Sprintf("it cannot be processed (%T)", p))
		}
	}()
	f, err := os.Open(s.In)
	if err != nil {
		return fault.Wrap(fault.Usage, "reading "+s.In, err, "give the path of a table that this user can read with --in")
	}
	defer func() { _ = f.Close() }() // opened for reading
	info, err := f.Stat()
	if err != nil {
		return fault.Wrap(fault.Usage, "reading "+s.In, err, "give the path of a table that this user can read with --in")
	}
	s.result.Input = source.Input{Format: source.FormatParquet, Bytes: info.Size(), HasHeader: true}
	if s.Opened != nil {
		if err := s.Opened(s.result.Input); err != nil {
			return err
		}
	}
	properties := parquet.NewReaderProperties(memory.DefaultAllocator)
	properties.BufferedStreamEnabled = true // pages, not whole row groups, in memory
	in, err := file.NewParquetReader(f, file.WithReadProps(properties))
	if err != nil {
		return s.damaged("it is not a whole Parquet file")
	}
	c := &parquetCopy{setting: s, file: f, reading: properties, in: in}
	if err := c.begin(); err != nil {
		return err
	}
	total := in.NumRows()
	for g := range in.NumRowGroups() {
		if err := s.use(ctx, in.MetaData().RowGroup(g).NumRows()); err != nil {
			return err
		}
		if err := c.group(ctx, g); err != nil {
			return err
		}
		if total > 0 {
			s.proceeded(int64(float64(info.Size())*float64(s.result.Rows)/float64(total)), info.Size())
		}
	}
	return c.failed(c.out.Close())
}

// failed gives an error of writing its kind; those of the output have it.
func (c *parquetCopy) failed(err error) error {
	var known *fault.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return fault.New(fault.Internal, "writing "+c.Out, fmt.Sprintf("the table could not be written (%T)", err), "free space on the disk, then run again")
}

// begin finds the column and opens the writer under the new schema.
func (c *parquetCopy) begin() error {
	root := c.in.MetaData().Schema.Root()
	at := -1
	for i := range root.NumFields() {
		if root.Field(i).Name() == c.Column {
			if at >= 0 {
				return fault.New(fault.Usage, "reading "+c.In, "two of its columns have the name given with --column", "name every column, once")
			}
			at = i
		}
	}
	if at < 0 {
		return fault.New(fault.Usage, "reading "+c.In, "it has no column of the name given with --column", "name one of its columns; names are compared letter by letter")
	}
	node, primitive := root.Field(at).(*schema.PrimitiveNode)
	if primitive && node.RepetitionType() != parquet.Repetitions.Repeated {
		c.column = c.in.MetaData().Schema.ColumnIndexByName(node.Path())
		c.text = textOfPhysical(c.in.MetaData().Schema.Column(c.column))
	}
	if c.text == nil {
		return fault.New(fault.Usage, "reading "+c.In, "the column given with --column holds neither text nor whole numbers", "write it as text")
	}
	fields := make(schema.FieldList, root.NumFields())
	for i := range fields {
		fields[i] = root.Field(i)
	}
	var err error
	if fields[at], err = schema.NewPrimitiveNodeLogical(node.Name(), parquet.Repetitions.Optional, schema.StringLogicalType{}, parquet.Types.ByteArray, -1, node.FieldID()); err != nil {
		return c.damaged("its schema cannot be copied")
	}
	changed, err := schema.NewGroupNode(root.Name(), root.RepetitionType(), fields, root.FieldID())
	if err != nil {
		return c.damaged("its schema cannot be copied")
	}
	meta, err := c.metadata()
	if err != nil {
		return err
	}
	c.out, err = file.NewParquetWriterWithError(sink{c.setting.out}, changed, file.WithWriterProps(c.properties()), file.WithWriteMetadata(meta))
	return c.failed(err)
}

// properties returns writer properties that keep each column's compression,
// and its dictionaries if it has any.
func (c *parquetCopy) properties() *parquet.WriterProperties {
	options := []parquet.WriterProperty{parquet.WithDictionaryDefault(false), parquet.WithDictionaryPageSizeLimit(noLimit)}
	if c.in.NumRowGroups() > 0 {
		group := c.in.MetaData().RowGroup(0)
		for i := range group.NumColumns() {
			chunk, err := group.ColumnChunk(i)
			if err != nil {
				continue // reading it will say why
			}
			codec := chunk.Compression()
			switch codec {
			case compress.Codecs.Uncompressed, compress.Codecs.Snappy, compress.Codecs.Gzip, compress.Codecs.Brotli, compress.Codecs.Zstd, compress.Codecs.Lz4Raw:
			default:
				codec = compress.Codecs.Zstd
			}
			path := chunk.PathInSchema()
			options = append(options, parquet.WithCompressionPath(path, codec), parquet.WithDictionaryPath(path, i != c.column && c.hasDictionary(i)), parquet.WithDictionaryCostFallbackPath(path, false))
		}
	}
	return parquet.NewWriterProperties(options...)
}

// hasDictionary reports whether any chunk of a column has a dictionary.
func (c *parquetCopy) hasDictionary(column int) bool {
	for g := range c.in.NumRowGroups() {
		if chunk, err := c.in.MetaData().RowGroup(g).ColumnChunk(column); err == nil && chunk.HasDictionaryPage() {
			return true
		}
	}
	return false
}

// group copies one row group.
func (c *parquetCopy) group(ctx context.Context, g int) error {
	from := c.in.RowGroup(g)
	to, err := c.out.AppendRowGroupChecked()
	if err != nil {
		return c.failed(err)
	}
	for i := range from.NumColumns() {
		if err := ctx.Err(); err != nil {
			return err
		}
		reader, err := from.Column(i)
		if err != nil {
			return c.damaged("its data are damaged")
		}
		writer, err := to.NextColumn()
		if err != nil {
			return c.failed(err)
		}
		if i == c.column {
			err = c.replace(ctx, reader, writer)
		} else {
			limit := 0
			if limit, err = c.seed(from, i, writer); err == nil {
				err = c.copy(reader, writer, limit)
			}
		}
		if err == nil && reader.Err() != nil {
			err = c.damaged("its data are damaged")
		}
		if err := errors.Join(err, reader.Close()); err != nil {
			return err
		}
		if err := writer.Close(); err != nil {
			return c.failed(err)
		}
	}
	return c.failed(to.Close())
}

// copy copies a column chunk. limit is how many bytes its dictionary may have.
func (c *parquetCopy) copy(from file.ColumnChunkReader, to file.ColumnChunkWriter, limit int) error {
	switch r := from.(type) {
	case *file.BooleanColumnChunkReader:
		return copyChunk(c, from, r, to.(*file.BooleanColumnChunkWriter), limit)
	case *file.Int32ColumnChunkReader:
		return copyChunk(c, from, r, to.(*file.Int32ColumnChunkWriter), limit)
	case *file.Int64ColumnChunkReader:
		return copyChunk(c, from, r, to.(*file.Int64ColumnChunkWriter), limit)
	case *file.Int96ColumnChunkReader:
		return copyChunk(c, from, r, to.(*file.Int96ColumnChunkWriter), limit)
	case *file.Float32ColumnChunkReader:
		return copyChunk(c, from, r, to.(*file.Float32ColumnChunkWriter), limit)
	case *file.Float64ColumnChunkReader:
		return copyChunk(c, from, r, to.(*file.Float64ColumnChunkWriter), limit)
	case *file.ByteArrayColumnChunkReader:
		return copyChunk(c, from, r, to.(*file.ByteArrayColumnChunkWriter), limit)
	case *file.FixedLenByteArrayColumnChunkReader:
		return copyChunk(c, from, r, to.(*file.FixedLenByteArrayColumnChunkWriter), limit)
	}
	return c.damaged("it has a column of an unknown type")
}

// batchReader reads up to so many elements of one page, which its values share.
type batchReader[T any] interface {
	ReadBatchInPage(size int64, values []T, definition, repetition []int16) (total int64, read int, err error)
}

type batchWriter[T any] interface {
	WriteBatch(values []T, definition, repetition []int16) (int64, error)
}

// batchElements is the number of elements that are copied at a time.
const batchElements = 4096

func copyChunk[T any](c *parquetCopy, chunk file.ColumnChunkReader, from batchReader[T], to batchWriter[T], limit int) error {
	values := make([]T, batchElements)
	definition, repetition := levels(chunk.Descriptor().MaxDefinitionLevel()), levels(chunk.Descriptor().MaxRepetitionLevel())
	for chunk.HasNext() {
		total, read, err := from.ReadBatchInPage(batchElements, values, definition, repetition)
		if err != nil || total == 0 {
			return c.damaged("its data are damaged")
		}
		highest := chunk.Descriptor().MaxDefinitionLevel()
		if err := writeParts(to, values[:read], part(definition, total), part(repetition, total), highest); err != nil {
			return c.failed(err)
		}
		if err := c.bound(to, limit); err != nil {
			return c.failed(err)
		}
	}
	return nil
}

// manyBytes is about the most that is written at a time: a page of a few bytes
// may say of a long text, over and over, that it comes again.
const manyBytes = 4 << 20

// writeParts writes a batch, in parts of whole records where its values are long.
// highest is the definition level of what has a value.
func writeParts[T any](to batchWriter[T], values []T, definition, repetition []int16, highest int16) error {
	texts, ok := any(values).([]parquet.ByteArray)
	if !ok {
		_, err := to.WriteBatch(values, definition, repetition)
		return err
	}
	elements := max(len(values), len(definition))
	from, fromValue, value, bytes := 0, 0, 0, 0
	for at := range elements {
		begins := repetition == nil || repetition[at] == 0
		if begins && bytes > manyBytes {
			if _, err := to.WriteBatch(values[fromValue:value], slice(definition, from, at), slice(repetition, from, at)); err != nil {
				return err
			}
			from, fromValue, bytes = at, value, 0
		}
		if definition == nil || definition[at] == highest {
			bytes += len(texts[value])
			value++
		}
	}
	_, err := to.WriteBatch(values[fromValue:], slice(definition, from, elements), slice(repetition, from, elements))
	return err
}

func slice(levels []int16, from, to int) []int16 {
	if levels == nil {
		return nil
	}
	return levels[from:to]
}

// levels returns room for the levels of a batch; nil where there are none.
func levels(highest int16) []int16 {
	if highest == 0 {
		return nil
	}
	return make([]int16, batchElements)
}

func part(levels []int16, n int64) []int16 {
	if levels == nil {
		return nil
	}
	return levels[:n]
}

// sink hides that the output can be closed: the writer would close it.
type sink struct{ io.Writer }

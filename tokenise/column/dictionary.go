package column

import (
	"encoding/binary"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
)

// A chunk's dictionary says more than how its values are packed: Arrow's tools read the
// categories of a column from it, those that no row has, too, and in its order, which is
// that of ordered categories. So it is copied before the values are.

const (
	// noLimit leaves it to bound how long a dictionary may be.
	noLimit = math.MaxInt64
	// shortDictionary is how many bytes one may have that does not have more already.
	shortDictionary = 1 << 20
)

// seed gives a chunk's writer the dictionary of the chunk that is copied, and returns how
// many bytes the dictionary may have. A chunk that had none gets none. Only texts and bytes
// can be categories: the order of a dictionary of numbers says nothing.
func (c *parquetCopy) seed(from *file.RowGroupReader, column int, to file.ColumnChunkWriter) (limit int, err error) {
	chunk, err := from.MetaData().ColumnChunk(column)
	if err != nil {
		return 0, c.damaged("its data are damaged")
	}
	if !chunk.HasDictionaryPage() {
		to.FallbackToPlain()
		return shortDictionary, nil
	}
	if to.Type() != parquet.Types.ByteArray {
		return shortDictionary, nil
	}
	texts, size, whole := c.dictionary(chunk)
	if !whole {
		return 0, c.damaged("its data are damaged")
	}
	encoder, ok := to.CurrentEncoder().(interface{ PutDictionary(arrow.Array) error })
	if texts == nil || !ok {
		return shortDictionary, nil
	}
	defer texts.Release()
	return max(size, shortDictionary), c.failed(encoder.PutDictionary(texts))
}

// dictionary reads a chunk's dictionary, its first page: its values in their order, each
// once, and how many bytes they have there; nil where there is none. Arrow's own way to it
// counts from where the values begin, which a chunk of no rows does not say.
func (c *parquetCopy) dictionary(chunk *metadata.ColumnChunkMetaData) (texts arrow.Array, size int, whole bool) {
	start := chunk.DataPageOffset()
	if at := chunk.DictionaryPageOffset(); at > 0 {
		start = at
	}
	if start < 0 || chunk.TotalCompressedSize() <= 0 {
		return nil, 0, false
	}
	stream, err := c.reading.GetStream(c.file, start, chunk.TotalCompressedSize())
	if err != nil {
		return nil, 0, false
	}
	//lint:ignore SA1019 it is not to be public for long, and there is no other way to the dictionary of a chunk of no rows
	pages, err := file.NewPageReader(stream, 1, chunk.Compression(), memory.DefaultAllocator, nil)
	if err != nil {
		return nil, 0, false
	}
	defer func() { _ = pages.Close() }() // opened for reading
	if !pages.Next() {
		return nil, 0, pages.Err() == nil
	}
	page, there := pages.Page().(*file.DictionaryPage)
	if !there {
		return nil, 0, true
	}
	b := array.NewBinaryBuilder(memory.DefaultAllocator, arrow.BinaryTypes.Binary)
	defer b.Release()
	data, seen := page.Data(), map[string]bool{}
	for range page.NumValues() {
		if len(data) < arrow.Uint32SizeBytes || uint64(binary.LittleEndian.Uint32(data)) > uint64(len(data)-arrow.Uint32SizeBytes) {
			return nil, 0, false
		}
		value := data[arrow.Uint32SizeBytes:][:binary.LittleEndian.Uint32(data)]
		data = data[arrow.Uint32SizeBytes+len(value):]
		if !seen[string(value)] {
			seen[string(value)] = true
			size += arrow.Uint32SizeBytes + len(value)
			b.Append(value)
		}
	}
	return b.NewArray(), size, true
}

// bound ends a dictionary that has become too long: the values that follow are written as
// they are. What refers to it goes before them, and so does it.
func (c *parquetCopy) bound(to any, limit int) error {
	w := to.(interface {
		file.ColumnChunkWriter
		WriteDictionaryPage() error
		FlushBufferedDataPages() error
	})
	encoder, ok := w.CurrentEncoder().(interface{ DictEncodedSize() int })
	if !ok || encoder.DictEncodedSize() <= limit {
		return nil
	}
	if err := w.WriteDictionaryPage(); err != nil {
		return err
	}
	if err := w.FlushBufferedDataPages(); err != nil {
		return err
	}
	w.FallbackToPlain()
	return nil
}

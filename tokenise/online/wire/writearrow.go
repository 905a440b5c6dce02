package wire

import (
	"bytes"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"tarn/keys"
	"tarn/linkage/cohort"
	"tarn/tokenise/online"
)

// arrowWriter writes one record of an Arrow IPC stream, of the columns that CSV has:
// tokens of 32 bytes, filters of fixed width, tags as int64.
type arrowWriter struct {
	asked   online.Asked
	schema  *arrow.Schema
	builder *array.RecordBuilder
	id      *array.StringBuilder
	status  *array.StringBuilder
	token   *array.FixedSizeBinaryBuilder
	filters []*array.FixedSizeBinaryBuilder
	tags    []*array.Int64Builder // blocks, then tags
	codes   *array.StringBuilder
	scratch []byte
}

func newArrowWriter(e *online.Engine, asked online.Asked) *arrowWriter {
	w := &arrowWriter{asked: asked}
	fields := []arrow.Field{{Name: "unique_id", Type: arrow.BinaryTypes.String}, {Name: "status", Type: arrow.BinaryTypes.String}}
	l := e.Layout()
	if asked.Tokens {
		fields = append(fields, arrow.Field{Name: cohort.ColumnToken, Type: &arrow.FixedSizeBinaryType{ByteWidth: keys.TokenSize}, Nullable: true})
	}
	if asked.Encodings {
		for _, f := range l.Filters {
			fields = append(fields, arrow.Field{Name: f.Name, Type: &arrow.FixedSizeBinaryType{ByteWidth: f.Bytes}, Nullable: true})
		}
		for _, names := range [][]string{l.Blocks, l.Tags} {
			for _, name := range names {
				fields = append(fields, arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int64, Nullable: true})
			}
		}
	}
	fields = append(fields, arrow.Field{Name: "codes", Type: arrow.BinaryTypes.String})
	c := e.Context()
	metadata := arrow.NewMetadata(
		[]string{"tarn.project", "tarn.token_domain", "tarn.token_scheme", "tarn.token_epoch", "tarn.token_kcv", "tarn.profile", "tarn.profile_digest", "tarn.encoding_epoch", "tarn.encoding_kcv"},
		[]string{c.Project, c.Domain, c.Scheme, fmt.Sprint(c.TokenEpoch), c.TokenKCV, c.Profile, c.ProfileDigest, fmt.Sprint(c.EncodingEpoch), c.EncodingKCV})
	w.schema = arrow.NewSchema(fields, &metadata)
	w.builder = array.NewRecordBuilder(memory.DefaultAllocator, w.schema)
	at := 0
	next := func() array.Builder {
		at++
		return w.builder.Field(at - 1)
	}
	w.id, w.status = next().(*array.StringBuilder), next().(*array.StringBuilder)
	if asked.Tokens {
		w.token = next().(*array.FixedSizeBinaryBuilder)
	}
	if asked.Encodings {
		for range l.Filters {
			w.filters = append(w.filters, next().(*array.FixedSizeBinaryBuilder))
		}
		for range len(l.Blocks) + len(l.Tags) {
			w.tags = append(w.tags, next().(*array.Int64Builder))
		}
	}
	w.codes = next().(*array.StringBuilder)
	return w
}

// Begin implements [Writer].
func (w *arrowWriter) Begin(to []byte) []byte { return to }

// Row implements [Writer].
func (w *arrowWriter) Row(to []byte, id string, a *online.Answer) []byte {
	w.id.Append(id)
	if a.Refused {
		w.status.Append(statusRefused)
	} else {
		w.status.Append(statusOK)
	}
	if w.token != nil {
		if a.HasToken && !a.Refused {
			w.token.Append(a.Token[:])
		} else {
			w.token.AppendNull()
		}
	}
	if w.asked.Encodings {
		for i, b := range w.filters {
			if a.Refused || a.Encoded.Filters[i] == nil {
				b.AppendNull()
			} else {
				b.Append(a.Encoded.Filters[i])
			}
		}
		for i, b := range w.tags {
			var tag cohort.Tag
			switch blocks := len(a.Encoded.Blocks); {
			case a.Refused:
			case i < blocks:
				tag = a.Encoded.Blocks[i]
			default:
				tag = a.Encoded.Tags[i-blocks]
			}
			if tag.Present {
				b.Append(tag.Value)
			} else {
				b.AppendNull()
			}
		}
	}
	w.scratch = appendCodes(w.scratch[:0], a)
	w.codes.BinaryBuilder.Append(w.scratch)
	return to
}

// End implements [Writer].
func (w *arrowWriter) End(to []byte, _ Counts) ([]byte, error) {
	record := w.builder.NewRecordBatch()
	defer record.Release()
	out := bytes.NewBuffer(to)
	stream := ipc.NewWriter(out, ipc.WithSchema(w.schema))
	if err := stream.Write(record); err != nil {
		return nil, fmt.Errorf("wire: writing an Arrow record: %w", err)
	}
	if err := stream.Close(); err != nil {
		return nil, fmt.Errorf("wire: ending an Arrow stream: %w", err)
	}
	return out.Bytes(), nil
}

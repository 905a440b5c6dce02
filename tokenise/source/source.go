// Package source reads raw tables of people - CSV, NDJSON and Parquet,
// compressed or not - row by row in bounded memory. The same table gives the
// same rows in whatever format, compression or character encoding it is
// written. A row that cannot be read is handed on with its reason, and reading
// goes on with the next: nothing is lost and nothing ends early.
package source

import (
	"strconv"
	"strings"

	"tarn/tokenise/reason"
)

// Reader reads the data rows of a table, in order.
type Reader interface {
	// Header returns the names of the columns.
	Header() []string
	// Read fills the batch with the next rows, at least one, or returns io.EOF.
	Read(*Batch) error
	// Position returns how far reading is, and the whole, in bytes as they lie on
	// the disk; the whole is 0 where it is not known.
	Position() (done, total int64)
	Input() Input
	Close() error
}

// Formats of tables.
const (
	FormatCSV     = "csv"
	FormatNDJSON  = "ndjson"
	FormatParquet = "parquet"
)

// Input says what is being read.
type Input struct {
	Format      string // FormatCSV, FormatNDJSON or FormatParquet
	Compression string // gzip, zstd or "" for none; not of Parquet
	Delimiter   string // of CSV
	// Encoding is that of CSV and NDJSON, given or found: EncodingUTF8,
	// EncodingWindows1252, EncodingUTF16LE or EncodingUTF16BE. Of standard input
	// it is known for certain only when all was read.
	Encoding  string
	Bytes     int64 // as they lie on the disk; 0 where it is not known
	Rows      int64 // as a Parquet file states them; 0 where it is not known
	HasHeader bool
	// LeftOut is the columns that are not in the header because their values are
	// no text, number or date: objects, lists, fixed binary.
	LeftOut []string
}

// String says how a table is read: csv, delimiter ";", windows-1252, gzip.
func (i Input) String() string {
	parts := []string{i.Format}
	switch i.Delimiter {
	case "":
	case "\t":
		parts = append(parts, "delimiter tab")
	default:
		parts = append(parts, "delimiter "+strconv.Quote(i.Delimiter))
	}
	for _, part := range []string{i.Encoding, i.Compression} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if !i.HasHeader {
		parts = append(parts, "no header")
	}
	return strings.Join(parts, ", ")
}

// Row is one data row.
type Row struct {
	Number  int64       // from 1
	Values  []string    // aligned with Header, without white space around unless Options.Verbatim; missing is ""
	Problem reason.Code // why the row cannot be used, or ""
}

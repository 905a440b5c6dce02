// Package table writes and reads flat Parquet tables the way Tarn promises
// them: columns in the stated order, the same bytes for the same rows, nothing
// under a final name until it is complete, and a damaged file is an error and
// never a panic.
package table

import (
	"fmt"

	"tarn/keys/fault"
)

// RowGroupRows is the number of rows in every row group but the last.
const RowGroupRows = 128 << 10

// File describes a finished file.
type File struct {
	Path   string // as given to Create
	SHA256 string // of the whole file, lower-case hex
	Rows   int64
	Bytes  int64
}

// KeyValue is one entry of a file's metadata.
type KeyValue struct{ Key, Value string }

// recoverInto turns a panic of the Parquet library, which some damaged files
// cause, into an error. The panic's text may quote data and is not used.
func recoverInto(err *error, doing string, kind fault.Kind, next string) {
	if p := recover(); p != nil {
		*err = fault.New(kind, doing, fmt.Sprintf("the file cannot be processed (%T)", p), next)
	}
}

// Package source reads raw tables of people - CSV and Parquet - row by row in
// bounded memory. A row that cannot be read is handed on with its reason, and
// reading goes on with the next: nothing is lost and nothing ends early.
package source

import "tarn/tokenise/reason"

// Reader reads the data rows of a table, in order.
type Reader interface {
	// Header returns the names of the columns.
	Header() []string
	// Read fills the batch with the next rows, at least one, or returns io.EOF.
	Read(*Batch) error
	// Position returns how far reading is, and the whole, in bytes; the whole is
	// 0 where it is not known.
	Position() (done, total int64)
	Input() Input
	Close() error
}

// Input says what is being read.
type Input struct {
	Format    string // csv or parquet
	Delimiter string // of CSV
	Encoding  string // of CSV: utf-8 or windows-1252
	Bytes     int64
	HasHeader bool
}

// Batch is some consecutive rows. Its values belong to the batch until it is
// read into again.
type Batch struct {
	Rows []Row
}

// Row is one data row.
type Row struct {
	Number  int64       // from 1
	Values  []string    // aligned with Header; missing is ""
	Problem reason.Code // why the row cannot be used, or ""
}

package source

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"

	"tarn/keys/fault"
)

// Character encodings of CSV.
const (
	EncodingAuto        = "auto" // UTF-8; rows that are not are refused
	EncodingUTF8        = "utf-8"
	EncodingWindows1252 = "windows-1252"
)

// DefaultMaxRowBytes is the longest row that is read, 1 MiB.
const DefaultMaxRowBytes = 1 << 20

// Options say how a table is written.
type Options struct {
	Delimiter   rune   // of CSV; 0 finds it
	NoHeader    bool   // columns are then column_1, column_2, ..
	Encoding    string // of CSV; "" is auto
	MaxRowBytes int    // 0 is DefaultMaxRowBytes
	Stdin       io.Reader
}

// Open opens the table at path: Parquet if it is that, else CSV. The path "-"
// is CSV on standard input. What is wrong with the table as a whole is of kind
// [fault.Usage].
func Open(path string, o Options) (Reader, error) {
	switch o.Encoding {
	case "", EncodingAuto, EncodingUTF8, EncodingWindows1252:
	default:
		return nil, fault.New(fault.Usage, "reading "+path, "the encoding is not one that is known", "give --encoding auto, utf-8 or windows-1252")
	}
	if path == "-" {
		return newCSV("standard input", o.Stdin, nil, 0, o)
	}
	next := "give the path of a CSV or Parquet file that this user can read with --in"
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "reading "+path, err, next)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fault.New(fault.Usage, "reading "+path, "it is a folder", next)
	} else if err != nil {
		err = fault.Wrap(fault.Usage, "reading "+path, err, next)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	var magic [4]byte
	n, _ := f.ReadAt(magic[:], 0)
	if bytes.Equal(magic[:n], []byte("PAR1")) || strings.EqualFold(filepath.Ext(path), ".parquet") {
		return openParquet(path, f, info.Size())
	}
	r, err := newCSV(path, f, f, info.Size(), o)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return r, nil
}

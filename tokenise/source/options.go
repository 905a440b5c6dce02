package source

import (
	"io"
	"path/filepath"
	"strings"

	"tarn/keys/fault"
	"tarn/tokenise/source/stream"
)

// Character encodings of CSV and NDJSON.
const (
	// EncodingAuto finds the encoding. UTF-16 shows in its byte order mark or in
	// zeros as every other byte. A table that begins with the byte order mark of
	// UTF-8 is UTF-8. CSV without a mark is Windows-1252 where of the characters
	// beyond ASCII fewer than one in twenty is UTF-8 or has no place in
	// Windows-1252, and else UTF-8, whose invalid rows are refused. A file is read
	// for this until 4,096 such characters were seen, or to its end; of standard
	// input what counts is the first row beyond ASCII and the 32 KiB behind it.
	EncodingAuto        = "auto"
	EncodingUTF8        = "utf-8"
	EncodingWindows1252 = "windows-1252"
	EncodingLatin1      = "iso-8859-1" // read as Windows-1252, of which it is a part
	EncodingUTF16LE     = stream.UTF16LE
	EncodingUTF16BE     = stream.UTF16BE
)

// DefaultMaxRowBytes is the longest row that is read, 1 MiB.
const DefaultMaxRowBytes = 1 << 20

// Options say how a table is written. What is not given is found.
type Options struct {
	Delimiter   rune   // of CSV; 0 finds it
	NoHeader    bool   // of CSV: columns are then column_1, column_2, ..
	Encoding    string // of CSV and NDJSON; "" is auto
	MaxRowBytes int    // 0 is DefaultMaxRowBytes
	// Verbatim keeps the white space around cells. In CSV of one column a blank
	// line, which may be a cell with nothing in it, is then a malformed row instead
	// of none.
	Verbatim bool
	Stdin    io.Reader
}

func (o *Options) limit() int {
	if o.MaxRowBytes > 0 {
		return o.MaxRowBytes
	}
	return DefaultMaxRowBytes
}

// streamEncoding returns what a stream shall undo.
func (o *Options) streamEncoding() string {
	if o.Encoding == EncodingAuto {
		return ""
	}
	return o.Encoding
}

func (o *Options) check(path string) error {
	switch o.Encoding {
	case EncodingLatin1:
		o.Encoding = EncodingWindows1252
	case "", EncodingAuto, EncodingUTF8, EncodingWindows1252, EncodingUTF16LE, EncodingUTF16BE:
	default:
		return fault.New(fault.Usage, "reading "+path, "the encoding is not one that is known", "give --encoding auto, utf-8, windows-1252, iso-8859-1, utf-16le or utf-16be")
	}
	if o.Delimiter != 0 && (o.Delimiter > 0x7e || o.Delimiter < ' ' && o.Delimiter != '\t' || o.Delimiter == '"' || o.Delimiter == ' ') {
		return fault.New(fault.Usage, "reading "+path, "the delimiter is not a single ASCII character that may divide fields", "give --delimiter as one of , ; | ~ or tab")
	}
	return nil
}

// Open opens the table at path, which may be compressed with gzip or Zstandard:
// Parquet, NDJSON or CSV, as its first bytes say and, where they say nothing,
// the extension of its name. The path "-" is standard input, which cannot be
// Parquet. What is wrong with the table as a whole is of kind [fault.Usage].
func Open(path string, o Options) (Reader, error) {
	t, err := openText(path, o)
	if err != nil {
		return nil, err
	}
	if t.format == FormatParquet {
		file, size := t.stream.Detach()
		return openParquet(path, file, size, t.options)
	}
	r, err := t.reader()
	if err != nil {
		_ = t.Close() // opened for reading
		return nil, err
	}
	return r, nil
}

// TableName returns a file's name without its extension and that of its
// compression: north for folder/north.csv.gz.
func TableName(path string) string {
	name := unpacked(filepath.Base(path))
	return strings.TrimSuffix(name, filepath.Ext(name))
}

// unpacked returns a file's name without the extension of its compression.
func unpacked(name string) string {
	switch ext := filepath.Ext(name); strings.ToLower(ext) {
	case ".gz", ".gzip", ".zst", ".zstd":
		return strings.TrimSuffix(name, ext)
	}
	return name
}

// extension returns a file's extension, in lower case, without that of its
// compression.
func extension(path string) string {
	return strings.ToLower(filepath.Ext(unpacked(filepath.Base(path))))
}

package source

import (
	"bytes"
	"errors"
	"io"

	"tarn/keys/fault"
	"tarn/tokenise/source/delimited"
	"tarn/tokenise/source/jsonlines"
	"tarn/tokenise/source/stream"
)

// sampleBytes are those that the format and the delimiter are looked for in.
const sampleBytes = 32 << 10

// text is an open table of CSV or NDJSON before its first record.
type text struct {
	path    string
	name    string
	options Options
	stream  *stream.Stream
	window  *stream.Window
	mark    []byte // the byte order mark, as UTF-8
	format  string
	decoder decoder
	ended   bool // the sample is all there is
}

// openText opens a table and finds its format. Of Parquet nothing else is set.
func openText(path string, o Options) (*text, error) {
	if err := o.check(stream.Name(path)); err != nil {
		return nil, err
	}
	s, err := stream.Open(path, o.Stdin, o.streamEncoding())
	if err != nil {
		return nil, err
	}
	t := &text{path: path, name: stream.Name(path), options: o, stream: s}
	if err := t.begin(); err != nil {
		_ = s.Close() // opened for reading
		return nil, err
	}
	return t, nil
}

func (t *text) fault(wrong, next string) error {
	return fault.New(fault.Usage, "reading "+t.name, wrong, next)
}

// wrap gives an error of reading its kind.
func (t *text) wrap(err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	return fault.Wrap(fault.Internal, "reading "+t.name, err, "check the disk, then run again")
}

func (t *text) begin() error {
	magic, err := t.stream.Peek(4)
	if err != nil {
		return t.wrap(err)
	}
	if parquet := string(magic) == "PAR1"; parquet || t.path != stream.Stdin && t.stream.Compression() == "" && extension(t.path) == ".parquet" {
		switch {
		case t.path == stream.Stdin:
			return t.fault("it is Parquet, whose end has to be read first", "save it as a file and give its path with --in")
		case t.stream.Compression() != "":
			return t.fault("it is Parquet within "+t.stream.Compression(), "unpack it: Parquet compresses its columns itself")
		}
		t.format = FormatParquet
		return nil
	}
	t.window = stream.NewWindow(t.stream)
	if t.mark, err = t.window.SkipByteOrderMark(); err != nil {
		return t.wrap(err)
	}
	if err := t.fill(func(b []byte) bool { return len(b) >= sampleBytes }); err != nil {
		return err
	}
	if len(t.window.Bytes()) == 0 {
		return t.fault("it is empty", "give a table with a header row")
	}
	t.findFormat()
	return t.findEncoding()
}

// fill reads on until the window is what is wanted, or the stream ends.
func (t *text) fill(enough func([]byte) bool) error {
	for !t.ended && !enough(t.window.Bytes()) {
		if err := t.window.More(); errors.Is(err, io.EOF) {
			t.ended = true
		} else if err != nil {
			return t.wrap(err)
		}
	}
	return nil
}

func (t *text) findFormat() {
	t.format = FormatCSV
	switch extension(t.path) {
	case ".ndjson", ".jsonl", ".json":
		t.format = FormatNDJSON
	}
	content := bytes.TrimSpace(t.window.Bytes())
	if object, ok := bytes.CutPrefix(content, []byte("{")); ok {
		if object = bytes.TrimSpace(object); len(object) == 0 || object[0] == '"' || object[0] == '}' {
			t.format = FormatNDJSON
		}
	}
	if array, ok := bytes.CutPrefix(content, []byte("[")); ok && bytes.HasPrefix(bytes.TrimSpace(array), []byte("{")) {
		t.format = FormatNDJSON // of the wrong kind, as its reader says
	}
}

func (t *text) findEncoding() error {
	given := t.options.Encoding
	switch {
	case t.stream.Encoding() != "":
		t.decoder.encoding = t.stream.Encoding()
	case t.format == FormatNDJSON && given == EncodingWindows1252:
		return t.fault("NDJSON is UTF-8", "leave --encoding out, or convert it: iconv -f WINDOWS-1252 -t UTF-8")
	case given != "" && given != EncodingAuto:
		t.decoder.encoding = given
	case t.mark != nil || t.format == FormatNDJSON:
		t.decoder.encoding = EncodingUTF8
	case t.stream.Size() > 0:
		var err error
		t.decoder.encoding, err = surveyFile(t.path)
		return err
	}
	return nil
}

// reader returns the reader of the format that was found.
func (t *text) reader() (Reader, error) {
	if t.format == FormatNDJSON {
		r := &ndjsonReader{text: t, scanner: jsonlines.New(t.window, t.options.limit())}
		return r, r.readHeader()
	}
	r, err := t.csv()
	return r, err
}

// csv returns the CSV reader, behind the header.
func (t *text) csv() (*csvReader, error) {
	delimiter := byte(t.options.Delimiter)
	if delimiter == 0 {
		delimiter = findDelimiter(t.window.Bytes()[:min(sampleBytes, len(t.window.Bytes()))])
	}
	r := &csvReader{text: t, delimiter: delimiter, scanner: delimited.New(t.window, delimiter, t.options.limit())}
	return r, r.readHeader()
}

func (t *text) input() Input {
	i := Input{Format: t.format, Compression: t.stream.Compression(), Encoding: t.decoder.encoding, Bytes: t.stream.Size()}
	if i.Encoding == "" {
		i.Encoding = EncodingUTF8 // so far it is all ASCII
	}
	return i
}

// Position implements Reader.
func (t *text) Position() (done, total int64) { return t.stream.Position(), t.stream.Size() }

// Close implements Reader.
func (t *text) Close() error { return t.stream.Close() }

package forward

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	flatbuffers "github.com/google/flatbuffers/go"

	"tarn/tokenise/source/arrowframe"
)

// rowsOf returns what a Parquet table's first rows are sent as.
func rowsOf(t testing.TB, rows int) (preamble []byte, payloads [][]byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "in.parquet")
	parquetRows(t, path, rows, func(int) string { return "" })
	table, err := openParquet(t.Context(), path, "nhs_token")
	if err != nil {
		t.Fatal(err)
	}
	for range rows {
		r, err := table.next()
		if err != nil {
			t.Fatal(err)
		}
		payloads = append(payloads, bytes.Clone(r.payload))
	}
	if err := table.close(); err != nil {
		t.Fatal(err)
	}
	return table.preamble(), payloads
}

// open writes one row of a hostile sender's, and says whether it was taken.
func open(w tableWriter, preamble, payload []byte) error {
	if err := w.begin(preamble); err != nil {
		return err
	}
	if err := w.write([]string{"tarn1"}, [][]byte{payload}); err != nil {
		return err
	}
	return w.end()
}

// TestLengthsOfHostileRows: a message that says that it has gigabytes, that is compressed,
// cut, or of another kind is not given to Arrow.
func TestLengthsOfHostileRows(t *testing.T) {
	preamble, payloads := rowsOf(t, 2)
	if !arrowframe.Whole(preamble, arrowframe.Schema) || !arrowframe.Whole(payloads[0], arrowframe.Record) || !arrowframe.Whole(payloads[1], arrowframe.Record) {
		t.Fatal("true messages are refused")
	}
	size := int(binary.LittleEndian.Uint32(payloads[0][4:]))
	for at := range payloads[0] {
		if arrowframe.Whole(payloads[0][:at], arrowframe.Record) {
			t.Errorf("a message cut at byte %d is let through", at)
		}
	}
	// Wherever it says how long its body is, another length is refused.
	length := binary.LittleEndian.AppendUint64(nil, uint64(len(payloads[0])-8-size))
	found := 0
	for at := 8; at+8 <= 8+size; at++ {
		if !bytes.Equal(payloads[0][at:at+8], length) {
			continue
		}
		found++
		changed := bytes.Clone(payloads[0])
		binary.LittleEndian.PutUint64(changed[at:], 1<<40)
		if arrowframe.Whole(changed, arrowframe.Record) {
			t.Errorf("a body of a terabyte, at byte %d, is let through", at)
		}
	}
	if found == 0 {
		t.Fatal("the length of the body was not found")
	}
	if arrowframe.Whole(preamble, arrowframe.Record) || arrowframe.Whole(payloads[0], arrowframe.Schema) || arrowframe.Whole(append(bytes.Clone(payloads[0]), payloads[1]...), arrowframe.Record) || arrowframe.Whole(nil, arrowframe.Schema) {
		t.Error("a message of another kind, two, or none is let through")
	}
}

// TestLengthsOfHostileSchemas: a name, or a list of fields, that says that it is longer
// than the message; fields that share a long name, which would be copied for each.
func TestLengthsOfHostileSchemas(t *testing.T) {
	preamble, _ := rowsOf(t, 1)
	name := append(binary.LittleEndian.AppendUint32(nil, 5), "visit"...)
	at := bytes.Index(preamble, name)
	if at < 0 {
		t.Fatal("the name of a field was not found")
	}
	for _, length := range []uint32{1 << 20, 1 << 30} {
		changed := bytes.Clone(preamble)
		binary.LittleEndian.PutUint32(changed[at:], length)
		if arrowframe.Whole(changed, arrowframe.Schema) {
			t.Errorf("a name of %d bytes is let through", length)
		}
	}
	for _, tt := range []struct {
		fields  int
		through bool
	}{{1, true}, {100, false}} {
		b := flatbuffers.NewBuilder(0)
		long := b.CreateString(string(bytes.Repeat([]byte("x"), 1<<20)))
		fields := make([]flatbuffers.UOffsetT, tt.fields)
		for i := range fields {
			b.StartObject(7)
			b.PrependUOffsetTSlot(0, long, 0)
			fields[i] = b.EndObject()
		}
		b.StartVector(4, len(fields), 4)
		for _, f := range fields {
			b.PrependUOffsetT(f)
		}
		list := b.EndVector(len(fields))
		b.StartObject(4)
		b.PrependUOffsetTSlot(1, list, 0)
		schema := b.EndObject()
		b.StartObject(5)
		b.PrependByteSlot(1, byte(arrowframe.Schema), 0)
		b.PrependUOffsetTSlot(2, schema, 0)
		b.Finish(b.EndObject())
		head := b.FinishedBytes()
		framed := append(binary.LittleEndian.AppendUint32([]byte{0xff, 0xff, 0xff, 0xff}, uint32(len(head))), head...)
		if arrowframe.Whole(framed, arrowframe.Schema) != tt.through {
			t.Errorf("%d fields that share a name of a megabyte: let through is not %v", tt.fields, tt.through)
		}
	}
}

// TestOffsetsOfHostileRows: a text that says that it ends beyond what is there is refused
// before room is made for it.
func TestOffsetsOfHostileRows(t *testing.T) {
	preamble, payloads := rowsOf(t, 1)
	body := 8 + int(binary.LittleEndian.Uint32(payloads[0][4:]))
	offsets := []byte{0, 0, 0, 0, 2, 0, 0, 0} // of "t0"
	at := bytes.Index(payloads[0][body:], offsets)
	if at < 0 {
		t.Fatal("the place of a text was not found")
	}
	changed := bytes.Clone(payloads[0])
	binary.LittleEndian.PutUint32(changed[body+at+4:], 1<<30)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var out bytes.Buffer
	err := open(&parquetWriter{to: &sink{to: &out}, name: "nhs_token"}, preamble, changed)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, errRow) || after.TotalAlloc-before.TotalAlloc > 1<<28 {
		t.Errorf("%v, after %d MiB", err, (after.TotalAlloc-before.TotalAlloc)>>20)
	}
	if err := open(&parquetWriter{to: &sink{to: &out}, name: "nhs_token"}, preamble, payloads[0]); err != nil {
		t.Errorf("nothing was changed: %v", err)
	}
}

// TestOneArrowRowARow: a message of two rows, or of none, is no row, though the number of
// rows in all is the one that was sent.
func TestOneArrowRowARow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in.parquet")
	parquetRows(t, path, 4, func(int) string { return "" })
	table, err := openParquet(t.Context(), path, "nhs_token")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = table.close() }()
	if _, err := table.next(); err != nil {
		t.Fatal(err)
	}
	rows := func(from, to int64) []byte {
		stream, err := table.stream(table.record.NewSlice(from, to))
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(bytes.TrimSuffix(stream[len(table.before):], endOfStream))
	}
	for name, payloads := range map[string][][]byte{"two and none": {rows(0, 2), rows(2, 2)}, "none and two": {rows(0, 0), rows(0, 2)}, "one each": {rows(0, 1), rows(1, 2)}} {
		var out bytes.Buffer
		w := &parquetWriter{to: &sink{to: &out}, name: "nhs_token"}
		if err := w.begin(table.preamble()); err != nil {
			t.Fatal(err)
		}
		if err := w.write([]string{"tarn1", "tarn1"}, payloads); (err == nil) != (name == "one each") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// textOf returns a row of text as it is sent: its bytes but the cell's, which is at so many.
func textOf(at uint32, rest string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, at), rest...)
}

// TestOneRecordARow: a row that is several lines, none, less than one or more than one, or
// that has its token elsewhere, is none.
func TestOneRecordARow(t *testing.T) {
	const none = 1<<32 - 1
	for _, tt := range []struct {
		format, preamble string
		rows             []string // the token is where % stands
		good             bool
	}{
		{"csv", "id,nhs\r\n", []string{"1,%\r\n", "2,\"%\"\n", "\"a\nb\",%\n"}, true},
		{"csv", "\ufeff\n \nid,nhs\n\n", []string{"1,%\n"}, true},
		{"csv", "nhs\n", []string{"%\n"}, true},
		{"csv", "", []string{"1,%\n", "2,%\n"}, true},
		{"csv", "id,nhs\n", []string{"1,%\n2,x\n"}, false},
		{"csv", "id,nhs\n", []string{"1,%\n\n"}, false},
		{"csv", "id,nhs\n", []string{"1,%"}, false},
		{"csv", "id,nhs\n", []string{"\"1,%\n", "2\",%\n"}, false},
		{"csv", "id,nhs\n", []string{"\"1\n2,%\n"}, false},
		{"csv", "id,nhs\n", []string{"1,%,3\n"}, false},
		{"csv", "", []string{"1,%\n", "2,%,3\n"}, false},
		{"csv", "id,nhs\n", []string{"%,1\n"}, false},
		{"csv", "id,nhs\n", []string{"1,x%\n"}, false},
		{"csv", "id,nhs\n", []string{"1\r2,%\n"}, false},
		{"csv", "id,nhs\n", []string{"1,%\r"}, false},
		{"csv", "id,nhs\n", []string{"1,tarn1none\n"}, false},
		{"csv", "id,nhs\n1,more\n", []string{"1,%\n"}, false},
		{"csv", "id,nhs", []string{"1,%\n"}, false},
		{"csv", "id,\"nhs\n", []string{"1,%\n"}, false},
		{"ndjson", "", []string{`{"id":1,"nhs":%}` + "\n", ` {"nhs": %, "more": {"nhs": [1]}} ` + "\r\n"}, true},
		{"ndjson", "", []string{`{"id":1}` + "\n"}, true},
		{"ndjson", "", []string{`{"nhs":%}` + "\n" + `{"nhs":"x"}` + "\n"}, false},
		{"ndjson", "", []string{`{"nhs":%}`}, false},
		{"ndjson", "", []string{`{"nhs":1}` + "\n"}, false},
		{"ndjson", "", []string{`{"other":%}` + "\n"}, false},
		{"ndjson", "", []string{`{"nhs":[%]}` + "\n"}, false},
		{"ndjson", "", []string{"\n"}, false},
		{"ndjson", `{"nhs":"x"}` + "\n", []string{`{"nhs":%}` + "\n"}, false},
	} {
		m := &manifest{Format: tt.format, Column: "nhs", Preamble: []byte(tt.preamble)}
		if tt.format == "csv" {
			m.Delimiter = ","
		}
		var tokens []string
		var payloads [][]byte
		for _, row := range tt.rows {
			before, after, there := strings.Cut(row, "%")
			at, token := uint32(len(before)), "tarn1x"
			if !there {
				at, token = none, ""
			}
			tokens, payloads = append(tokens, token), append(payloads, textOf(at, before+after))
		}
		var out bytes.Buffer
		w := &textWriter{to: &out, form: newRowForm(m)}
		err := w.begin(m.Preamble)
		if err == nil {
			err = w.write(tokens, payloads)
		}
		if tt.good != (err == nil) || err != nil && !errors.Is(err, errRow) {
			t.Errorf("%s %q %q: %v", tt.format, tt.preamble, tt.rows, err)
		}
		if err != nil && out.Len() > len(tt.preamble) {
			t.Errorf("%q: it is written", tt.rows)
		}
	}
}

// FuzzRowsOfASender: whatever a sender puts into a row, its recipient writes a table or
// says that it is none, and does not end. Of text every row that is written is one record.
func FuzzRowsOfASender(f *testing.F) {
	preamble, payloads := rowsOf(f, 1)
	f.Add(preamble, payloads[0], "parquet")
	f.Add([]byte("a,b\n"), []byte("\x00\x00\x00\x01,x\n"), "csv")
	f.Add([]byte("nhs_token,b\n"), textOf(0, ",x\n2,x\n"), "csv")
	f.Add([]byte(nil), []byte("\xff\xff\xff\xff{}\n"), "ndjson")
	f.Add([]byte(nil), textOf(13, `{"nhs_token":}`+"\n{}\n"), "ndjson")
	f.Fuzz(func(t *testing.T, preamble, payload []byte, format string) {
		var out bytes.Buffer
		var w tableWriter = &parquetWriter{to: &sink{to: &out}, name: "nhs_token"}
		if format != "parquet" {
			m := &manifest{Format: format, Column: "nhs_token", Preamble: preamble}
			if format == "csv" {
				m.Delimiter = ","
			}
			w = &textWriter{to: &out, form: newRowForm(m)}
		}
		err := open(w, preamble, payload)
		if err != nil && !errors.Is(err, errRow) {
			t.Fatal(err)
		}
		if err != nil || format != "csv" {
			return
		}
		r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(out.Bytes(), []byte("\ufeff"))))
		r.FieldsPerRecord = -1
		records, err := r.ReadAll()
		if most := 2; err != nil || len(records) > most {
			t.Fatalf("%q is %d records, %v", out.Bytes(), len(records), err)
		}
	})
}

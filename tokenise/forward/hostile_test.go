package forward

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
	"runtime"
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

// FuzzRowsOfASender: whatever a sender puts into a row, its recipient writes a table or
// says that it is none, and does not end.
func FuzzRowsOfASender(f *testing.F) {
	preamble, payloads := rowsOf(f, 1)
	f.Add(preamble, payloads[0], false)
	f.Add([]byte("a,b\n"), []byte("\x00\x00\x00\x01,x\n"), true)
	f.Add([]byte(nil), []byte("\xff\xff\xff\xff{}\n"), true)
	f.Fuzz(func(t *testing.T, preamble, payload []byte, text bool) {
		var out bytes.Buffer
		var w tableWriter = &parquetWriter{to: &sink{to: &out}, name: "nhs_token"}
		if text {
			w = &textWriter{to: &out, json: true}
		}
		if err := open(w, preamble, payload); err != nil && !errors.Is(err, errRow) {
			t.Fatal(err)
		}
	})
}

package escrowfile_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"tarn/keys"
	"tarn/keys/escrow"
	"tarn/tokenise/escrow/escrowfile"
)

var update = flag.Bool("update", false, "write testdata/formats anew")

// golden is a file of two batches, as every later version reads it.
const golden = "../../../testdata/formats/2026-11-26/escrow/north.escrow"

var when = time.Date(2026, 11, 26, 1, 2, 3, 4e6, time.UTC)

func header(batches int) *escrowfile.Header {
	h := &escrowfile.Header{Context: escrow.Context{Project: "study", Domain: "lake", TokenEpoch: 3, HolderKeyID: strings.Repeat("0a", 16)}, At: when}
	for i := range batches {
		h.Batches = append(h.Batches, escrowfile.Batch{ID: [16]byte{byte(i + 1)}, Enc: bytes.Repeat([]byte{byte(i)}, escrow.EncSize)})
	}
	return h
}

func items(n int) (all []escrowfile.Item) {
	for i := range n {
		item := escrowfile.Item{Index: uint32(i), Sealed: [escrow.SealedSize]byte{9, byte(i)}}
		binary.BigEndian.PutUint32(item.Token[:], uint32(i))
		all = append(all, item)
	}
	return all
}

func written(t testing.TB, h *escrowfile.Header, all []escrowfile.Item) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := escrowfile.NewWriter(&out, h)
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if err := w.Append(&all[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(); err != nil || w.Count() != uint64(len(all)) {
		t.Fatalf("%d items, %v", w.Count(), err)
	}
	return out.Bytes()
}

func read(in io.Reader) (*escrowfile.Header, []escrowfile.Item, error) {
	r, err := escrowfile.NewReader(in)
	if err != nil {
		return nil, nil, err
	}
	var all []escrowfile.Item
	for {
		some, err := r.Next()
		if errors.Is(err, io.EOF) {
			if _, err := r.Next(); !errors.Is(err, io.EOF) || r.Count() != uint64(len(all)) {
				return nil, nil, errors.New("the end is not the end")
			}
			return r.Header(), all, nil
		}
		if err != nil {
			return nil, nil, err
		}
		all = append(all, some...)
	}
}

func same(a, b *escrowfile.Header) bool {
	return a.Context == b.Context && a.At.Equal(b.At) && slices.EqualFunc(a.Batches, b.Batches, func(x, y escrowfile.Batch) bool { return x.ID == y.ID && bytes.Equal(x.Enc, y.Enc) })
}

// TestWhatIsWrittenIsRead, with any number of items and batches.
func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.SampledFrom([]int{0, 1, 2, 4095, 4096, 4097, 8192, 9000}).Draw(r, "items")
		h := header(rapid.IntRange(1, 3).Draw(r, "batches"))
		all := items(n)
		for i := range all {
			all[i].Batch = uint32(i % len(h.Batches))
		}
		b := written(t, h, all)
		got, found, err := read(iotest.HalfReader(bytes.NewReader(b)))
		if err != nil || !same(got, h) || !slices.Equal(found, all) {
			r.Fatalf("%d items of %d, %v", len(found), n, err)
		}
		if got, count, err := escrowfile.Check(bytes.NewReader(b)); err != nil || count != uint64(n) || !same(got, h) {
			r.Fatalf("checked %d of %d, %v", count, n, err)
		}
	})
}

// TestGoldenFile: the file of this version is what it was.
func TestGoldenFile(t *testing.T) {
	h := header(2)
	all := items(3)
	all[1].Batch = 1
	b := written(t, h, all)
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(golden), 0o755), os.WriteFile(golden, b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || !bytes.Equal(b, want) {
		t.Fatalf("%d bytes, want %d, %v", len(b), len(want), err)
	}
	const head = 8 + 2 + 5 + 2 + 4 + 4 + 16 + 8 + 4
	if size := head + 2*(16+1120) + 4 + 3*66 + 4 + 8 + 32; len(b) != size {
		t.Errorf("%d bytes, and the document says %d", len(b), size)
	}
	got, found, err := read(bytes.NewReader(want))
	if err != nil || !same(got, h) || !slices.Equal(found, all) {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestWhatIsNotAsItWasWritten is refused: a bit of every byte flipped, every length cut off, what is
// behind the end, files joined, blocks in another order or taken out.
func TestWhatIsNotAsItWasWritten(t *testing.T) {
	whole := written(t, header(1), items(5))
	refused := func(what string, b []byte) {
		t.Helper()
		_, _, err := read(bytes.NewReader(b))
		if !errors.Is(err, escrowfile.ErrDamaged) && !errors.Is(err, escrowfile.ErrOther) {
			t.Errorf("%s: %v", what, err)
		}
		if _, _, checked := escrowfile.Check(bytes.NewReader(b)); !errors.Is(checked, err) {
			t.Errorf("%s: %v, and checked %v", what, err, checked)
		}
	}
	if _, _, err := read(bytes.NewReader(whole)); err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1 << (i % 8)
		refused("flipped", b)
	}
	for n := range len(whole) {
		refused("cut off", whole[:n])
	}
	// Whose digest is right, and what is in it is not.
	counted := bytes.Clone(whole)
	counted[len(whole)-32-1]++
	sum := sha256.Sum256(counted[:len(whole)-32])
	refused("another count", append(counted[:len(whole)-32], sum[:]...))
	refused("longer", append(bytes.Clone(whole), 0))
	refused("joined", append(bytes.Clone(whole), whole...))

	const block = 4 + 4096*66
	long := written(t, header(1), items(2*4096))
	first := len(long) - 4 - 8 - 32 - 2*block
	a, b, end := long[first:][:block], long[first+block:][:block], long[first+2*block:]
	refused("another order", slices.Concat(long[:first], b, a, end))
	refused("a block less", slices.Concat(long[:first], b, end))
	refused("a block twice", slices.Concat(long[:first], a, a, b, end))
	refused("nothing", nil)
	refused("another format", []byte("PAR1 and more than eight bytes"))
}

// TestWriterRefuses what could not be read again.
func TestWriterRefuses(t *testing.T) {
	for name, change := range map[string]func(*escrowfile.Header){
		"no project":       func(h *escrowfile.Header) { h.Project = "" },
		"a domain of none": func(h *escrowfile.Header) { h.Domain = "A" },
		"no epoch":         func(h *escrowfile.Header) { h.TokenEpoch = 0 },
		"a long epoch":     func(h *escrowfile.Header) { h.TokenEpoch = 1 << 16 },
		"no key":           func(h *escrowfile.Header) { h.HolderKeyID = "" },
		"capitals":         func(h *escrowfile.Header) { h.HolderKeyID = strings.ToUpper(h.HolderKeyID) },
		"a short enc":      func(h *escrowfile.Header) { h.Batches[0].Enc = h.Batches[0].Enc[1:] },
		"many batches":     func(h *escrowfile.Header) { h.Batches = make([]escrowfile.Batch, escrowfile.MaxBatches+1) },
		"before all":       func(h *escrowfile.Header) { h.At = time.Unix(-1, 0) },
	} {
		h := header(1)
		change(h)
		if _, err := escrowfile.NewWriter(io.Discard, h); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	w, err := escrowfile.NewWriter(io.Discard, header(1))
	if err != nil {
		t.Fatal(err)
	}
	all := items(3)
	all[2].Batch = 1
	for i, ok := range map[int]bool{1: true} {
		if err := w.Append(&all[i]); (err == nil) != ok {
			t.Errorf("item %d: %v", i, err)
		}
	}
	for _, i := range []int{0, 1, 2} { // before the last, the last again, of no batch
		if w.Append(&all[i]) == nil {
			t.Errorf("item %d is taken after item 1", i)
		}
	}
}

// FuzzReader: what is read is written again to the same bytes, and nothing is fatal.
func FuzzReader(f *testing.F) {
	whole := written(f, header(1), items(2))
	f.Add(whole)
	f.Add(whole[:70])
	f.Add(written(f, header(0), nil))
	f.Add(append(bytes.Clone(whole[:8]), 0xff, 0xff))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, all, err := read(bytes.NewReader(b))
		if err != nil {
			return
		}
		if !bytes.Equal(written(t, h, all), b) {
			t.Fatal("one file has two forms")
		}
	})
}

// TestFilesOpen: what lies in a file is the envelope of keys/escrow, as another
// implementation made it.
func TestFilesOpen(t *testing.T) {
	var known struct {
		EscrowKey, TokenKey, Batch, Enc, Token, Sealed string
		Number, KeyID, Project, Domain                 string
		Index, TokenEpoch                              uint32
	}
	document, err := os.ReadFile("../../../keys/escrow/testdata/envelope.json")
	if err == nil {
		err = json.Unmarshal(document, &known)
	}
	if err != nil {
		t.Fatal(err)
	}
	h := &escrowfile.Header{Context: escrow.Context{Project: known.Project, Domain: known.Domain, TokenEpoch: known.TokenEpoch, HolderKeyID: known.KeyID}, At: when,
		Batches: []escrowfile.Batch{{ID: [16]byte(unhex(t, known.Batch)), Enc: unhex(t, known.Enc)}}}
	item := escrowfile.Item{Token: [keys.TokenSize]byte(unhex(t, known.Token)), Index: known.Index, Sealed: [escrow.SealedSize]byte(unhex(t, known.Sealed))}
	h, all, err := read(bytes.NewReader(written(t, h, []escrowfile.Item{item})))
	if err != nil {
		t.Fatal(err)
	}
	private, err := escrow.KEM().NewPrivateKey(unhex(t, known.EscrowKey))
	if err != nil {
		t.Fatal(err)
	}
	e := escrow.Envelope{HolderKeyID: h.HolderKeyID, Batch: h.Batches[0].ID, Enc: h.Batches[0].Enc, Index: all[0].Index, Token: all[0].Token, Sealed: all[0].Sealed[:]}
	token, err := keys.ParseKey(known.TokenKey)
	if err != nil {
		t.Fatal(err)
	}
	number, err := e.Open(private, h.Context, keys.TokenDeriver(token, known.Domain, known.TokenEpoch).MAC())
	if err != nil || string(number[:]) != known.Number {
		t.Errorf("it opens to another number, %v", err)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

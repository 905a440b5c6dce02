package witness_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"tarn/keys/audit/checkpoint"
	"tarn/keys/audit/witness"
	"tarn/keys/audit/witness/witnesstest"
	"tarn/keys/fault"
)

// logOf is a log in memory, with x/mod's proofs.
type logOf struct {
	t        *testing.T
	signer   note.Signer
	verifier note.Verifier
	hashes   []tlog.Hash // stored hashes
	size     int64
}

func newLog(t *testing.T, origin string) *logOf {
	t.Helper()
	private, public, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	l := &logOf{t: t}
	if l.signer, err = note.NewSigner(private); err == nil {
		l.verifier, err = checkpoint.Verifier(public)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// ReadHashes implements tlog.HashReader.
func (l *logOf) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		out[i] = l.hashes[index]
	}
	return out, nil
}

func (l *logOf) grow(entries ...string) *logOf {
	for _, entry := range entries {
		hashes, err := tlog.StoredHashes(l.size, []byte(entry), l)
		if err != nil {
			l.t.Fatal(err)
		}
		l.hashes, l.size = append(l.hashes, hashes...), l.size+1
	}
	return l
}

// copied is a log that goes its own way.
func (l *logOf) copied(size int64) *logOf {
	c := *l
	c.size, c.hashes = size, append([]tlog.Hash{}, l.hashes[:tlog.StoredHashCount(size)]...)
	return &c
}

func (l *logOf) checkpoint() []byte {
	root, err := tlog.TreeHash(l.size, l)
	if err != nil {
		l.t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: string(log.Checkpoint{Origin: l.signer.Name(), Size: uint64(l.size), Hash: root[:]}.Marshal())}, l.signer)
	if err != nil {
		l.t.Fatal(err)
	}
	return signed
}

func (l *logOf) since(old int64) (proof [][]byte) {
	if old == 0 || old > l.size {
		return nil
	}
	hashes, err := tlog.ProveTree(l.size, old, l)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, hash := range hashes {
		proof = append(proof, hash[:])
	}
	return proof
}

func serve(t *testing.T, folder string, w witnesstest.Key, logs ...note.Verifier) *witness.Client {
	t.Helper()
	service, err := witness.New(folder, w.Signer, w.Verifier, logs)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(service.Handler(slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Close)
	return witness.NewClient(server.URL, server.Client())
}

// TestWitnessSignsWhatFollows: growth is signed and the signature is right; a log
// that was rolled back, forked or made again is not signed, by a witness that has
// been started again either.
func TestWitnessSignsWhatFollows(t *testing.T) {
	folder := t.TempDir()
	l := newLog(t, "tarn.example/log/1").grow("a", "b", "c")
	w := witnesstest.New(t, "witness.example")
	c := serve(t, folder, w, l.verifier)
	sign := func(old int64, l *logOf) error {
		signed := l.checkpoint()
		signature, err := c.Add(t.Context(), uint64(old), l.since(old), signed)
		if err == nil {
			opened, err := checkpoint.Open(append(signed, signature...), l.verifier, w.Verifier)
			if err != nil || opened.Cosigned["witness.example"].IsZero() {
				t.Fatalf("the signature is wrong: %v", err)
			}
		}
		return err
	}
	rolledBack := l.copied(2)
	for _, err := range []error{sign(0, l), sign(3, l), sign(3, l.grow("d", "e"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var conflict *witness.Conflict
	if err := sign(3, l.grow("f")); !errors.As(err, &conflict) || conflict.Size != 5 {
		t.Errorf("from a size that is not the last: %v", err)
	}
	if err := sign(5, l); err != nil {
		t.Fatal(err)
	}
	again, err := witness.New(folder, w.Signer, w.Verifier, []note.Verifier{l.verifier})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(again.Handler(slog.New(slog.DiscardHandler)))
	defer server.Close()
	c = witness.NewClient(server.URL, server.Client())
	if err := sign(0, rolledBack); !errors.As(err, &conflict) || conflict.Size != 6 {
		t.Errorf("rolled back: %v", err)
	}
	forked := l.copied(5).grow("another", "and more")
	if err := sign(6, forked); !errors.Is(err, witness.ErrProof) {
		t.Errorf("forked: %v", err)
	}
	same := l.copied(5).grow("another")
	if err := sign(6, same); !errors.Is(err, witness.ErrProof) {
		t.Errorf("another log of the same size: %v", err)
	}
	if err := sign(6, l.grow("g")); err != nil {
		t.Errorf("control: growth is not signed: %v", err)
	}
}

func TestWitnessRefusals(t *testing.T) {
	l, stranger := newLog(t, "known"), newLog(t, "stranger").grow("a")
	l.grow("a", "b")
	w := witnesstest.New(t, "w")
	c := serve(t, t.TempDir(), w, l.verifier)
	impostor := newLog(t, "known").grow("a", "b")
	for name, tt := range map[string]struct {
		l   *logOf
		old uint64
	}{"an unknown log": {stranger, 0}, "the name of another": {impostor, 0}, "old beyond the size": {l, 3}} {
		if _, err := c.Add(t.Context(), tt.old, nil, tt.l.checkpoint()); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Add(t.Context(), 0, [][]byte{make([]byte, 32)}, l.checkpoint()); !errors.Is(err, witness.ErrProof) {
		t.Errorf("a proof from nothing: %v", err)
	}
	gone := witness.NewClient("http://127.0.0.1:1", http.DefaultClient)
	if _, err := gone.Add(t.Context(), 0, nil, l.checkpoint()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a witness that is away: %v", err)
	}
}

// TestWitnessMemoryIsHeldToTheLog: what a witness finds of its own memory must be
// signed by the log and by itself.
func TestWitnessMemoryIsHeldToTheLog(t *testing.T) {
	folder := t.TempDir()
	l := newLog(t, "known").grow("a", "b")
	w := witnesstest.New(t, "w")
	other := witnesstest.New(t, "w2")
	c := serve(t, folder, w, l.verifier)
	if _, err := c.Add(t.Context(), 0, nil, l.checkpoint()); err != nil {
		t.Fatal(err)
	}
	if _, err := witness.New(folder, w.Signer, w.Verifier, []note.Verifier{l.verifier}); err != nil {
		t.Fatal(err)
	}
	if _, err := witness.New(folder, other.Signer, other.Verifier, []note.Verifier{l.verifier}); fault.KindOf(err) != fault.Disagreement {
		t.Errorf("memory of another witness: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.checkpoint"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], bytes.Replace(b, []byte("\n2\n"), []byte("\n1\n"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := witness.New(folder, w.Signer, w.Verifier, []note.Verifier{l.verifier}); fault.KindOf(err) != fault.Disagreement {
		t.Errorf("memory that was changed: %v", err)
	}
}

// FuzzAdd: no request breaks a witness, and none is signed that the log did not
// sign.
func FuzzAdd(f *testing.F) {
	private, public, err := note.GenerateKey(rand.Reader, "known")
	if err != nil {
		f.Fatal(err)
	}
	_ = private // the log signs nothing here
	verifier, err := checkpoint.Verifier(public)
	if err != nil {
		f.Fatal(err)
	}
	key := witnesstest.New(f, "w")
	w, err := witness.New(f.TempDir(), key.Signer, key.Verifier, []note.Verifier{verifier})
	if err != nil {
		f.Fatal(err)
	}
	hash := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for _, seed := range []string{"", "old 0\n\n", "old 1\n" + hash + "\n\nknown\n1\n" + hash + "\n\n— known AAAA\n", "old 01\n\nknown\n", "old -1\n\n", strings.Repeat("old", 1000), fmt.Sprintf("old 0\n\nknown\n0\n%s\n", hash)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		if signature, err := w.Add(request); err == nil {
			t.Fatalf("signed %q", signature)
		}
	})
}

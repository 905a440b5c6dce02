package appender_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"

	"tarn/keys/audit"
	"tarn/keys/audit/appender"
	"tarn/keys/audit/checkpoint"
	"tarn/keys/audit/tiles"
	"tarn/keys/audit/verify"
	"tarn/keys/audit/witness"
	"tarn/keys/audit/witness/witnesstest"
	"tarn/keys/fault"
)

func newOptions(t *testing.T) appender.Options {
	t.Helper()
	private, public, err := note.GenerateKey(rand.Reader, "tarn.example/log/1")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return appender.Options{Folder: filepath.Join(t.TempDir(), "log"), Signer: signer, Verifier: public, HTTP: http.DefaultClient}
}

func open(t *testing.T, o appender.Options) *appender.Appender {
	t.Helper()
	a, err := appender.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func closed(t *testing.T, a *appender.Appender) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := a.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

func leaves(t *testing.T, from, n int) (all [][]byte) {
	t.Helper()
	for i := range n {
		b, err := audit.Leaf{Kind: audit.KindLease, Count: int64(from + i + 1), Time: audit.FormatTime(time.Date(2026, 1, 1, 0, 0, from+i, 0, time.UTC))}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// TestAppendedIsVerified: what is appended over several openings is in the tree,
// in order, proven and signed, and the auditor's verification finds it whole.
func TestAppendedIsVerified(t *testing.T) {
	o := newOptions(t)
	size := 0
	for _, n := range []int{1, 300, 7} {
		a := open(t, o)
		if had, err := a.Size(t.Context()); err != nil || had != uint64(size) {
			t.Fatalf("%d entries, want %d: %v", had, size, err)
		}
		entries := leaves(t, size, n)
		if err := a.Append(t.Context(), uint64(size), entries); err != nil {
			t.Fatal(err)
		}
		size += n
		if err := a.Append(t.Context(), uint64(size)+5, leaves(t, size, 1)); err == nil {
			t.Error("an entry got a place that was not its own, and it was not noticed")
		}
		size++
		signed, err := a.Covering(t.Context(), uint64(size))
		if err != nil {
			t.Fatal(err)
		}
		key, err := checkpoint.Verifier(o.Verifier)
		if err != nil {
			t.Fatal(err)
		}
		c, err := checkpoint.Open(signed, key)
		if err != nil || c.Size != uint64(size) {
			t.Fatalf("the checkpoint: %+v, %v", c, err)
		}
		hashes, err := a.Inclusion(t.Context(), uint64(size-2), c.Size)
		if err != nil {
			t.Fatal(err)
		}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(size-2), c.Size, rfc6962.DefaultHasher.HashLeaf(entries[n-1]), hashes, c.Root[:]); err != nil {
			t.Errorf("the proof of entry %d: %v", size-2, err)
		}
		closed(t, a)
	}
	r, err := verify.Log(t.Context(), o.Folder, verify.Options{})
	if err != nil || !r.Whole() || r.Size != uint64(size) || !r.OwnKeys {
		t.Errorf("%+v, %v", r, err)
	}
	// Control: one byte of one entry.
	damage(t, o.Folder)
	if r, err = verify.Log(t.Context(), o.Folder, verify.Options{Key: o.Verifier}); err != nil || r.First == nil || r.First.What != verify.Changed {
		t.Errorf("control: %+v, %v", r, err)
	}
}

func damage(t *testing.T, folder string) {
	t.Helper()
	path := filepath.Join(folder, "tile", "entries", "000")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = []byte(strings.Replace(string(b), `"count":7`, `"count":8`, 1))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestWitnessedLogCannotBeRolledBack: a log is cosigned as it grows; one that was
// put back to an earlier state, whole in itself, and one that was made anew are
// refused when they are opened, and one whose witness is away is, too.
func TestWitnessedLogCannotBeRolledBack(t *testing.T) {
	o := newOptions(t)
	w := witnesstest.New(t, "witness.example")
	key, err := checkpoint.Verifier(o.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	service, err := witness.New(t.TempDir(), w.Signer, w.Verifier, []note.Verifier{key})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(service.Handler(slog.New(slog.DiscardHandler)))
	defer server.Close()
	o.WitnessURL, o.WitnessKey = server.URL, w.Public
	grow := func(o appender.Options, from, n int) {
		t.Helper()
		a := open(t, o)
		defer closed(t, a)
		if err := a.Append(t.Context(), uint64(from), leaves(t, from, n)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := a.Covering(ctx, uint64(from+n)); err != nil {
			t.Fatalf("no checkpoint with the witness's signature: %v", err)
		}
	}
	grow(o, 0, 10)
	earlier := t.TempDir()
	if err := os.CopyFS(filepath.Join(earlier, "log"), os.DirFS(o.Folder)); err != nil {
		t.Fatal(err)
	}
	grow(o, 10, 600)
	check := func(o appender.Options) error {
		a := open(t, o)
		defer closed(t, a)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		return a.CheckWitness(ctx)
	}
	if err := check(o); err != nil {
		t.Fatalf("control: a log that only grew: %v", err)
	}
	r, err := verify.Log(t.Context(), o.Folder, verify.Options{Key: o.Verifier, Witnesses: []string{w.Public}})
	if err != nil || !r.Whole() || len(r.Cosigned) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	seen, err := tiles.Open(o.Folder).Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	rolledBack := o
	rolledBack.Folder = filepath.Join(earlier, "log")
	if err := check(rolledBack); fault.KindOf(err) != fault.Disagreement || !strings.Contains(err.Error(), "610 entries, and the log has 10") {
		t.Errorf("rolled back: %v", err)
	}
	if r, err := verify.Log(t.Context(), rolledBack.Folder, verify.Options{Seen: seen}); err != nil || r.RolledBack == "" || r.Whole() {
		t.Errorf("an auditor that had seen it: %+v, %v", r, err)
	}
	anew := o
	anew.Folder, anew.WitnessURL = filepath.Join(t.TempDir(), "log"), ""
	a := open(t, anew)
	if err := a.Append(t.Context(), 0, leaves(t, 5, 700)); err != nil {
		t.Fatal(err)
	}
	closed(t, a)
	anew.WitnessURL = server.URL
	if err := check(anew); fault.KindOf(err) != fault.Disagreement {
		t.Errorf("made anew: %v", err)
	}
	if r, err := verify.Log(t.Context(), anew.Folder, verify.Options{Seen: seen}); err != nil || r.RolledBack == "" {
		t.Errorf("an auditor that had seen another: %+v, %v", r, err)
	}
	o.WitnessURL = "http://127.0.0.1:1"
	if err := check(o); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a witness that is away: %v", err)
	}
}

func BenchmarkAppend(b *testing.B) {
	private, public, err := note.GenerateKey(rand.Reader, "bench")
	if err != nil {
		b.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		b.Fatal(err)
	}
	a, err := appender.Open(b.Context(), appender.Options{Folder: b.TempDir(), Signer: signer, Verifier: public})
	if err != nil {
		b.Fatal(err)
	}
	n := uint64(0)
	for b.Loop() {
		if err := a.Append(b.Context(), n, [][]byte{fmt.Appendf(nil, "%0300d", n)}); err != nil {
			b.Fatal(err)
		}
		n++
	}
}

// TestManyEntriesKeepTheirOrder: more entries at once than the library writes as one
// batch are in the log in their order.
func TestManyEntriesKeepTheirOrder(t *testing.T) {
	a := open(t, newOptions(t))
	defer closed(t, a)
	const many = 4096
	for round := range 3 {
		if err := a.Append(t.Context(), uint64(round*many), leaves(t, round*many, many)); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	if size, err := a.Size(t.Context()); err != nil || size != 3*many {
		t.Errorf("%d entries, %v", size, err)
	}
}

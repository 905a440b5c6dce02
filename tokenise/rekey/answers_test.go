package rekey_test

import (
	"bytes"
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/tokenise/rekey"
)

// record is a project's record of an epoch.
func record(name, domain string, number, epoch uint32, public string) *keys.Project {
	return &keys.Project{Name: name, Domain: domain, Scheme: keys.SchemeOblivious, Keys: keys.KeySet{DomainNo: number, TokenEpoch: epoch, TokenPublicKey: &public}}
}

func rotation() rekey.Run {
	return rekey.Run{Operation: "rotate", Project: "study", From: record("study", "lake", 1, 1, "aa"), To: record("study", "lake", 1, 2, "bb"), In: "visits.csv"}
}

// seeded is randomness that is known.
func seeded() *bytes.Reader { return bytes.NewReader(bytes.Repeat([]byte{7}, 32)) }

func must(t interface {
	Helper()
	Fatal(...any)
}, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, path string) *rekey.Answers {
	t.Helper()
	a, err := rekey.OpenAnswers(path, rotation(), seeded())
	must(t, err)
	return a
}

// id and answer are those of the i-th batch, of i+1 tokens.
func id(i int) (id uuid.UUID) {
	binary.BigEndian.PutUint64(id[:], uint64(i)+1)
	return id
}

func answer(i int) (tokens [][keys.TokenSize]byte) {
	for j := range i + 1 {
		tokens = append(tokens, [keys.TokenSize]byte{byte(i), byte(j), 1})
	}
	return tokens
}

// asked says that something was asked, so that closing leaves the journal.
func asked(t *testing.T, a *rekey.Answers) {
	t.Helper()
	if _, known, err := a.Get(uuid.UUID{1}, 1); known || err != nil {
		t.Fatal(known, err)
	}
}

func isKnown(t *testing.T, a *rekey.Answers, i int) bool {
	t.Helper()
	got, known, err := a.Get(id(i), i+1)
	must(t, err)
	if known && !slices.Equal(got, answer(i)) {
		t.Fatalf("batch %d has other tokens than were kept", i)
	}
	return known
}

// journal returns the bytes of a journal of so many batches, and where each begins, with
// the end at last.
func journal(t *testing.T, batches int) (content []byte, starts []int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out.transfer")
	a := open(t, path)
	asked(t, a)
	for i := range batches {
		content, err := os.ReadFile(path)
		must(t, err)
		starts = append(starts, len(content))
		must(t, a.Put(id(i), answer(i)))
	}
	must(t, a.Close())
	content, err := os.ReadFile(path)
	must(t, err)
	return content, append(starts, len(content))
}

// TestAnswersAreKept over runs, for their owner alone, and are gone when a run succeeds.
func TestAnswersAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.transfer")
	a := open(t, path)
	if a.Known() != 0 || isKnown(t, a, 3) {
		t.Error("a journal that was just begun knows something")
	}
	must(t, a.Put(id(3), answer(3)))
	must(t, a.Put(id(3), answer(3)))
	must(t, a.Put(id(0), answer(0)))
	if !isKnown(t, a, 3) {
		t.Error("what was kept is not known in the same run")
	}
	if _, known, _ := a.Get(id(3), 3); known {
		t.Error("a batch of another number of tokens is known")
	}
	if a.Put(id(9), nil) == nil {
		t.Error("a batch of nothing is kept")
	}
	seed := a.Seed().Derive([]byte("x"))
	if _, err := rekey.OpenAnswers(path, rotation(), seeded()); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "another run is writing") {
		t.Errorf("opened twice: %v", err)
	}
	must(t, a.Close())
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	b, err := rekey.OpenAnswers(path, rotation(), bytes.NewReader(nil)) // no randomness is needed
	must(t, err)
	if b.Known() != 5 || !isKnown(t, b, 0) || !isKnown(t, b, 3) || isKnown(t, b, 1) {
		t.Errorf("%d tokens are known", b.Known())
	}
	if !b.Seed().Derive([]byte("x")).Equal(seed) {
		t.Error("the seed is another")
	}
	must(t, b.Remove())
	must(t, b.Close())
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	// Of a run that was refused before it asked for anything nothing is left.
	must(t, open(t, path).Close())
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
		t.Errorf("left of a run that asked for nothing: %v", left)
	}
}

// TestTornTail: of a journal that ends anywhere, as that of a process that was killed, the
// whole records are known, and it goes on from there.
func TestTornTail(t *testing.T) {
	const batches = 4
	content, starts := journal(t, batches)
	folder := t.TempDir()
	for length := range len(content) + 1 {
		path := filepath.Join(folder, "out.transfer")
		must(t, os.WriteFile(path, content[:length], 0o600))
		a := open(t, path)
		whole := 0
		for whole < batches && starts[whole+1] <= length {
			whole++
		}
		want := int64(whole * (whole + 1) / 2)
		if a.Known() != want {
			t.Fatalf("of %d bytes %d tokens are known, want %d", length, a.Known(), want)
		}
		for i := range batches {
			if known := isKnown(t, a, i); known != (i < whole) {
				t.Fatalf("of %d bytes batch %d is known: %v", length, i, known)
			}
			must(t, a.Put(id(i), answer(i)))
		}
		must(t, a.Close())
		again, err := os.ReadFile(path)
		must(t, err)
		if !bytes.Equal(again, content) {
			t.Fatalf("gone on from %d bytes it is another journal", length)
		}
		must(t, os.Remove(path))
	}
}

// TestFlippedBytes: a record with one wrong bit is not believed, nor what follows it, and
// a header is refused; what came before stays known.
func TestFlippedBytes(t *testing.T) {
	const batches = 3
	content, starts := journal(t, batches)
	path := filepath.Join(t.TempDir(), "out.transfer")
	for at := range content {
		flipped := bytes.Clone(content)
		flipped[at] ^= 1 << (at % 8)
		must(t, os.WriteFile(path, flipped, 0o600))
		a, err := rekey.OpenAnswers(path, rotation(), seeded())
		if at < starts[0] {
			if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "remove it") {
				t.Fatalf("byte %d of the header: %v", at, err)
			}
			continue
		}
		must(t, err)
		for i := range batches {
			if known := isKnown(t, a, i); known != (starts[i+1] <= at) {
				t.Fatalf("byte %d: batch %d is known: %v", at, i, known)
			}
		}
		must(t, a.Close())
	}
	// One that is damaged while it is open is asked again, and kept again.
	must(t, os.WriteFile(path, content, 0o600))
	a := open(t, path)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("x"), int64(starts[1]+30))
	must(t, err)
	must(t, f.Close())
	if isKnown(t, a, 1) || !isKnown(t, a, 0) || !isKnown(t, a, 2) {
		t.Error("what was damaged is known, or what was not is not")
	}
	must(t, a.Put(id(1), answer(1)))
	if !isKnown(t, a, 1) {
		t.Error("it is not kept again")
	}
	must(t, a.Close())
}

// TestMovedRecords: a record is believed only where it was written.
func TestMovedRecords(t *testing.T) {
	content, starts := journal(t, 2)
	moved := slices.Concat(content[:starts[0]], content[starts[1]:], content[starts[0]:starts[1]])
	path := filepath.Join(t.TempDir(), "out.transfer")
	must(t, os.WriteFile(path, moved, 0o600))
	a := open(t, path)
	defer func() { must(t, a.Close()) }()
	if a.Known() != 0 {
		t.Errorf("%d tokens are known", a.Known())
	}
}

// TestJournalOfAnotherRun is refused, and so is what is none; a renewed record is the same.
func TestJournalOfAnotherRun(t *testing.T) {
	content, _ := journal(t, 1)
	path := filepath.Join(t.TempDir(), "out.transfer")
	refused := func(what string, run rekey.Run, want string) {
		t.Helper()
		a, err := rekey.OpenAnswers(path, run, seeded())
		if want == "" && err == nil {
			must(t, a.Close())
			return
		}
		if fault.KindOf(err) != fault.Usage || want == "" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, change := range map[string]func(*rekey.Run){
		"operation":  func(r *rekey.Run) { r.Operation = "convert" },
		"project":    func(r *rekey.Run) { r.Project = "other" },
		"grant":      func(r *rekey.Run) { r.Grant = "join" },
		"input":      func(r *rekey.Run) { r.In = "other.csv" },
		"from":       func(r *rekey.Run) { r.From = record("study", "lake", 1, 3, "aa") },
		"to":         func(r *rekey.Run) { r.To = record("study", "lake", 1, 2, "cc") },
		"to domain":  func(r *rekey.Run) { r.To = record("study", "pond", 1, 2, "bb") },
		"to number":  func(r *rekey.Run) { r.To = record("study", "lake", 2, 2, "bb") },
		"no key":     func(r *rekey.Run) { r.To.Keys.TokenPublicKey = nil },
		"both sides": func(r *rekey.Run) { r.From, r.To = r.To, r.From },
	} {
		must(t, os.WriteFile(path, content, 0o600))
		run := rotation()
		change(&run)
		refused(what, run, "it is of another run")
	}
	renewed := rotation()
	renewed.To.Expires = "2099-12-31"
	refused("renewed", renewed, "")
	must(t, os.WriteFile(path, bytes.Repeat([]byte("7"), 64), 0o600))
	refused("a bare seed", rotation(), "it is no journal of this version")
	must(t, os.WriteFile(path, []byte("x"), 0o600))
	refused("a file of somebody's", rotation(), "it is no journal of this version")
	must(t, os.WriteFile(path, content, 0o600))
	must(t, os.Chmod(path, 0o640))
	refused("one that others may read", rotation(), "others than its owner")
	must(t, os.Remove(path))
	// What a link names is neither opened nor made.
	elsewhere := filepath.Join(filepath.Dir(path), "elsewhere")
	must(t, os.Symlink("elsewhere", path))
	if _, err := rekey.OpenAnswers(path, rotation(), seeded()); err == nil {
		t.Error("a link was followed")
	}
	if _, err := os.Lstat(elsewhere); !os.IsNotExist(err) {
		t.Errorf("what a link names was made: %v", err)
	}
}

// TestAnswersHold whatever is asked and kept in whatever order, over runs that end
// anywhere: what is known is what was kept, and what was kept whole is known.
func TestAnswersHold(t *testing.T) {
	folder := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(folder, "out.transfer")
		_ = os.Remove(path)
		kept := map[uuid.UUID][][keys.TokenSize]byte{}
		for range rapid.IntRange(1, 4).Draw(t, "runs") {
			a, err := rekey.OpenAnswers(path, rotation(), nil)
			must(t, err)
			size := int64(0)
			for _, tokens := range kept {
				size += int64(len(tokens))
			}
			if a.Known() != size {
				t.Fatalf("%d tokens are known, %d were kept", a.Known(), size)
			}
			last := uuid.Nil
			for range rapid.IntRange(1, 20).Draw(t, "batches") {
				id := uuid.UUID{byte(rapid.IntRange(0, 30).Draw(t, "id"))}
				n := int(id[0]) + 1
				got, known, err := a.Get(id, n)
				must(t, err)
				if known != (kept[id] != nil) || known && !slices.Equal(got, kept[id]) {
					t.Fatal("what is known is not what was kept")
				}
				if !known {
					tokens := make([][keys.TokenSize]byte, n)
					for i := range tokens {
						tokens[i] = [keys.TokenSize]byte(rapid.SliceOfN(rapid.Byte(), keys.TokenSize, keys.TokenSize).Draw(t, "token"))
					}
					must(t, a.Put(id, tokens))
					kept[id], last = tokens, id
				}
			}
			must(t, a.Close())
			if rapid.Bool().Draw(t, "killed") && last != uuid.Nil {
				info, err := os.Stat(path)
				must(t, err)
				must(t, os.Truncate(path, info.Size()-int64(rapid.IntRange(1, 84).Draw(t, "cut"))))
				delete(kept, last)
			}
		}
	})
}

// TestAnswersFromManyGoroutines, under the race detector.
func TestAnswersFromManyGoroutines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.transfer")
	a := open(t, path)
	var wait sync.WaitGroup
	for from := range 4 {
		wait.Go(func() {
			for i := range 40 {
				i := (i + 10*from) % 40
				got, known, err := a.Get(id(i), i+1)
				if err == nil && !known {
					err = a.Put(id(i), answer(i))
				}
				if err != nil || known && !slices.Equal(got, answer(i)) {
					t.Error("batch", i, err)
				}
			}
		})
	}
	wait.Wait()
	must(t, a.Close())
	b := open(t, path)
	defer func() { must(t, b.Close()) }()
	all := map[int]bool{}
	for i := range 40 {
		all[i] = isKnown(t, b, i)
	}
	if b.Known() != 820 || slices.Contains(slices.Collect(maps.Values(all)), false) {
		t.Errorf("%d tokens are known", b.Known())
	}
}

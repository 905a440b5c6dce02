package store

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"pgregory.net/rapid"

	"tarn/keys/secret"
)

func rootKey(fill byte) secret.Key {
	return secret.New([secret.Size]byte(bytes.Repeat([]byte{fill}, secret.Size)))
}

// place of a store and its anchor, on a machine with space.
func newOptions(t testing.TB) Options {
	t.Helper()
	return Options{
		Dir: filepath.Join(t.TempDir(), "store.1"), Anchor: filepath.Join(t.TempDir(), "anchor.json"), Root: rootKey(1), Generation: 1,
		FreeSpace: func(string) (uint64, error) { return 1 << 40, nil },
	}
}

func create(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Create(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // closed by most tests already
	return s
}

func reopen(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func closed(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func put(name, value string) Change { return Change{Key{"thing", name}, []byte(value)} }

func commit(t testing.TB, s *Store, changes ...Change) {
	t.Helper()
	if err := s.Commit(context.Background(), changes); err != nil {
		t.Fatal(err)
	}
}

// contents are the records of kind thing.
func contents(t testing.TB, s *Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := s.Each(func(key Key, value []byte) error {
		if key.Kind == "thing" {
			all[key.Name] = string(value)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestStoreIsAMap: over any changes, deletions and reopenings, it holds what a
// plain map holds, and its state is what a walk over it gives.
func TestStoreIsAMap(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		o := newOptions(t)
		o.Unsynced = true // nothing is cut off here, and it is quicker
		s, model := create(t, o), map[string]string{}
		for range rapid.IntRange(1, 8).Draw(r, "steps") {
			var changes []Change
			for range rapid.IntRange(1, 4).Draw(r, "changes") {
				name := rapid.SampledFrom([]string{"a", "b", "c", "", "a name with blanks"}).Draw(r, "name")
				if rapid.Float64Range(0, 1).Draw(r, "delete") < .3 {
					changes = append(changes, Change{Key: Key{"thing", name}})
					delete(model, name)
					continue
				}
				value := rapid.StringN(0, 20, 40).Draw(r, "value")
				changes = append(changes, put(name, value))
				model[name] = value
			}
			commit(t, s, changes...)
			if rapid.Float64Range(0, 1).Draw(r, "reopen") < .2 {
				before := s.State()
				closed(t, s)
				s = reopen(t, o)
				if after := s.State(); after.Root != before.Root || after.Count != before.Count || after.Sequence != before.Sequence {
					r.Fatalf("state %+v after reopening %+v", after, before)
				}
			}
		}
		if got := contents(t, s); !maps.Equal(got, model) {
			r.Fatalf("%v, want %v", got, model)
		}
		for name, value := range model {
			if got, err := s.Get(Key{"thing", name}); err != nil || string(got) != value {
				r.Fatalf("get %q: %q, %v", name, got, err)
			}
		}
		state, _, err := s.verify(context.Background())
		if err != nil || state.Root != s.State().Root || state.Count != s.State().Count {
			r.Fatalf("a walk gives %+v, the store says %+v, %v", state, s.State(), err)
		}
		closed(t, s)
	})
}

// TestManyShareATransaction: callers that wait together are written together,
// and each one's changes are there.
func TestManyShareATransaction(t *testing.T) {
	o := newOptions(t)
	s := create(t, o)
	before := s.Transactions()
	const callers, each = 16, 20
	var group sync.WaitGroup
	for c := range callers {
		group.Go(func() {
			for i := range each {
				commit(t, s, put(fmt.Sprintf("%d-%d", c, i), "x"))
			}
		})
	}
	group.Wait()
	if n := s.Transactions() - before; n > callers*each*3/4 {
		t.Errorf("%d transactions for %d commits of %d callers", n, callers*each, callers)
	}
	closed(t, s)
	if got := len(contents(t, reopen(t, o))); got != callers*each {
		t.Errorf("%d records, want %d", got, callers*each)
	}
}

// filled is a store with some records, closed.
func filled(t testing.TB) Options {
	t.Helper()
	o := newOptions(t)
	s := create(t, o)
	for i := range 40 {
		commit(t, s, put(fmt.Sprintf("n%d", i), strings.Repeat("v", 100+i)))
	}
	closed(t, s)
	return o
}

func copyOf(t testing.TB, o Options) Options {
	t.Helper()
	to := o
	to.Dir, to.Anchor = filepath.Join(t.TempDir(), "store.1"), filepath.Join(t.TempDir(), "anchor.json")
	if err := os.CopyFS(to.Dir, os.DirFS(o.Dir)); err != nil {
		t.Fatal(err)
	}
	copyFile(t, o.Anchor, to.Anchor)
	return to
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Opening a store whose tables are damaged can end the process: the library
// panics in a goroutine of its own. So damaged stores are opened by a child.
const (
	childDir    = "TARN_TEST_STORE"
	childAnchor = "TARN_TEST_ANCHOR"
	childDoes   = "TARN_TEST_DOES" // something else than opening it
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		o := Options{Dir: dir, Anchor: os.Getenv(childAnchor), Root: rootKey(1), Generation: 1}
		if does := os.Getenv(childDoes); does != "" {
			os.Exit(disturbedChild(o, does))
		}
		os.Exit(child(o))
	}
	if err := flag.Set("rapid.checks", "40"); err != nil { // each check makes a store
		panic(err)
	}
	os.Exit(m.Run())
}

// child opens a store and prints what it holds.
func child(o Options) int {
	s, err := Open(context.Background(), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	err = s.Each(func(key Key, value []byte) error {
		_, err := fmt.Printf("%q %q\n", key.Name, value)
		return err
	})
	if err != nil {
		return 1
	}
	return 0
}

// opens has a child open a store, and returns what it holds, or that it did not
// open.
func opens(t testing.TB, o Options) (holds string, opened bool) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childDir+"="+o.Dir, childAnchor+"="+o.Anchor)
	out, err := c.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), err == nil
}

// TestDamagedFilesAreNoticed is scenario 5: each file of a store is removed, cut
// off, and has bits flipped in it. It then opens with all that it held, or not
// at all.
func TestDamagedFilesAreNoticed(t *testing.T) {
	o := filled(t)
	want, opened := opens(t, o)
	if !opened || strings.Count(want, "\n") != 40 {
		t.Fatalf("a store that nobody damaged: opened %v, %d records", opened, strings.Count(want, "\n"))
	}
	random := rand.New(rand.NewPCG(1, 2))
	files, harmless, tried := []string{}, 0, 0
	err := filepath.WalkDir(o.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	try := func(file string, damage func([]byte) []byte) {
		c := copyOf(t, o)
		path := filepath.Join(c.Dir, filepath.Base(file))
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if b = damage(b); b == nil {
			err = os.Remove(path)
		} else {
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		tried++
		if got, opened := opens(t, c); opened {
			harmless++
			if got != want {
				t.Errorf("%s damaged: it opens with other records", filepath.Base(file))
			}
		}
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		try(file, func([]byte) []byte { return nil })
		if info.Size() == 0 || info.Size() > 1<<22 {
			continue // sparse, mapped ahead
		}
		try(file, func(b []byte) []byte { return b[:len(b)/2] })
		for range 3 {
			try(file, func(b []byte) []byte { b[random.IntN(len(b))] ^= 1 << random.IntN(8); return b })
		}
	}
	t.Logf("%d damages of %d files: %d refused, %d harmless", tried, len(files), tried-harmless, harmless)
	if harmless == tried {
		t.Error("no damage was refused: the test is blind")
	}
}

// TestLostRecordsAreNoticed: what the library would give without a word is
// refused: a record that is gone, an older version, one in another's place.
func TestLostRecordsAreNoticed(t *testing.T) {
	o := filled(t)
	s := reopen(t, o)
	a, b := s.sealer.placeOf(Key{"thing", "n1"}), s.sealer.placeOf(Key{"thing", "n2"})
	ledgerAt := s.sealer.placeOf(ledgerKey)
	closed(t, s)
	get := func(txn *badger.Txn, at place) []byte {
		item, err := txn.Get(at[:])
		if err != nil {
			t.Fatal(err)
		}
		v, err := item.ValueCopy(nil)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	older := func() []byte { // n1 as it was before a change
		c := copyOf(t, o)
		db, err := openBadger(withLogger(c))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }() // read only
		var v []byte
		_ = db.View(func(txn *badger.Txn) error { v = get(txn, a); return nil })
		return v
	}()
	for name, change := range map[string]func(*badger.Txn) error{
		"removed": func(txn *badger.Txn) error { return txn.Delete(a[:]) },
		"moved":   func(txn *badger.Txn) error { return txn.Set(a[:], get(txn, b)) },
		"swapped": func(txn *badger.Txn) error {
			x, y := get(txn, a), get(txn, b)
			return errors.Join(txn.Set(a[:], y), txn.Set(b[:], x))
		},
		"no ledger": func(txn *badger.Txn) error { return txn.Delete(ledgerAt[:]) },
		"stranger":  func(txn *badger.Txn) error { return txn.Set([]byte("another key"), []byte("x")) },
		"flipped": func(txn *badger.Txn) error {
			v := get(txn, a)
			v[len(v)-1] ^= 1
			return txn.Set(a[:], v)
		},
	} {
		c := copyOf(t, o)
		db, err := openBadger(withLogger(c))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Update(change), db.Close()); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(context.Background(), c); err == nil {
			_ = s.Close() // wrongly open
			t.Errorf("%s: opened", name)
		}
	}
	// An older version of a record, whole in itself.
	c := copyOf(t, o)
	s = reopen(t, c)
	commit(t, s, put("n1", "newer"))
	closed(t, s)
	db, err := openBadger(withLogger(c))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(func(txn *badger.Txn) error { return txn.Set(a[:], older) }), db.Close()); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(context.Background(), c); err == nil {
		_ = s.Close() // wrongly open
		t.Error("an older version of a record: opened")
	}
	// Control: untouched it opens.
	closed(t, reopen(t, copyOf(t, o)))
}

func withLogger(o Options) *Options {
	o.complete()
	return &o
}

// TestRollbackIsRefused: an older copy of the store does not fit the anchor,
// nor an older anchor the store, but for the one step between their two writes.
func TestRollbackIsRefused(t *testing.T) {
	o := filled(t)
	early := copyOf(t, o)
	s := reopen(t, o)
	commit(t, s, put("later", "1"))
	closed(t, s)
	one := copyOf(t, o)
	s = reopen(t, o)
	commit(t, s, put("later", "2"))
	closed(t, s)

	mixed := func(store, anchor Options) Options {
		c := copyOf(t, store)
		copyFile(t, anchor.Anchor, c.Anchor)
		return c
	}
	for name, tt := range map[string]struct {
		options Options
		opens   bool
	}{
		"as it is":                          {mixed(o, o), true},
		"killed between store and anchor":   {mixed(o, one), true},
		"anchor of two transactions before": {mixed(o, early), false},
		"store of one transaction before":   {mixed(one, o), false},
		"store of two transactions before":  {mixed(early, o), false},
		"both of the same earlier moment":   {mixed(early, early), true}, // the witness of the log is for that
	} {
		s, err := Open(context.Background(), tt.options)
		if (err == nil) != tt.opens {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			closed(t, s)
			closed(t, reopen(t, tt.options)) // the anchor was repaired
		}
	}
}

func TestWrongAnchorsAndKeysAreRefused(t *testing.T) {
	o, other := filled(t), filled(t)
	for name, change := range map[string]func(*Options){
		"no anchor":              func(c *Options) { _ = os.Remove(c.Anchor) },
		"another store's anchor": func(c *Options) { copyFile(t, other.Anchor, c.Anchor) },
		"another root key":       func(c *Options) { c.Root = rootKey(2) },
		"another generation":     func(c *Options) { c.Generation = 2 },
		"no store":               func(c *Options) { c.Dir += "x" },
		"an anchor that is changed": func(c *Options) {
			b, _ := os.ReadFile(c.Anchor)
			_ = os.WriteFile(c.Anchor, bytes.Replace(b, []byte(`"count": 4`), []byte(`"count": 3`), 1), 0o600)
		},
		"an anchor that is none": func(c *Options) { _ = os.WriteFile(c.Anchor, []byte("{}"), 0o600) },
	} {
		c := copyOf(t, o)
		change(&c)
		if s, err := Open(context.Background(), c); err == nil {
			_ = s.Close() // wrongly open
			t.Errorf("%s: opened", name)
		}
	}
	if _, err := Create(context.Background(), Options{Dir: filepath.Join(t.TempDir(), "s"), Anchor: o.Anchor, Root: rootKey(1), Generation: 1}); err == nil {
		t.Error("a second store is made for an anchor")
	}
	if _, err := Create(context.Background(), Options{Dir: o.Dir, Anchor: o.Anchor + "2", Root: rootKey(1), Generation: 1}); err == nil {
		t.Error("a store is made over another")
	}
}

// TestNoSpace: below the floor changes are refused before anything is decided,
// and reading goes on; with space again all goes on by itself.
func TestNoSpace(t *testing.T) {
	var free atomic.Uint64
	free.Store(1 << 40)
	o := newOptions(t)
	o.FreeFloor, o.FreeSpace = 1<<20, func(string) (uint64, error) { return free.Load(), nil }
	s := create(t, o)
	commit(t, s, put("a", "1"))
	free.Store(1<<20 - 1)
	if err := s.Room(); !errors.Is(err, ErrNoSpace) {
		t.Errorf("room: %v", err)
	}
	commit(t, s, put("b", "2")) // decided before, and above the harder floor
	if got, err := s.Get(Key{"thing", "a"}); err != nil || string(got) != "1" {
		t.Errorf("reading: %q, %v", got, err)
	}
	free.Store(1 << 40)
	if err := s.Room(); err != nil {
		t.Error(err)
	}
	free.Store(0)
	if err := s.Commit(context.Background(), []Change{put("c", "3")}); !errors.Is(err, ErrNoSpace) {
		t.Errorf("below the harder floor: %v", err)
	}
	select {
	case <-s.Failed():
	default:
		t.Error("a change that was decided was lost, and nobody is told")
	}
	free.Store(1 << 40)
	if err := s.Commit(context.Background(), []Change{put("d", "4")}); err == nil {
		t.Error("a failed store takes changes")
	}
	closed(t, s)
	if got := contents(t, reopen(t, o)); !maps.Equal(got, map[string]string{"a": "1", "b": "2"}) {
		t.Errorf("%v", got)
	}
}

// TestRewriteLeavesOutWhatIsDestroyed, and is the store that counts only when it
// is promoted; before, the old one is.
func TestRewriteLeavesOutWhatIsDestroyed(t *testing.T) {
	o := newOptions(t)
	s := create(t, o)
	secretValue := "a key that is to be destroyed"
	commit(t, s, put("keep", "1"), put("gone", secretValue), Change{Key{KindTombstone, "client/eve"}, []byte("{}")})
	next := o
	next.Dir, next.Root, next.Generation = filepath.Join(filepath.Dir(o.Dir), "store.2"), rootKey(2), 2
	replaced, err := s.Rewrite(context.Background(), next, []Change{put("state", "destroyed")}, func(k Key) bool { return k.Name == "gone" }, []string{"thing/gone"})
	if err != nil {
		t.Fatal(err)
	}
	closed(t, replaced)
	closed(t, s)
	before, after := copyOf(t, o), next // killed before the switch: either opens, as root.json says
	old := reopen(t, before)
	if got := contents(t, old); got["gone"] != secretValue || got["state"] != "" {
		t.Errorf("before the switch: %v", got)
	}
	closed(t, old)
	s = reopen(t, after)
	want := map[string]string{"keep": "1", "state": "destroyed"}
	if got := contents(t, s); !maps.Equal(got, want) {
		t.Errorf("after the switch: %v", got)
	}
	if got := s.State().Tombstones; !slices.Equal(got, []string{"client/eve", "thing/gone"}) {
		t.Errorf("tombstones %v", got)
	}
	a, err := ReadAnchor(o.Anchor)
	if err != nil || a.Next != nil || a.Current.Generation != 2 || !slices.Equal(a.Current.Tombstones, []string{"client/eve", "thing/gone"}) {
		t.Errorf("anchor %+v, %v", a, err)
	}
	if err := s.Commit(context.Background(), []Change{{Key: Key{Kind: KindTombstone, Name: "client/eve"}}}); err == nil {
		t.Error("a tombstone was deleted")
	}
	if s, err := Open(context.Background(), o); err == nil {
		_ = s.Close() // wrongly open
		t.Error("after the switch the old store opens")
	}
}

// TestStreamsAreTakenWholeOrNotAtAll: cut off, changed, longer, in another order.
func TestStreamsAreTakenWholeOrNotAtAll(t *testing.T) {
	o := filled(t)
	s := reopen(t, o)
	var out bytes.Buffer
	content, err := s.Export(context.Background(), &out)
	if err != nil {
		t.Fatal(err)
	}
	want := contents(t, s)
	manifest := []byte("a manifest")
	signature := s.Sign(manifest)
	if !Signed(s.signer, manifest, signature) || Signed(s.signer, []byte("another"), signature) || Signed(strings.Repeat("0", 64), manifest, signature) || Signed("", manifest, signature) {
		t.Error("signatures are not told apart")
	}
	closed(t, s)
	whole := out.Bytes()
	restore := func(stream []byte, content Content) error {
		read, err := ReadStream(bytes.NewReader(stream), content)
		if err != nil {
			return err
		}
		to := newOptions(t)
		to.Generation = 2
		back, err := read.Restore(context.Background(), to, []string{"x"}, func(_ Key, value []byte) (bool, []byte, error) { return true, value, nil })
		if err != nil {
			t.Fatal(err)
		}
		if got := contents(t, back); !maps.Equal(got, want) {
			t.Errorf("%d of %d records come back", len(got), len(want))
		}
		closed(t, back)
		closed(t, reopen(t, to))
		a, err := ReadAnchor(o.Anchor)
		if err != nil || !read.Wrote(a.Current) {
			t.Errorf("the deployment's own anchor is not known: %v", err)
		}
		return nil
	}
	if err := restore(whole, content); err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	first := 4 + int(whole[0])<<24 + int(whole[1])<<16 + int(whole[2])<<8 + int(whole[3])
	for name, bad := range map[string][]byte{
		"cut off": whole[:len(whole)-1], "a record less": whole[first:], "flipped": flipped, "longer": append(bytes.Clone(whole), whole[:first]...),
		"another order": append(bytes.Clone(whole[first:]), whole[:first]...), "empty": nil, "a length": {0xff, 0xff, 0xff, 0xff},
	} {
		if err := restore(bad, content); !errors.Is(err, ErrStream) {
			t.Errorf("%s: %v", name, err)
		}
	}
	less := content
	less.Count--
	if err := restore(whole, less); !errors.Is(err, ErrStream) {
		t.Errorf("another count: %v", err)
	}
}

// FuzzReadStream: no stream but the right one is taken, and none is fatal.
func FuzzReadStream(f *testing.F) {
	f.Add([]byte{0, 0, 0, 4, 0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 7, 0, 1, 'a', 0, 1, 'b', 'c'})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ReadStream(bytes.NewReader(b), Content{Count: 1, SHA256: "x"}); err == nil {
			t.Fatal("taken")
		}
		_, _, _ = splitRecord(b)
	})
}

// TestRecordsAreNotReadableOnDisk: neither names nor values.
func TestRecordsAreNotReadableOnDisk(t *testing.T) {
	o := newOptions(t)
	s := create(t, o)
	commit(t, s, put("a-name-to-look-for", "a-value-to-look-for"))
	closed(t, s)
	seen := 0
	err := filepath.WalkDir(o.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		seen += len(b)
		if bytes.Contains(b, []byte("to-look-for")) {
			t.Errorf("%s holds it in clear", entry.Name())
		}
		return err
	})
	if err != nil || seen == 0 {
		t.Fatalf("looked at %d bytes, %v", seen, err)
	}
}

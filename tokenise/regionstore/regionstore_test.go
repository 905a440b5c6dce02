package regionstore

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"pgregory.net/rapid"

	"tarn/keys/badgerdb"
	"tarn/keys/fault"
	"tarn/keys/secret"
)

const (
	kind  Kind = 3
	other Kind = 4
)

func key(fill byte) secret.Key {
	return secret.New([secret.Size]byte(bytes.Repeat([]byte{fill}, secret.Size)))
}

// start is when the clocks of these tests begin: the system's clock has no part in
// what a store returns.
var start = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)

func newOptions(t testing.TB) Options {
	t.Helper()
	return Options{
		Dir: filepath.Join(t.TempDir(), "store"), Key: key(1), Clock: func() time.Time { return start },
		FreeSpace: func(string) (uint64, error) { return 1 << 40, nil },
	}
}

func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // closed by most tests already
	return s
}

func closed(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func put(kind Kind, name, value string) Change {
	return Change{Kind: kind, Name: []byte(name), Value: []byte(value)}
}

func commit(t testing.TB, s *Store, changes ...Change) {
	t.Helper()
	if err := s.Commit(context.Background(), changes); err != nil {
		t.Fatal(err)
	}
}

// Stores that are damaged are opened by a child, as the library can end the process;
// so is one that is killed, and one that another process owns.
const (
	childDir  = "TARN_TEST_STORE"
	childDoes = "TARN_TEST_DOES"

	doesRead = "read" // prints what of the names of filled there is
	doesLoad = "load" // writes until it is killed, and prints what was acknowledged
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir, os.Getenv(childDoes)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if err := flag.Set("rapid.checks", "30"); err != nil { // each check makes a store
		panic(err)
	}
	os.Exit(m.Run())
}

func child(dir, does string) error {
	s, err := Open(Options{Dir: dir, Key: key(1), Clock: func() time.Time { return start }, FreeFloor: 1})
	if err != nil {
		return err
	}
	if does == doesRead {
		for i := range records {
			switch value, err := s.Get(kind, []byte(nameOf(i))); {
			case err == nil:
				fmt.Printf("%s %q\n", nameOf(i), value)
			case errors.Is(err, ErrNotFound):
				fmt.Printf("%s missing\n", nameOf(i))
			default:
				fmt.Printf("%s damaged\n", nameOf(i))
			}
		}
		return nil // as if it had been killed
	}
	for i := 0; ; i++ {
		if err := s.Commit(context.Background(), []Change{put(kind, nameOf(i), valueOf(i))}); err != nil {
			return err
		}
		fmt.Println(i)
	}
}

func command(dir, does string) *exec.Cmd {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childDir+"="+dir, childDoes+"="+does)
	return c
}

const records = 40

func nameOf(i int) string  { return fmt.Sprintf("n%d", i) }
func valueOf(i int) string { return strings.Repeat("v", 100+i) }

// filled is a store with some records, closed.
func filled(t testing.TB) Options {
	t.Helper()
	o := newOptions(t)
	s := open(t, o)
	for i := range records {
		commit(t, s, put(kind, nameOf(i), valueOf(i)))
	}
	closed(t, s)
	return o
}

func copyOf(t testing.TB, o Options) Options {
	t.Helper()
	to := o
	to.Dir = filepath.Join(t.TempDir(), "store")
	if err := os.CopyFS(to.Dir, os.DirFS(o.Dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestStoreIsAMap: over any changes, deletions, expiries and reopenings it holds what
// a plain map holds.
func TestStoreIsAMap(t *testing.T) {
	type held struct {
		value string
		until time.Time
	}
	rapid.Check(t, func(r *rapid.T) {
		o, now := newOptions(t), start
		o.Unsynced, o.Clock = true, func() time.Time { return now } // nothing is cut off here, and it is quicker
		s, model := open(t, o), map[string]held{}
		names := []string{"a", "b", "", "a name with blanks"}
		kinds := []Kind{kind, other, KindRequest}
		id := func(k Kind, name string) string { return string(rune(k)) + name }
		for range rapid.IntRange(1, 10).Draw(r, "steps") {
			var changes []Change
			for range rapid.IntRange(1, 4).Draw(r, "changes") {
				k, name := rapid.SampledFrom(kinds).Draw(r, "kind"), rapid.SampledFrom(names).Draw(r, "name")
				c := Change{Kind: k, Name: []byte(name)}
				delete(model, id(k, name))
				if rapid.Float64Range(0, 1).Draw(r, "delete") > .3 {
					c.Value = []byte(rapid.StringN(0, 20, 40).Draw(r, "value"))
					if k.Expires() {
						c.ExpiresAt = now.Add(time.Duration(rapid.IntRange(-1, 3).Draw(r, "seconds")) * time.Second)
					}
					model[id(k, name)] = held{string(c.Value), c.ExpiresAt}
				}
				changes = append(changes, c)
			}
			commit(t, s, changes...)
			now = now.Add(time.Duration(rapid.IntRange(0, 2).Draw(r, "pass")) * time.Second)
			if rapid.Float64Range(0, 1).Draw(r, "sweep") < .3 {
				if _, err := s.Sweep(context.Background()); err != nil {
					r.Fatal(err)
				}
			}
			if rapid.Float64Range(0, 1).Draw(r, "reopen") < .2 {
				closed(t, s)
				s = open(t, o)
			}
			for _, k := range kinds {
				for _, name := range names {
					want, ok := model[id(k, name)]
					ok = ok && (want.until.IsZero() || now.Before(want.until))
					got, err := s.Get(k, []byte(name))
					if ok && (err != nil || string(got) != want.value) || !ok && !errors.Is(err, ErrNotFound) {
						r.Fatalf("kind %d, %q: %q, %v, want %v %+v", k, name, got, err, ok, want)
					}
				}
			}
		}
		closed(t, s)
	})
}

// TestManyShareATransaction: callers that wait together are written together. What is
// more than a transaction may have is divided, and all there.
func TestManyShareATransaction(t *testing.T) {
	o := newOptions(t)
	s := open(t, o)
	const callers, each = 16, 20
	var group sync.WaitGroup
	for c := range callers {
		group.Go(func() {
			for i := range each {
				commit(t, s, put(kind, fmt.Sprintf("%d-%d", c, i), "x"))
			}
		})
	}
	group.Wait()
	if n := s.Transactions(); n == 0 || n > callers*each*3/4 {
		t.Errorf("%d transactions for %d commits of %d callers", n, callers*each, callers)
	}
	before := s.Transactions()
	long := strings.Repeat("x", 3000)
	var many []Change
	for i := range 2*badgerdb.BatchChanges + 1 {
		value := "x"
		if i < 1500 {
			value = long
		}
		many = append(many, put(other, nameOf(i), value))
	}
	commit(t, s, many...)
	if n := s.Transactions() - before; n < 4 || n > 8 {
		t.Errorf("%d transactions for %d changes", n, len(many))
	}
	closed(t, s)
	s = open(t, o)
	for k, want := range map[Kind]uint64{kind: callers * each, other: uint64(len(many)), KindRequest: 0} {
		if got, err := s.Count(context.Background(), k); err != nil || got != want {
			t.Errorf("%d records of kind %d, want %d, %v", got, k, want, err)
		}
	}
	if got, err := s.Get(other, []byte(nameOf(7))); err != nil || string(got) != long {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	closed(t, s)
	if _, err := s.Get(other, []byte(nameOf(7))); !errors.Is(err, badgerdb.ErrClosed) {
		t.Errorf("reading a closed store: %v", err)
	}
	if err := s.Commit(context.Background(), many[:1]); !errors.Is(err, badgerdb.ErrClosed) {
		t.Errorf("writing a closed store: %v", err)
	}
}

// TestChangesThatAreNone are refused before they are written, and break nothing.
func TestChangesThatAreNone(t *testing.T) {
	s := open(t, newOptions(t))
	for name, c := range map[string]Change{
		"no kind":                 put(0, "a", "b"),
		"a long name":             put(kind, strings.Repeat("n", MaxName+1), "b"),
		"a long value":            put(kind, "a", strings.Repeat("v", MaxValue+1)),
		"expires":                 {Kind: kind, Name: []byte("a"), Value: []byte("b"), ExpiresAt: start},
		"does not expire":         put(KindRequest, "a", "b"),
		"is deleted, and expires": {Kind: kind, Name: []byte("a"), ExpiresAt: start},
	} {
		if err := s.Commit(context.Background(), []Change{put(kind, "good", "g"), c}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := s.Get(kind, []byte("good")); !errors.Is(err, ErrNotFound) {
		t.Errorf("part was written: %v", err)
	}
	commit(t, s, put(kind, strings.Repeat("n", MaxName), strings.Repeat("v", MaxValue)))
}

// TestExpiry: by the store's clock alone, to the millisecond, and what has expired is
// gone from the store when it was swept. What was written anew meanwhile is not.
func TestExpiry(t *testing.T) {
	o, now := newOptions(t), start
	o.Clock = func() time.Time { return now }
	s := open(t, o)
	until := start.Add(time.Second)
	request := Change{Kind: KindRequest, Name: []byte("a"), Value: []byte("1"), ExpiresAt: until}
	commit(t, s, request, put(kind, "stays", "2"))
	there := func() bool {
		_, err := s.Get(KindRequest, []byte("a"))
		if err != nil && !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		return err == nil
	}
	count := func(k Kind) uint64 {
		n, err := s.Count(context.Background(), k)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	now = until.Add(-time.Millisecond)
	if !there() {
		t.Error("it expires too soon")
	}
	now = until
	if there() || count(KindRequest) != 1 {
		t.Error("it does not expire")
	}
	if n, err := s.Sweep(context.Background()); err != nil || n != 1 || count(KindRequest) != 0 || count(kind) != 1 {
		t.Errorf("swept %d, %v", n, err)
	}
	// Between looking and deleting it is written anew.
	at := s.sealer.placeOf(KindRequest, []byte("a"))
	request.ExpiresAt = now.Add(time.Second)
	commit(t, s, request, Change{stale: &at})
	if !there() {
		t.Error("what was written anew was swept")
	}
	now = now.Add(time.Hour)
	commit(t, s, Change{stale: &at})
	now = until // a clock that goes back does not bring it back
	if there() {
		t.Error("it was not swept")
	}
}

// TestWorkSweeps when it begins, and ends with its context.
func TestWorkSweeps(t *testing.T) {
	o := newOptions(t)
	s := open(t, o)
	commit(t, s, Change{Kind: KindRequest, Name: []byte("a"), Value: []byte("1"), ExpiresAt: start})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	before := s.Transactions()
	go func() { defer close(ended); s.Work(ctx) }()
	for s.Transactions() == before {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-ended
	if n, err := s.Count(context.Background(), KindRequest); err != nil || n != 0 {
		t.Errorf("%d records, %v", n, err)
	}
}

// TestOneOwner: another process is told what is the matter, and can have the store
// when it is free.
func TestOneOwner(t *testing.T) {
	o := filled(t)
	s := open(t, o)
	out, err := command(o.Dir, doesRead).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another tokeniser has it open") {
		t.Errorf("a second owner: %v, %s", err, out)
	}
	if _, err := Open(o); fault.KindOf(err) != fault.Usage {
		t.Errorf("a second owner in one process: %v", err)
	}
	closed(t, s)
	if out, err := command(o.Dir, doesRead).CombinedOutput(); err != nil || strings.Count(string(out), "\"v") != records {
		t.Errorf("the store is free: %v, %s", err, out)
	}
}

// TestAnotherKey is not this store's; a store is not made over what is there.
func TestAnotherKey(t *testing.T) {
	o := filled(t)
	o.Key = key(2)
	if _, err := Open(o); fault.KindOf(err) != fault.Disagreement {
		t.Errorf("another key: %v", err)
	}
	o.Key = key(1)
	closed(t, open(t, o))
	change(t, o, func(txn *badger.Txn) error { return txn.Delete(marker[:]) })
	if _, err := Open(o); fault.KindOf(err) != fault.Disagreement {
		t.Errorf("without its mark: %v", err)
	}
}

// change writes into a closed store past every check.
func change(t testing.TB, o Options, f func(*badger.Txn) error) {
	t.Helper()
	db, err := badgerdb.Open(badgerdb.Options{Dir: o.Dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(f), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestRecordsThatDoNotBelong: what was moved, swapped, flipped or cut off on the disk
// is an error for its reader, can be written again, and touches no other.
func TestRecordsThatDoNotBelong(t *testing.T) {
	o := filled(t)
	sealer, err := newSealer(o.Key, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, b := sealer.placeOf(kind, []byte("n1")), sealer.placeOf(kind, []byte("n2"))
	otherKind := sealer.placeOf(other, []byte("n1"))
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
	for name, tt := range map[string]struct {
		change func(*badger.Txn) error
		kind   Kind
	}{
		"moved":        {func(txn *badger.Txn) error { return txn.Set(a[:], get(txn, b)) }, kind},
		"another kind": {func(txn *badger.Txn) error { return txn.Set(otherKind[:], get(txn, a)) }, other},
		"cut off":      {func(txn *badger.Txn) error { return txn.Set(a[:], get(txn, a)[:60]) }, kind},
		"empty":        {func(txn *badger.Txn) error { return txn.Set(a[:], nil) }, kind},
		"the mark":     {func(txn *badger.Txn) error { return txn.Set(a[:], get(txn, marker)) }, kind},
		"flipped": {func(txn *badger.Txn) error {
			v := get(txn, a)
			v[len(v)-1] ^= 1
			return txn.Set(a[:], v)
		}, kind},
	} {
		c := copyOf(t, o)
		change(t, c, tt.change)
		s := open(t, c)
		if got, err := s.Get(tt.kind, []byte("n1")); !errors.Is(err, ErrDamaged) || fault.KindOf(err) != fault.Internal {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if got, err := s.Get(kind, []byte("n2")); err != nil || string(got) != valueOf(2) {
			t.Errorf("%s: another record: %q, %v", name, got, err)
		}
		commit(t, s, put(tt.kind, "n1", "again"))
		if got, err := s.Get(tt.kind, []byte("n1")); err != nil || string(got) != "again" {
			t.Errorf("%s: written again: %q, %v", name, got, err)
		}
		closed(t, s)
	}
}

// TestDamagedFiles: each file of a store is removed, cut off, and has bits flipped in
// it. Whatever it then returns is right, missing or an error: never another value.
func TestDamagedFiles(t *testing.T) {
	o := filled(t)
	var want []string
	for i := range records {
		want = append(want, fmt.Sprintf("%s %q", nameOf(i), valueOf(i)))
	}
	right := func(dir string) (n int, opened bool) {
		out, err := command(dir, doesRead).Output()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			line = strings.TrimSpace(line)
			if slices.Contains(want, line) {
				n++
			} else if !strings.HasSuffix(line, " missing") && !strings.HasSuffix(line, " damaged") {
				t.Errorf("a value that was never written: %.40s", line)
			}
		}
		return n, err == nil
	}
	if n, opened := right(copyOf(t, o).Dir); !opened || n != records {
		t.Fatalf("a store that nobody damaged: opened %v, %d records", opened, n)
	}
	files := []string{}
	err := filepath.WalkDir(o.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			files = append(files, filepath.Base(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	tried, harmless := 0, 0
	try := func(file string, damage func([]byte) []byte) {
		c := copyOf(t, o)
		path := filepath.Join(c.Dir, file)
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
		if n, opened := right(c.Dir); opened && n == records {
			harmless++
		}
	}
	for _, file := range files {
		info, err := os.Stat(filepath.Join(o.Dir, file))
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
	t.Logf("%d damages of %d files, %d of them harmless", tried, len(files), harmless)
	if harmless == tried {
		t.Error("no damage had an effect: the test is blind")
	}
}

// TestKilled: what was acknowledged is there after kill -9.
func TestKilled(t *testing.T) {
	o := newOptions(t)
	c := command(o.Dir, doesLoad)
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	acknowledged := 0
	for lines := bufio.NewScanner(out); lines.Scan(); acknowledged++ {
		if acknowledged == 100 {
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = c.Wait() // it was killed
	if acknowledged < 100 {
		t.Fatalf("%d acknowledged", acknowledged)
	}
	s := open(t, o)
	for i := range acknowledged {
		if got, err := s.Get(kind, []byte(nameOf(i))); err != nil || string(got) != valueOf(i) {
			t.Fatalf("record %d of %d: %q, %v", i, acknowledged, got, err)
		}
	}
}

// TestNoSpace: below the floor changes are refused and reading goes on; with space
// again writing goes on by itself.
func TestNoSpace(t *testing.T) {
	var free atomic.Uint64
	free.Store(1 << 20)
	o := newOptions(t)
	o.FreeFloor, o.FreeSpace = 1<<20, func(string) (uint64, error) { return free.Load(), nil }
	s := open(t, o)
	commit(t, s, put(kind, "a", "1"))
	free.Store(1<<20 - 1)
	if err := s.Room(); !errors.Is(err, ErrNoSpace) || s.FreeBytes() != 1<<20-1 {
		t.Errorf("room: %v, %d", err, s.FreeBytes())
	}
	if err := s.Commit(context.Background(), []Change{put(kind, "b", "2")}); !errors.Is(err, ErrNoSpace) {
		t.Errorf("below the floor: %v", err)
	}
	if got, err := s.Get(kind, []byte("a")); err != nil || string(got) != "1" {
		t.Errorf("reading: %q, %v", got, err)
	}
	select {
	case <-s.Failed():
		t.Error("a full disk is taken for a broken one")
	default:
	}
	free.Store(1 << 20)
	commit(t, s, put(kind, "c", "3"))
	if _, err := s.Get(kind, []byte("b")); !errors.Is(err, ErrNotFound) {
		t.Errorf("what was refused: %v", err)
	}
	closed(t, s)
	free.Store(0)
	if _, err := Open(o); err == nil {
		t.Error("opened where there is no space for its own files")
	}
}

// TestACommitThatFails ends the store for good, and says so.
func TestACommitThatFails(t *testing.T) {
	s := open(t, newOptions(t))
	commit(t, s, put(kind, "a", "1"))
	if err := s.db.Close(); err != nil { // as good as a disk that is gone
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Commit(context.Background(), []Change{put(kind, "b", "2")}); fault.KindOf(err) != fault.Internal || err == nil {
			t.Errorf("written: %v", err)
		}
	}
	select {
	case <-s.Failed():
	default:
		t.Error("nobody is told")
	}
}

// TestRecordsAreNotReadableOnDisk: neither names nor values. Control: the kind's byte
// and the library's own words are.
func TestRecordsAreNotReadableOnDisk(t *testing.T) {
	o := newOptions(t)
	s := open(t, o)
	commit(t, s, put(kind, "a-name-to-look-for", "a-value-to-look-for"),
		Change{Kind: KindRequest, Name: []byte("another-name-to-look-for"), Value: []byte("to-look-for"), ExpiresAt: start.Add(time.Hour)})
	at := s.sealer.placeOf(kind, []byte("a-name-to-look-for"))
	closed(t, s)
	found := false
	err := filepath.WalkDir(o.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte("to-look-for")) {
			t.Errorf("%s holds it in clear", entry.Name())
		}
		found = found || bytes.Contains(b, at[1:])
		return err
	})
	if err != nil || !found {
		t.Fatalf("the record was found %v, %v", found, err)
	}
	for _, entry := range []string{"MANIFEST", "."} {
		info, err := os.Stat(filepath.Join(o.Dir, entry))
		if err != nil || entry == "." && info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v", entry, err)
		}
	}
}

package table

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tarn/keys"
	"tarn/keys/fault"
)

var (
	lake = Key{Scheme: keys.SchemeNoOblivious, DomainNo: 7, TokenEpoch: 3}
	next = Key{Scheme: keys.SchemeNoOblivious, DomainNo: 7, TokenEpoch: 4}
	noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
)

type failer interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// token makes tokens that are in the order of their numbers.
func token(n int) (t [keys.TokenSize]byte) {
	binary.BigEndian.PutUint32(t[:], uint32(n))
	return t
}

func sorted(rows []Row) []Row {
	rows = slices.Clone(rows)
	slices.SortFunc(rows, func(a, b Row) int { return bytes.Compare(a.append(nil), b.append(nil)) })
	return rows
}

// put replaces the tables of a folder.
func put(t failer, folder string, tables map[Key][]Row) {
	t.Helper()
	u, err := Begin(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for key, rows := range tables {
		w, err := u.Create(key, int64(len(rows)))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Abort()
		for _, r := range sorted(rows) {
			if _, err := w.Append(&r); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := u.Put(w, noon); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.Commit("test", noon); err != nil {
		t.Fatal(err)
	}
}

// TestDays: known answers. A day begins and ends in London, summer time and all.
func TestDays(t *testing.T) {
	for text, want := range map[string]Day{"0001-01-01": 0, "1970-01-01": 719162, "2000-02-29": 730178, "9999-12-31": maxDay} {
		if got, err := ParseDay(text); err != nil || got != want {
			t.Errorf("%s is day %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "2026-11-31", "2026-1-1", "26-11-2026", "20261126", "2026-11-26T00:00:00Z", " 2026-11-26", "0000-01-01", "10000-01-01"} {
		if _, err := ParseDay(text); !errors.Is(err, ErrDay) {
			t.Errorf("%q is a day", text)
		}
	}
	for at, want := range map[string]string{
		"2026-06-30T22:59:59Z": "2026-06-30", "2026-06-30T23:00:00Z": "2026-07-01", // summer time
		"2026-12-31T23:59:59Z": "2026-12-31", "2027-01-01T00:00:00Z": "2027-01-01",
		"2026-07-01T01:30:00+02:00": "2026-07-01",
	} {
		instant, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if day, err := ParseDay(want); err != nil || DayOf(instant) != day {
			t.Errorf("%s is not on %s", at, want)
		}
	}
}

// twin answers from all rows, one by one.
type twin []Row

func (w twin) related(token [keys.TokenSize]byte, organisation string, day Day) bool {
	return slices.ContainsFunc(w, func(r Row) bool { return r.Token == token && r.Code() == organisation && r.From <= day && day <= r.To })
}

func (w twin) practice(token [keys.TokenSize]byte, day Day) string {
	since := map[string]Day{}
	latest := Day(0)
	for _, r := range w {
		if r.Token == token && r.Kind == Registered && r.From <= day && day <= r.To {
			since[r.Code()] = max(since[r.Code()], r.From)
			latest = max(latest, r.From)
		}
	}
	var found []string
	for code, from := range since {
		if from == latest {
			found = append(found, code)
		}
	}
	if len(found) != 1 {
		return ""
	}
	return found[0]
}

// TestLookupsAreATwins: whatever the rows, a table says what looking at all of them says.
// Few patients have many rows each, so that they lie across blocks.
func TestLookupsAreATwins(t *testing.T) {
	codes := []string{"A81001", "B82002", "RX1", "RX10"}
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		patients, days := 1+random.IntN(6), 1+random.IntN(30)
		rows := make([]Row, random.IntN(600))
		for i := range rows {
			from := Day(random.IntN(days))
			rows[i] = Row{Token: token(2 * random.IntN(patients)), Kind: Kind(random.IntN(2)), Organisation: Organisation(codes[random.IntN(len(codes))]), From: from, To: from + Day(random.IntN(3))}
			if random.IntN(10) == 0 {
				rows[i].To = NoEnd
			}
		}
		folder, err := os.MkdirTemp("", "table")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(folder) }()
		put(t, folder, map[Key][]Row{lake: rows})
		store := NewStore(folder, time.Now)
		defer store.Close()
		view, err := store.View()
		if err != nil {
			t.Fatal(err)
		}
		defer view.Release()
		table, err := view.Table(lake)
		if err != nil {
			t.Fatal(err)
		}
		if err := table.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		slow := twin(rows)
		for n := range 2*patients + 1 {
			for range 12 {
				day := Day(random.IntN(days + 3))
				for _, code := range append(codes, "RX", "RX100") {
					if got, err := table.Related(t.Context(), token(n), Organisation(code), day); err != nil || got != slow.related(token(n), code, day) {
						t.Fatalf("patient %d, %s, day %d: %v, %v", n, code, day, got, err)
					}
				}
				if got, err := table.Practice(t.Context(), token(n), day); err != nil || got != slow.practice(token(n), day) {
					t.Fatalf("the practice of patient %d on day %d: %q, %v; want %q", n, day, got, err, slow.practice(token(n), day))
				}
			}
		}
	})
}

// some is rows of three blocks.
func some() []Row {
	var rows []Row
	for n := range 150 {
		rows = append(rows, Row{Token: token(n), Organisation: Organisation("A81001"), From: 5, To: 10})
	}
	return rows
}

// TestDamageIsNeverAnAnswer: no byte of a table can change, and none be missing, without
// that reading it all says so, and without that each lookup is right or an error. The table
// as it was written is the control.
func TestDamageIsNeverAnAnswer(t *testing.T) {
	folder := t.TempDir()
	put(t, folder, map[Key][]Row{lake: some()})
	document, err := Read(folder)
	if err != nil {
		t.Fatal(err)
	}
	entry := &document.Tables[0]
	path := filepath.Join(folder, entry.File)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// lookups returns how many of the lookups were right; one that is wrong ends the test.
	lookups := func(what string) (right int, checked error) {
		table, err := Open(folder, entry)
		if err != nil {
			return 0, err
		}
		defer func() { _ = table.Close() }()
		for _, n := range []int{0, 63, 64, 100, 149, 150} {
			related, err := table.Related(t.Context(), token(n), Organisation("A81001"), 7)
			if err == nil && related != (n < 150) {
				t.Fatalf("%s: patient %d: %v", what, n, related)
			}
			code, e := table.Practice(t.Context(), token(n), 7)
			if e == nil && (code == "A81001") != (n < 150) {
				t.Fatalf("%s: the practice of patient %d is %q", what, n, code)
			}
			if err == nil && e == nil {
				right++
			}
		}
		return right, table.Check(t.Context())
	}
	if right, err := lookups("control"); err != nil || right != 6 {
		t.Fatalf("the control: %d, %v", right, err)
	}
	damage := func(what string, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := lookups(what); !errors.Is(err, ErrDamaged) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for i := 0; i < len(whole); i += 1 + i%7 {
		b := bytes.Clone(whole)
		b[i] ^= 1 << (i % 8)
		damage(fmt.Sprintf("byte %d flipped", i), b)
	}
	for n := 0; n < len(whole); n += 37 {
		damage(fmt.Sprintf("cut to %d", n), whole[:n])
		damage(fmt.Sprintf("without its first %d", n+1), whole[n+1:])
	}
	// Blocks that were exchanged are whole, each by itself.
	b := bytes.Clone(whole)
	copy(b[len(magic):], whole[len(magic)+minBlockRows*rowSize:len(magic)+2*minBlockRows*rowSize])
	damage("a block twice", b)
	// Another epoch's table under this name.
	other := t.TempDir()
	put(t, other, map[Key][]Row{next: some()})
	d, err := Read(other)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = os.ReadFile(filepath.Join(other, d.Tables[0].File)); err != nil {
		t.Fatal(err)
	}
	damage("another epoch's", b)
	// A table of the same epoch, of as many rows, that is another.
	rows := some()
	rows[70].To++
	other = t.TempDir()
	put(t, other, map[Key][]Row{lake: rows})
	if b, err = os.ReadFile(filepath.Join(other, entry.File)); err != nil {
		t.Fatal(err)
	}
	damage("another of this epoch", b)
	// Damage while it is open is found, too.
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	table, err := Open(folder, entry)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = table.Close() }()
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Related(t.Context(), token(100), Organisation("A81001"), 7); !errors.Is(err, ErrDamaged) {
		t.Errorf("cut while it is open: %v", err)
	}
}

// TestDamagedDocument: a document of which a byte has changed is another or none, and says
// the same if it is read at all.
func TestDamagedDocument(t *testing.T) {
	folder := t.TempDir()
	put(t, folder, map[Key][]Row{lake: some(), next: some()[:3]})
	path := filepath.Join(folder, DocumentFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, err := Read(folder)
	if err != nil || len(before.Tables) != 2 {
		t.Fatal(err)
	}
	refused := 0
	for i := range whole {
		for _, flip := range []byte{1, 4, 32} {
			b := bytes.Clone(whole)
			b[i] ^= flip
			d, err := parse(b)
			if err != nil {
				refused++
				continue
			}
			if d.Digest != before.Digest || !slices.Equal(d.Tables, before.Tables) {
				t.Fatalf("byte %d changed, and so did what is read", i)
			}
		}
	}
	if refused < len(whole) {
		t.Errorf("%d of %d changes were refused", refused, 3*len(whole))
	}
	for n := range whole[:len(whole)-1] {
		if _, err := parse(whole[:n]); err == nil {
			t.Errorf("cut to %d bytes it is read", n)
		}
	}
	if err := os.WriteFile(path, whole[1:], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Begin(folder); fault.KindOf(err) != fault.Internal {
		t.Errorf("a folder whose document is damaged is changed: %v", err)
	}
	if _, err := NewStore(folder, time.Now).View(); !errors.Is(err, ErrDamaged) {
		t.Errorf("it is answered from: %v", err)
	}
}

// TestViewsAreOfOneTime: who looks sees the tables that counted when she began, and the next
// look those that replaced them, without a restart.
func TestViewsAreOfOneTime(t *testing.T) {
	folder := t.TempDir()
	store := NewStore(folder, func() time.Time { return noon })
	defer store.Close()
	if _, err := store.View(); !errors.Is(err, ErrNone) {
		t.Fatalf("before anything is loaded: %v", err)
	}
	related := func(v *View, key Key, n int) bool {
		t.Helper()
		table, err := v.Table(key)
		if err != nil {
			t.Fatal(err)
		}
		if table == nil {
			return false
		}
		yes, err := table.Related(t.Context(), token(n), Organisation("A81001"), 7)
		if err != nil {
			t.Fatal(err)
		}
		return yes
	}
	look := func() *View {
		t.Helper()
		v, err := store.View()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	put(t, folder, map[Key][]Row{lake: some()[:50]})
	first := look()
	put(t, folder, map[Key][]Row{lake: some()[50:100], next: some()[:10]})
	second := look()
	if !related(first, lake, 0) || related(first, lake, 60) || related(first, next, 0) {
		t.Error("the first look does not see what was there")
	}
	if related(second, lake, 0) || !related(second, lake, 60) || !related(second, next, 0) {
		t.Error("the second look does not see what is there now")
	}
	first.Release()
	// A table that stays is the same file.
	u, err := Begin(folder)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Begin(folder); fault.KindOf(err) != fault.Usage {
		t.Errorf("two change the tables at once: %v", err)
	}
	if !u.Drop(lake) || u.Drop(lake) {
		t.Error("a table is not dropped once")
	}
	if v := look(); !related(v, lake, 60) {
		t.Error("a change counts before it is committed")
	} else {
		v.Release()
	}
	if err := u.Commit("test", noon); err != nil {
		t.Fatal(err)
	}
	u.Close()
	third := look()
	if related(third, lake, 60) || !related(third, next, 0) || !related(second, lake, 60) {
		t.Error("what was dropped is there, or what stayed is not")
	}
	third.Release()
	second.Release()
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(files) != 2 {
		t.Errorf("files: %d, %v; want the document and a table", len(files), err)
	}
}

// TestReplacedWhileTheyAreOpened: who has read which tables count, and finds them gone, looks
// again, and does not take them for damaged.
func TestReplacedWhileTheyAreOpened(t *testing.T) {
	folder := t.TempDir()
	put(t, folder, map[Key][]Row{lake: some()})
	store := NewStore(folder, func() time.Time { return noon })
	defer store.Close()
	replacements := 0
	store.read = func(folder string) (*Document, error) {
		d, err := Read(folder)
		if replacements++; replacements < openTries {
			put(t, folder, map[Key][]Row{lake: some()[replacements:]})
		}
		return d, err
	}
	v, err := store.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Release()
	table, err := v.Table(lake)
	if err != nil || v.Failed() > 0 || table.Rows() != int64(len(some())-openTries+1) {
		t.Errorf("%d tables cannot be read: %v", v.Failed(), err)
	}
}

// TestOneDamagedTable: questions to the other are answered, and once it is mended, to it.
func TestOneDamagedTable(t *testing.T) {
	folder := t.TempDir()
	now := noon
	store := NewStore(folder, func() time.Time { return now })
	defer store.Close()
	put(t, folder, map[Key][]Row{lake: some(), next: some()})
	document, err := Read(folder)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, document.Tables[0].File)
	if err := os.Rename(path, path+"x"); err != nil {
		t.Fatal(err)
	}
	failed := func(want int) {
		t.Helper()
		v, err := store.View()
		if err != nil {
			t.Fatal(err)
		}
		defer v.Release()
		_, bad := v.Table(lake)
		good, err := v.Table(next)
		if v.Failed() != want || (bad != nil) != (want > 0) || good == nil || err != nil {
			t.Fatalf("%d failed, want %d; %v, %v", v.Failed(), want, bad, err)
		}
	}
	failed(1)
	if err := os.Rename(path+"x", path); err != nil {
		t.Fatal(err)
	}
	now = now.Add(tryAgain)
	failed(0)
}

// TestWhatKilledLoadsLeave is removed by the next change, and what is another's is not.
func TestWhatKilledLoadsLeave(t *testing.T) {
	folder := t.TempDir()
	put(t, folder, map[Key][]Row{lake: some()})
	for _, name := range []string{"2-7-3.9.table", ".2-7-3.2.table123", ".relationships.json77", ".load/chunk-000000", "notes.txt", ".load-notes"} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	u, err := Begin(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{".load-notes", "2-7-3.1.table", "notes.txt", DocumentFile}; !slices.Equal(names, want) {
		t.Errorf("left: %q, want %q", names, want)
	}
}

func TestWriterRefusesDisorder(t *testing.T) {
	u, err := Begin(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	w, err := u.Create(lake, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	rows := some()[:2]
	for i, want := range []struct {
		row   int
		fresh bool
		err   error
	}{{1, true, nil}, {1, false, nil}, {0, false, ErrOrder}} {
		if fresh, err := w.Append(&rows[want.row]); fresh != want.fresh || !errors.Is(err, want.err) {
			t.Errorf("row %d: %v, %v", i, fresh, err)
		}
	}
	if _, err := u.Create(lake, maxTableRows+1); !errors.Is(err, ErrTooMany) {
		t.Errorf("%v", err)
	}
}

// TestIndexIsBounded: however many rows are announced, the index does not grow with them.
func TestIndexIsBounded(t *testing.T) {
	u, err := Begin(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for _, rows := range []int64{0, 1, 64 * maxIndexed, 64*maxIndexed + 1, 10_000_000, 1e9, maxTableRows} {
		w, err := u.Create(lake, rows)
		if err != nil {
			t.Fatal(err)
		}
		if blocks := (rows + w.perUnit - 1) / w.perUnit; blocks > maxIndexed || w.perUnit > maxBlockRows {
			t.Errorf("%d rows have %d blocks of %d", rows, blocks, w.perUnit)
		}
		w.Abort()
	}
}

// FuzzTable: whatever a file holds, under a trailer whose digest is right, reading it ends
// with answers or an error.
func FuzzTable(f *testing.F) {
	folder := f.TempDir()
	put(f, folder, map[Key][]Row{lake: some()})
	document, err := Read(folder)
	if err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(folder, document.Tables[0].File))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(magic)])
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "table")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b[max(0, len(b)-trailerSize):])
		table, err := open(path, lake, hex.EncodeToString(sum[:]))
		if err != nil {
			return
		}
		defer func() { _ = table.Close() }()
		for n := range 3 {
			_, _ = table.Related(t.Context(), token(70*n), Organisation("A81001"), 7) // an error or not
			_, _ = table.Practice(t.Context(), token(70*n), 7)
		}
		_ = table.Check(t.Context())
	})
}

// FuzzDocument: what is read is what was written.
func FuzzDocument(f *testing.F) {
	folder := f.TempDir()
	put(f, folder, map[Key][]Row{lake: some()[:1]})
	whole, err := os.ReadFile(filepath.Join(folder, DocumentFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parse(b)
		if err != nil {
			return
		}
		again, err := keys.Encode(d)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := parse(again); err != nil || e.Digest != d.Digest {
			t.Fatal(err)
		}
	})
}

// BenchmarkRelated looks up random patients among a million rows, half of whom are there.
func BenchmarkRelated(b *testing.B) {
	const rows = 1_000_000
	folder := b.TempDir()
	u, err := Begin(folder)
	if err != nil {
		b.Fatal(err)
	}
	defer u.Close()
	w, err := u.Create(lake, rows)
	if err != nil {
		b.Fatal(err)
	}
	for n := range rows {
		if _, err := w.Append(&Row{Token: token(2 * n), Organisation: Organisation("A81001"), To: NoEnd}); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := u.Put(w, noon); err != nil {
		b.Fatal(err)
	}
	if err := u.Commit("test", noon); err != nil {
		b.Fatal(err)
	}
	store := NewStore(folder, time.Now)
	defer store.Close()
	random := rand.New(rand.NewPCG(1, 2))
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		n := random.IntN(2 * rows)
		v, err := store.View()
		if err != nil {
			b.Fatal(err)
		}
		table, err := v.Table(lake)
		if err != nil {
			b.Fatal(err)
		}
		if yes, err := table.Related(ctx, token(n), Organisation("A81001"), 7); err != nil || yes != (n%2 == 0) {
			b.Fatal(yes, err)
		}
		v.Release()
	}
}

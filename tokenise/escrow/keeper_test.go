package escrow_test

import (
	"bytes"
	"context"
	"crypto/hpke"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tarn/keys"
	envelope "tarn/keys/escrow"
	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
	"tarn/keys/secret"
	"tarn/tokenise/escrow"
	"tarn/tokenise/escrow/escrowfile"
	"tarn/tokenise/regionstore"
)

var start = time.Date(2026, 11, 26, 1, 2, 3, 0, time.UTC)

// holder is a key holder with an escrow key, and the token key of domain lake.
type holder struct {
	private hpke.PrivateKey
	token   secret.Key
}

func newHolder(t testing.TB) *holder {
	t.Helper()
	private, err := envelope.KEM().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return &holder{private: private, token: secret.New([secret.Size]byte{7})}
}

func (h *holder) rotated(t testing.TB) *holder {
	next := newHolder(t)
	next.token = h.token
	return next
}

func (h *holder) public() []byte { return h.private.PublicKey().Bytes() }

func (h *holder) project(name string) *keys.Project {
	public := hex.EncodeToString(h.public())
	return &keys.Project{Name: name, Domain: "lake", Scheme: keys.SchemeKeyedHash, Reidentify: keys.Reidentify{Mode: "direct"}, Keys: keys.KeySet{TokenEpoch: 3, EscrowPublicKey: &public}}
}

func (h *holder) recipient(t testing.TB, project string) *escrow.Recipient {
	t.Helper()
	r, err := escrow.RecipientOf(h.project(project))
	if err != nil || r == nil {
		t.Fatalf("%v, %v", r, err)
	}
	return r
}

func (h *holder) mac() secret.MAC { return keys.TokenDeriver(h.token, "lake", 3).MAC() }

func (h *holder) tokenOf(n nhsnumber.Number) [keys.TokenSize]byte {
	return *secret.NewHasher().Sum(h.mac(), n[:])
}

// opens returns what a token's envelope in a keeper holds.
func (h *holder) opens(t testing.TB, k *escrow.Keeper, token [keys.TokenSize]byte) string {
	t.Helper()
	found, err := k.Find("lake", 3, token)
	if err != nil {
		t.Fatal(err)
	}
	number, err := found.Open(h.private, envelope.Context{Project: found.Project, Domain: "lake", TokenEpoch: 3, HolderKeyID: envelope.KeyID(h.public())}, h.mac())
	if err != nil {
		t.Fatal(err)
	}
	return string(number[:])
}

// people returns numbers that pass the check digit, and their tokens.
func (h *holder) people(n int) (all []escrow.Item) {
	for i := 400_000_000; len(all) < n; i++ {
		first := [9]byte([]byte(fmt.Sprintf("%09d", i)))
		if digit, ok := nhsnumber.CheckDigit(first); ok {
			number := nhsnumber.Number(append(first[:], digit))
			all = append(all, escrow.Item{Token: h.tokenOf(number), Number: number})
		}
	}
	return all
}

type region struct {
	*escrow.Keeper
	store   *regionstore.Store
	options regionstore.Options
	now     time.Time
	free    uint64
}

func newRegion(t testing.TB, known int) *region {
	t.Helper()
	r := &region{now: start, free: 1 << 40}
	r.options = regionstore.Options{Dir: filepath.Join(t.TempDir(), "store"), Key: secret.New([secret.Size]byte{1}), FreeFloor: 1,
		Clock: func() time.Time { return r.now }, FreeSpace: func(string) (uint64, error) { return r.free, nil }}
	t.Cleanup(func() { _ = r.store.Close() }) // closed again by none that looks
	r.open(t, known)
	return r
}

func (r *region) open(t testing.TB, known int) {
	t.Helper()
	var err error
	if r.store, err = regionstore.Open(r.options); err != nil {
		t.Fatal(err)
	}
	if r.Keeper, err = escrow.NewKeeper(r.store, escrow.Options{Clock: r.options.Clock, Known: known}); err != nil {
		t.Fatal(err)
	}
}

func (r *region) seal(t testing.TB, to *escrow.Recipient, items []escrow.Item) int {
	t.Helper()
	n, err := r.Seal(context.Background(), to, items)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestFirstSightIsKept: each token is sealed once, whatever comes again, in one call or
// later, remembered or read from the store, and after a restart; each opens to its number.
func TestFirstSightIsKept(t *testing.T) {
	h := newHolder(t)
	to, people := h.recipient(t, "study"), h.people(60)
	for _, known := range []int{0, 4} { // nearly all forgotten: the store is asked
		r := newRegion(t, known)
		if n := r.seal(t, to, slices.Concat(people[:20], people[:5])); n != 20 {
			t.Errorf("sealed %d of 20", n)
		}
		before := r.store.Transactions()
		if n := r.seal(t, to, people[:20]); n != 0 || r.store.Transactions() != before {
			t.Errorf("sealed %d again, in %d transactions", n, r.store.Transactions()-before)
		}
		if n := r.seal(t, to, people[10:40]); n != 20 {
			t.Errorf("sealed %d of 20 new ones", n)
		}
		if err := r.store.Close(); err != nil {
			t.Fatal(err)
		}
		r.open(t, known)
		if n := r.seal(t, to, people); n != 20 {
			t.Errorf("after a restart: sealed %d of 20", n)
		}
		if n, err := r.Tokens(context.Background()); err != nil || n != 60 {
			t.Errorf("%d tokens, %v", n, err)
		}
		if n, err := r.store.Count(context.Background(), regionstore.KindEscrowBatch); err != nil || n != 2 {
			t.Errorf("%d batches of two processes, %v", n, err)
		}
		for i := range people {
			if got := h.opens(t, r.Keeper, people[i].Token); got != string(people[i].Number[:]) {
				t.Errorf("token %d opens to another number", i)
			}
		}
	}
}

// TestEnvelope is what the region's answer carries.
func TestEnvelope(t *testing.T) {
	h := newHolder(t)
	r, people := newRegion(t, 0), h.people(2)
	r.seal(t, h.recipient(t, "study"), people[:1])
	e, err := r.Envelope(context.Background(), "lake", 3, people[0].Token)
	if err != nil || e.HolderKeyID != envelope.KeyID(h.public()) || len(e.Enc) != envelope.EncSize || e.Token != people[0].Token {
		t.Errorf("%+v, %v", e, err)
	}
	for name, ask := range map[string]func() error{
		"another token":  func() error { _, err := r.Envelope(context.Background(), "lake", 3, people[1].Token); return err },
		"another domain": func() error { _, err := r.Envelope(context.Background(), "pond", 3, people[0].Token); return err },
		"another epoch":  func() error { _, err := r.Envelope(context.Background(), "lake", 4, people[0].Token); return err },
	} {
		if err := ask(); !errors.Is(err, regionstore.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Envelope(cancelled, "lake", 3, people[0].Token); !errors.Is(err, context.Canceled) {
		t.Errorf("a question that was given up: %v", err)
	}
	// Another project of the domain has the same token, and needs no other envelope.
	if n := r.seal(t, h.recipient(t, "audit"), people); n != 1 {
		t.Errorf("sealed %d for a second project of the domain", n)
	}
	for i, project := range []string{"study", "audit"} {
		if found, err := r.Find("lake", 3, people[i].Token); err != nil || found.Project != project {
			t.Errorf("token %d: %v, %v", i, found, err)
		}
	}
}

// TestRotatedHolderKey: at their next sight tokens are sealed to the new key, once.
func TestRotatedHolderKey(t *testing.T) {
	old := newHolder(t)
	next := old.rotated(t)
	r, people := newRegion(t, 0), old.people(6)
	r.seal(t, old.recipient(t, "study"), people)
	if n := r.seal(t, next.recipient(t, "study"), people[:3]); n != 3 {
		t.Errorf("sealed %d of 3 to the new key", n)
	}
	if n := r.seal(t, next.recipient(t, "study"), people[:3]); n != 0 {
		t.Errorf("sealed %d twice", n)
	}
	for i := range people {
		by := old
		if i < 3 {
			by = next
		}
		if by.opens(t, r.Keeper, people[i].Token) != string(people[i].Number[:]) {
			t.Errorf("token %d opens to another number", i)
		}
	}
}

// TestManyAtOnce: callers that see the same people at the same time all get what they
// saw kept, in one batch.
func TestManyAtOnce(t *testing.T) {
	h := newHolder(t)
	to, people := h.recipient(t, "study"), h.people(200)
	r := newRegion(t, 0)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for from := 20 * i; from < 20*i+60; from += 20 { // each overlaps with the next
				r.seal(t, to, people[from%200:][:20])
				if got := h.opens(t, r.Keeper, people[from%200].Token); got != string(people[from%200].Number[:]) {
					t.Error("a token opens to another number")
				}
			}
		})
	}
	wait.Wait()
	if n, err := r.store.Count(context.Background(), regionstore.KindEscrowBatch); err != nil || n != 1 {
		t.Errorf("%d batches, %v", n, err)
	}
}

// TestNoSpaceKeepsNothingAndForgetsNothing: what could not be written is not taken for
// known, nor is its batch.
func TestNoSpaceKeepsNothingAndForgetsNothing(t *testing.T) {
	h := newHolder(t)
	to, people := h.recipient(t, "study"), h.people(4)
	r := newRegion(t, 0)
	r.free = 0
	if _, err := r.Seal(context.Background(), to, people[:2]); !errors.Is(err, regionstore.ErrNoSpace) {
		t.Fatalf("without space: %v", err)
	}
	r.free = 1 << 40
	if n := r.seal(t, to, people); n != 4 {
		t.Errorf("sealed %d of 4", n)
	}
	for i := range people {
		if h.opens(t, r.Keeper, people[i].Token) != string(people[i].Number[:]) {
			t.Errorf("token %d opens to another number", i)
		}
	}
}

// TestDamagedEnvelopeIsMended at the token's next sight; until then it is an error.
func TestDamagedEnvelopeIsMended(t *testing.T) {
	h := newHolder(t)
	to, people := h.recipient(t, "study"), h.people(2)
	name := func(i int) []byte { return keys.LP(keys.Text("lake"), keys.U32(3), people[i].Token[:]) }
	for what, spoil := range map[string]func(r *region, e *envelope.Envelope) regionstore.Change{
		"a record that is too short": func(*region, *envelope.Envelope) regionstore.Change {
			return regionstore.Change{Kind: regionstore.KindEscrow, Name: name(0), Value: []byte("x")}
		},
		"a batch that is gone": func(_ *region, e *envelope.Envelope) regionstore.Change {
			return regionstore.Change{Kind: regionstore.KindEscrowBatch, Name: e.Batch[:]}
		},
		"a batch that is too short": func(_ *region, e *envelope.Envelope) regionstore.Change {
			return regionstore.Change{Kind: regionstore.KindEscrowBatch, Name: e.Batch[:], Value: []byte{0, 5, 's'}}
		},
	} {
		r := newRegion(t, 0)
		r.seal(t, to, people)
		e, err := r.Envelope(context.Background(), "lake", 3, people[0].Token)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.store.Commit(context.Background(), []regionstore.Change{spoil(r, e)}); err != nil {
			t.Fatal(err)
		}
		if err := r.store.Close(); err != nil {
			t.Fatal(err)
		}
		r.open(t, 0) // nothing is remembered
		if _, err := r.Find("lake", 3, people[0].Token); !errors.Is(err, regionstore.ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
		if n := r.seal(t, to, people[:1]); n != 1 || h.opens(t, r.Keeper, people[0].Token) != string(people[0].Number[:]) {
			t.Errorf("%s: sealed %d", what, n)
		}
	}
}

// TestNoEscrow: of which projects there is one.
func TestNoEscrow(t *testing.T) {
	h := newHolder(t)
	if len(h.public()) != keys.EscrowPublicKeySize {
		t.Errorf("the key has %d bytes, and a record %d", len(h.public()), keys.EscrowPublicKeySize)
	}
	for name, change := range map[string]func(*keys.Project){
		"release tokens":  func(p *keys.Project) { p.Reidentify.Mode = "none" },
		"another scheme":  func(p *keys.Project) { p.Scheme = keys.SchemeOblivious },
		"no key in it":    func(p *keys.Project) { p.Keys.EscrowPublicKey = nil },
		"as it should be": func(*keys.Project) {},
	} {
		p := h.project("study")
		change(p)
		r, err := escrow.RecipientOf(p)
		if err != nil || (r != nil) != (name == "as it should be") {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
	p := h.project("study")
	bad := strings.Repeat("ff", keys.EscrowPublicKeySize)
	p.Keys.EscrowPublicKey = &bad
	if _, err := escrow.RecipientOf(p); fault.KindOf(err) != fault.Usage {
		t.Errorf("bytes that are no key: %v", err)
	}
}

// TestNumbersAreOnNoDisk, nor printed.
func TestNumbersAreOnNoDisk(t *testing.T) {
	h := newHolder(t)
	r, people := newRegion(t, 0), h.people(50)
	r.seal(t, h.recipient(t, "study"), people)
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	read := 0
	err := filepath.WalkDir(r.options.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		read += len(b)
		for i := range people {
			if bytes.Contains(b, people[i].Number[:]) || bytes.Contains(b, people[i].Token[:]) {
				t.Errorf("%s holds a number or a token", entry.Name())
			}
		}
		return err
	})
	if err != nil || read == 0 {
		t.Fatalf("read %d bytes, %v", read, err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		text := fmt.Sprintf(verb, people[0]) + fmt.Sprintf(verb, people)
		if strings.Contains(text, string(people[0].Number[:])) || strings.Contains(text, hex.EncodeToString(people[0].Number[:])) || strings.Contains(text, "52, ") {
			t.Errorf("%s prints a number", verb)
		}
	}
}

// file makes a file as a run leaves it.
func (h *holder) file(t testing.TB, to *escrow.Recipient, at time.Time, people []escrow.Item) []byte {
	t.Helper()
	b, err := to.NewBatch(nil)
	if err != nil {
		t.Fatal(err)
	}
	people = slices.Clone(people)
	slices.SortFunc(people, func(a, b escrow.Item) int { return bytes.Compare(a.Token[:], b.Token[:]) })
	var out bytes.Buffer
	w, err := escrowfile.NewWriter(&out, &escrowfile.Header{Context: to.Context, At: at, Batches: []escrowfile.Batch{{ID: b.ID, Enc: b.Enc}}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range people {
		sealed, index, err := b.Seal(nil, people[i].Token, people[i].Number)
		if err == nil {
			err = w.Append(&escrowfile.Item{Token: people[i].Token, Index: index, Sealed: [envelope.SealedSize]byte(sealed)})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func (r *region) imported(t testing.TB, file []byte, keep bool) escrow.Counts {
	t.Helper()
	in, err := escrowfile.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	items := uint64(0)
	c, err := r.Import(context.Background(), in, keep, func(n uint64) { items = n })
	if err != nil || items != c.New+c.Known+c.Replaced {
		t.Fatalf("%+v of %d, %v", c, items, err)
	}
	return c
}

// TestImport: what a run left is kept as if the tokens had been seen here, once; what is
// kept already stays, unless the file's is to a newer key.
func TestImport(t *testing.T) {
	h := newHolder(t)
	next := h.rotated(t)
	to, people := h.recipient(t, "study"), h.people(30)
	r := newRegion(t, 0)
	r.seal(t, to, people[:10])
	file := h.file(t, to, start.Add(-time.Hour), people[5:20])
	want := escrow.Counts{New: 10, Known: 5}
	if c := r.imported(t, file, false); c != want {
		t.Errorf("counted %+v", c)
	}
	if n, err := r.Tokens(context.Background()); err != nil || n != 10 {
		t.Errorf("counting kept %d, %v", n, err)
	}
	if c := r.imported(t, file, true); c != want {
		t.Errorf("took %+v", c)
	}
	if c := r.imported(t, file, true); c != (escrow.Counts{Known: 15}) {
		t.Errorf("took again %+v", c)
	}
	if n := r.seal(t, to, people[:20]); n != 0 {
		t.Errorf("sealed %d that were imported", n)
	}
	for name, tt := range map[string]struct {
		at   time.Time
		want escrow.Counts
		by   *holder
	}{
		"an older key": {start.Add(-2 * time.Hour), escrow.Counts{Known: 15}, h},
		"a newer key":  {start.Add(time.Hour), escrow.Counts{Replaced: 15}, next},
	} {
		other := newRegion(t, 0)
		other.imported(t, file, true)
		if c := other.imported(t, next.file(t, next.recipient(t, "study"), tt.at, people[5:20]), true); c != tt.want {
			t.Errorf("%s: %+v", name, c)
		}
		if tt.by.opens(t, other.Keeper, people[7].Token) != string(people[7].Number[:]) {
			t.Errorf("%s: it opens to another number", name)
		}
	}
	for i := range people[:20] {
		if h.opens(t, r.Keeper, people[i].Token) != string(people[i].Number[:]) {
			t.Errorf("token %d opens to another number", i)
		}
	}
}

// TestImportOfAnotherBatchUnderAKeptId would close what is kept, and is refused.
func TestImportOfAnotherBatchUnderAKeptId(t *testing.T) {
	h := newHolder(t)
	to, people := h.recipient(t, "study"), h.people(2)
	r := newRegion(t, 0)
	r.imported(t, h.file(t, to, start, people[:1]), true)
	e, err := r.Envelope(context.Background(), "lake", 3, people[0].Token)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := escrowfile.NewWriter(&out, &escrowfile.Header{Context: to.Context, At: start, Batches: []escrowfile.Batch{{ID: e.Batch, Enc: make([]byte, envelope.EncSize)}}})
	if err == nil {
		err = errors.Join(w.Append(&escrowfile.Item{Token: people[1].Token}), w.Finish())
	}
	if err != nil {
		t.Fatal(err)
	}
	in, err := escrowfile.NewReader(&out)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := r.Import(context.Background(), in, true, nil); !errors.Is(err, escrow.ErrBatch) || c != (escrow.Counts{}) {
		t.Errorf("%+v, %v", c, err)
	}
	if h.opens(t, r.Keeper, people[0].Token) != string(people[0].Number[:]) {
		t.Error("what was kept does not open")
	}
}

// TestInterruptedImportGoesOn: what was kept stays, and is known the next time.
func TestInterruptedImportGoesOn(t *testing.T) {
	h := newHolder(t)
	to, people := h.recipient(t, "study"), h.people(5000) // more than a block
	file := h.file(t, to, start, people)
	r := newRegion(t, 0)
	ctx, cancel := context.WithCancel(context.Background())
	in, err := escrowfile.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Import(ctx, in, true, func(uint64) { cancel() })
	if !errors.Is(err, context.Canceled) || c != (escrow.Counts{New: 4096}) {
		t.Fatalf("%+v, %v", c, err)
	}
	if c := r.imported(t, file, true); c != (escrow.Counts{New: 904, Known: 4096}) {
		t.Errorf("going on: %+v", c)
	}
}

// BenchmarkSeal is for tokens that are new, and that are remembered.
func BenchmarkSeal(b *testing.B) {
	h := newHolder(b)
	to, people := h.recipient(b, "study"), h.people(1024)
	for _, name := range []string{"new", "known"} {
		b.Run(name, func(b *testing.B) {
			r := newRegion(b, 0)
			fresh := slices.Clone(people)
			for i := 0; b.Loop(); i++ {
				if name == "new" {
					for j := range fresh {
						fresh[j].Token[0], fresh[j].Token[1], fresh[j].Token[2] = byte(i), byte(i>>8), byte(i>>16)
					}
				}
				r.seal(b, to, fresh)
			}
			b.ReportMetric(float64(b.N*len(people))/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}

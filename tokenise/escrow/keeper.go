package escrow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"tarn/keys"
	"tarn/keys/escrow"
	"tarn/keys/nhsnumber"
	"tarn/keys/secret"
	"tarn/tokenise/regionstore"
)

// Options are what a keeper is given.
type Options struct {
	Clock func() time.Time // needed
	Rand  io.Reader        // nil is the operating system's
	// Known is the number of tokens that are remembered at least, some 80 bytes each; 0 is
	// DefaultKnown.
	Known int
}

// DefaultKnown is the number of tokens that are remembered at least.
const DefaultKnown = 1 << 18

// batchItems is the number of items after which another batch is begun. A batch's key is
// in memory until then: it opens no more than the tokenising key beside it does.
const batchItems = 1 << 16

// maxContexts bounds the contexts, and the batches of the store, that are remembered.
const (
	maxContexts = 64
	maxBatches  = 4096
)

// Item is a token and whose it is.
type Item struct {
	Token  [keys.TokenSize]byte
	Number nhsnumber.Number
}

// Format implements [fmt.Formatter]; it prints a fixed text for every verb.
func (Item) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "[a token and its number]") }

// Keeper keeps envelopes in the region's store. It is safe for concurrent use.
type Keeper struct {
	store   *regionstore.Store
	options Options
	known   *known
	key     secret.Key // of this process, for known
	hashers sync.Pool

	mu      sync.Mutex
	targets map[escrow.Context]*target
	batches map[[16]byte]batch // of the store, as they were read; without enc
}

// target is a recipient that numbers are sealed to.
type target struct {
	recipient *Recipient
	hash      secret.MAC // of what is known

	mu    sync.Mutex
	batch *open
}

// open is a batch that items are added to.
type open struct {
	*escrow.Batch
	record regionstore.Change
	items  int
	kept   bool // its record is in the store
}

// NewKeeper returns a keeper of a store.
func NewKeeper(store *regionstore.Store, o Options) (*Keeper, error) {
	if o.Known == 0 {
		o.Known = DefaultKnown
	}
	key, err := secret.Generate(o.Rand)
	return &Keeper{
		store: store, options: o, known: newKnown(o.Known), key: key, hashers: sync.Pool{New: func() any { return secret.NewHasher() }},
		targets: map[escrow.Context]*target{}, batches: map[[16]byte]batch{},
	}, err
}

func (k *Keeper) target(r *Recipient) *target {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.targets[r.Context]
	if t == nil {
		if len(k.targets) >= maxContexts {
			clear(k.targets)
		}
		// Not of the project: within a domain a token has one envelope.
		hash := k.key.Derive(keys.LP(keys.Text(r.Domain), keys.U32(r.TokenEpoch), keys.Text(r.HolderKeyID)))
		t = &target{recipient: r, hash: hash.MAC()}
		k.targets[r.Context] = t
	}
	return t
}

// Seal keeps an envelope of each token that has none yet, or none to this key, and
// returns how many these were. They are durable when it returns: call it before a token
// leaves the region. An error is that of the store.
func (k *Keeper) Seal(ctx context.Context, r *Recipient, items []Item) (sealed int, err error) {
	t := k.target(r)
	names := make([]knownKey, len(items))
	hasher := k.hashers.Get().(*secret.Hasher) //nolint:forcetypeassert // the pool has nothing else
	for i := range items {
		copy(names[i][:], hasher.Sum(t.hash, items[i].Token[:])[:])
	}
	k.hashers.Put(hasher)
	there := make([]bool, len(items))
	k.known.has(names, there)
	first := map[knownKey]bool{}
	var found []knownKey
	var missing []int
	for i := range items {
		if there[i] || first[names[i]] {
			continue
		}
		first[names[i]] = true
		current, err := k.current(r, &items[i].Token)
		if err != nil {
			return 0, err
		}
		if current {
			found = append(found, names[i])
		} else {
			missing = append(missing, i)
		}
	}
	k.known.remember(found)
	for len(missing) > 0 {
		n := min(len(missing), batchItems)
		if err := k.seal(ctx, t, items, missing[:n]); err != nil {
			return sealed, err
		}
		done := make([]knownKey, n)
		for i, at := range missing[:n] {
			done[i] = names[at]
		}
		k.known.remember(done)
		sealed, missing = sealed+n, missing[n:]
	}
	return sealed, nil
}

// current reports whether the store has an envelope of a token to a recipient's key. One
// that is damaged is none.
func (k *Keeper) current(r *Recipient, token *[keys.TokenSize]byte) (bool, error) {
	_, b, err := k.find(r.Domain, r.TokenEpoch, token)
	if errors.Is(err, regionstore.ErrNotFound) || errors.Is(err, regionstore.ErrDamaged) {
		return false, nil
	}
	return err == nil && b.HolderKeyID == r.HolderKeyID, err
}

// find returns a token's record and that of its batch, perhaps without enc.
func (k *Keeper) find(domain string, epoch uint32, token *[keys.TokenSize]byte) (i item, b batch, err error) {
	value, err := k.store.Get(regionstore.KindEscrow, itemName(nil, domain, epoch, token))
	if err != nil {
		return i, b, err
	}
	if i, err = decodeItem(value); err != nil {
		return i, b, err
	}
	k.mu.Lock()
	b, there := k.batches[i.batch]
	k.mu.Unlock()
	if there {
		return i, b, nil
	}
	if b, err = k.batch(i.batch); err != nil {
		return i, b, err
	}
	brief := b
	brief.enc = nil
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.batches) >= maxBatches {
		clear(k.batches)
	}
	k.batches[i.batch] = brief
	return i, b, nil
}

// batch reads a batch's record. One that an item refers to and that is not there is
// damage.
func (k *Keeper) batch(id [16]byte) (b batch, err error) {
	value, err := k.store.Get(regionstore.KindEscrowBatch, id[:])
	if errors.Is(err, regionstore.ErrNotFound) {
		return b, regionstore.ErrDamaged
	}
	if err != nil {
		return b, err
	}
	return decodeBatch(value)
}

// seal seals some of items, at most batchItems, and returns when they are durable.
func (k *Keeper) seal(ctx context.Context, t *target, items []Item, which []int) error {
	changes, batch, err := k.sealed(t, items, which)
	if err != nil {
		return err
	}
	if err := k.store.Commit(ctx, changes); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	batch.kept = true
	return nil
}

func (k *Keeper) sealed(t *target, items []Item, which []int) ([]regionstore.Change, *open, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.batch == nil || t.batch.items+len(which) > batchItems {
		var err error
		if t.batch, err = k.begin(t.recipient); err != nil {
			return nil, nil, err
		}
	}
	b := t.batch
	b.items += len(which)
	changes := make([]regionstore.Change, 0, len(which)+1)
	if !b.kept { // before its items, should these be divided
		changes = append(changes, b.record)
	}
	r := t.recipient
	for _, at := range which {
		sealed, index, err := b.Seal(nil, items[at].Token, items[at].Number)
		if err != nil {
			return nil, nil, err
		}
		i := item{batch: b.ID, index: index, sealed: [escrow.SealedSize]byte(sealed)}
		changes = append(changes, regionstore.Change{Kind: regionstore.KindEscrow, Name: itemName(nil, r.Domain, r.TokenEpoch, &items[at].Token), Value: i.encode()})
	}
	return changes, b, nil
}

func (k *Keeper) begin(r *Recipient) (*open, error) {
	b, err := r.NewBatch(k.options.Rand)
	if err != nil {
		return nil, err
	}
	record, err := batchChange(b.ID, &batch{Context: r.Context, at: k.options.Clock(), enc: b.Enc})
	return &open{Batch: b, record: record}, err
}

func batchChange(id [16]byte, b *batch) (regionstore.Change, error) {
	value, err := b.encode()
	return regionstore.Change{Kind: regionstore.KindEscrowBatch, Name: id[:], Value: value}, err
}

// Found is an envelope, and in which project it was sealed: the first of its domain that
// saw the token.
type Found struct {
	escrow.Envelope
	Project string
}

// Find returns whose a token is, sealed. The error is [regionstore.ErrNotFound] where it
// has no envelope, [regionstore.ErrDamaged] where that is damaged, which the token's next
// sight mends, or another of the store's.
func (k *Keeper) Find(domain string, epoch uint32, token [keys.TokenSize]byte) (*Found, error) {
	i, b, err := k.find(domain, epoch, &token)
	if err == nil && b.enc == nil {
		b, err = k.batch(i.batch)
	}
	if err != nil {
		return nil, err
	}
	return &Found{Envelope: escrow.Envelope{HolderKeyID: b.HolderKeyID, Batch: i.batch, Enc: b.enc, Index: i.index, Token: token, Sealed: i.sealed[:]}, Project: b.Project}, nil
}

// Envelope is Find, of a token that may come with a question that can be given up.
func (k *Keeper) Envelope(ctx context.Context, domain string, epoch uint32, token [keys.TokenSize]byte) (*escrow.Envelope, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found, err := k.Find(domain, epoch, token)
	if err != nil {
		return nil, err
	}
	return &found.Envelope, nil
}

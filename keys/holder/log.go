package holder

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/audit/appender"
	"tarn/keys/audit/checkpoint"
	"tarn/keys/audit/receipt"
	"tarn/keys/audit/tiles"
	"tarn/keys/fault"
	"tarn/keys/holder/internal/journal"
	"tarn/keys/holder/internal/keyring"
	"tarn/keys/holder/internal/store"
	"tarn/keys/secret"
)

// kindLog is the kind of the store's records on the log: the vault's own.
const (
	kindLog   = "log"
	logRecord = "record"
	logKey    = "key" // the seed of an Ed25519 key
)

// logState is what the store knows of the log. A log has a number: a key holder
// that is restored begins the next one, which goes on from the last checkpoint that
// the backup knows.
type logState struct {
	Origin     string `json:"origin"` // of all its logs, before the number
	Number     uint32 `json:"number"`
	Checkpoint []byte `json:"checkpoint,omitzero"` // signed, not always the newest
	Previous   []byte `json:"previous,omitzero"`   // the last one known of the log before
}

// transparency is the log of a key holder that is unsealed.
type transparency struct {
	vault    *vault
	state    logState
	folder   string
	appender *appender.Appender
	journal  *journal.Journal

	remembering sync.Mutex
}

// Times of the log.
const (
	logRetry     = time.Second
	logCloseTime = 5 * time.Second
	witnessTime  = 20 * time.Second
	appendChunk  = 1024
)

// LogFolder is the folder of a key holder's log of a number, in its folder of logs.
func LogFolder(folder string, number uint32) string {
	return filepath.Join(folder, strconv.FormatUint(uint64(number), 10))
}

// openLog opens the log, brings into it what the store has and it has not, and holds
// it to the store and to its witness.
func (h *Holder) openLog(ctx context.Context, v *vault, ring *keyring.Keyring) (l *transparency, err error) {
	state, seed, err := v.logState(ctx, h.options.Name)
	if err != nil {
		return nil, err
	}
	defer seed.Destroy()
	l = &transparency{vault: v, state: state, folder: LogFolder(h.options.logs(), state.Number)}
	o := appender.Options{Folder: l.folder, Previous: state.Previous, WitnessURL: h.options.WitnessURL, WitnessKey: h.options.WitnessKey, HTTP: h.options.WitnessHTTP}
	seed.Use(func(b *[secret.Size]byte) {
		o.Signer, o.Verifier, err = checkpoint.NewSigner(l.origin(), b)
	})
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "reading the log's key", err, "")
	}
	if l.appender, err = appender.Open(ctx, o); err != nil {
		return nil, err
	}
	fail := func(err error) (*transparency, error) { return nil, errors.Join(err, l.appender.Close(ctx)) }
	size, err := l.catchUp(ctx, ring.Events())
	if err != nil {
		return fail(err)
	}
	waiting, cancel := context.WithTimeout(ctx, witnessTime)
	defer cancel()
	if err := l.appender.CheckWitness(waiting); err != nil {
		return fail(err)
	}
	l.journal = journal.New(journal.Options{Log: l.appender, Size: size, Retry: logRetry, Clock: h.options.Clock,
		Failing: func(failing bool) { h.logFailing(ring, failing) }, Appended: h.options.Meter.Appended})
	ring.Record(l.journal)
	if size == 0 && state.Number > 1 {
		if err := l.begin(ctx, ring, state.Previous); err != nil {
			l.close(ctx)
			return nil, err
		}
	}
	return l, nil
}

// origin names the log among all logs.
func (l *transparency) origin() string { return fmt.Sprintf("%s/%d", l.state.Origin, l.state.Number) }

// logs is the folder of the logs.
func (o *Options) logs() string {
	if o.Logs != "" {
		return o.Logs
	}
	return filepath.Join(o.Dir, "log")
}

// logState reads what the store knows of the log, and makes it the first time.
func (v *vault) logState(ctx context.Context, name string) (state logState, seed secret.Key, err error) {
	record, err := v.get(store.Key{Kind: kindLog, Name: logRecord})
	if err != nil {
		return state, seed, err
	}
	if record == nil {
		return v.newLog(ctx, name)
	}
	key, err := v.get(store.Key{Kind: kindLog, Name: logKey})
	if err != nil {
		return state, seed, err
	}
	defer clear(key)
	if len(key) != secret.Size || json.Unmarshal(record, &state) != nil {
		return state, seed, fault.New(fault.Internal, "reading what the store knows of the log", "it cannot be read by this version", "restore the newest backup: docs/operations.md")
	}
	return state, secret.New([secret.Size]byte(key)), nil
}

// newLog makes the key and the name of a key holder's logs.
func (v *vault) newLog(ctx context.Context, name string) (state logState, seed secret.Key, err error) {
	if seed, err = secret.Generate(v.options.Rand); err != nil {
		return state, seed, err
	}
	id, err := secret.Generate(v.options.Rand)
	if err != nil {
		return state, seed, err
	}
	id.Use(func(b *[secret.Size]byte) {
		state = logState{Origin: name + "/log-" + hex.EncodeToString(b[:4]), Number: 1}
	})
	var key []byte
	seed.Use(func(b *[secret.Size]byte) { key = append(key, b[:]...) })
	return state, seed, v.putLog(ctx, state, store.Change{Key: store.Key{Kind: kindLog, Name: logKey}, Value: key})
}

// putLog writes what the store knows of the log.
func (v *vault) putLog(ctx context.Context, state logState, more ...store.Change) error {
	record, err := json.Marshal(state, json.Deterministic(true))
	if err != nil {
		return fault.New(fault.Internal, "writing what is known of the log", "the record could not be made", "")
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.store.Commit(ctx, append(more, store.Change{Key: store.Key{Kind: kindLog, Name: logRecord}, Value: record}))
}

// catchUp appends the events that the store has and the log has not: of a key holder
// that was ended between the two, and of commands on its folder. It returns the
// log's size.
func (l *transparency) catchUp(ctx context.Context, events uint64) (uint64, error) {
	const doing = "holding the log to the store"
	size, err := l.appender.Size(ctx)
	if err != nil {
		return 0, fault.New(fault.Internal, doing, "its size cannot be read", "restore the log's folder from its copy")
	}
	if size > events {
		return 0, fault.New(fault.Disagreement, doing, fmt.Sprintf("the log has %d entries and the store knows of %d: the store is older than its log", size, events),
			"put the newest store in its place, or restore a backup, which begins a new log: docs/operations.md")
	}
	for first := size; first < events; {
		var entries [][]byte
		for index := first; index < min(first+appendChunk, events); index++ {
			leaf, err := l.vault.get(keyring.EventKey(index))
			if err != nil {
				return 0, err
			}
			if leaf == nil {
				return 0, fault.New(fault.Disagreement, doing, fmt.Sprintf("the log has %d entries, and the store knows that it had more: entries are gone", size),
					"the log was rolled back, or its disk has lost it: keep its folder as it is, tell information governance, and put the newest copy of the log in its place")
			}
			entries = append(entries, leaf)
		}
		if err := l.appender.Append(ctx, first, entries); err != nil {
			return 0, err
		}
		first += uint64(len(entries))
	}
	return events, nil
}

// begin records from which checkpoint a log goes on.
func (l *transparency) begin(ctx context.Context, ring *keyring.Keyring, previous []byte) error {
	size, root := uint64(0), ""
	if previous != nil {
		lines, err := checkpoint.Unverified(previous)
		if err != nil {
			return fault.Wrap(fault.Internal, "going on from the log before", err, "")
		}
		size, root = lines.Size, hex.EncodeToString(lines.Root[:])
	}
	return ring.LogBegun(ctx, size, root)
}

// remember keeps a checkpoint of all that is in the log in the store, from where
// backups take it.
func (l *transparency) remember(ctx context.Context) error {
	l.remembering.Lock()
	defer l.remembering.Unlock()
	size := l.journal.Size()
	if size == 0 {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, logCloseTime)
	defer cancel()
	signed, err := l.appender.Signed(waiting, size)
	if err != nil {
		return fault.New(fault.Unavailable, "reading the log's checkpoint", "there is none of all its entries", "look at the log's disk, and try again")
	}
	if string(signed) == string(l.state.Checkpoint) {
		return nil
	}
	l.state.Checkpoint = signed
	return l.vault.putLog(ctx, l.state)
}

// leaves returns entries of the log from an index on, at most so many.
func (l *transparency) leaves(from uint64, most int) (page []api.Event, err error) {
	size := l.journal.Size()
	log := tiles.Open(l.folder)
	for index := from; index < size && len(page) < most; {
		entries, err := log.Bundle(index/tiles.Width, size)
		if err != nil {
			return nil, fault.New(fault.Internal, "reading the log", "a bundle of entries cannot be read", "verify the log: auditor verify")
		}
		for _, entry := range entries[index%tiles.Width:] {
			if len(page) == most {
				break
			}
			page = append(page, api.Event{Index: index, Leaf: entry})
			index++
		}
	}
	return page, nil
}

// receipt proves that an entry is in the log.
func (h *Holder) receipt(ctx context.Context, index uint64) (*receipt.Receipt, error) {
	h.mu.RLock()
	l := h.log
	h.mu.RUnlock()
	return l.receipt(ctx, index)
}

// receipt proves that an entry is in the log.
func (l *transparency) receipt(ctx context.Context, index uint64) (*receipt.Receipt, error) {
	entries, err := l.leaves(index, 1)
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, api.Refuse(api.CodeNotFound, "there is no such event", "list them with: keyholder events")
	}
	signed, err := l.appender.Covering(ctx, index+1)
	if err != nil {
		return nil, err
	}
	c, err := checkpoint.Unverified(signed)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "proving that an event is in the log", err, "")
	}
	proof, err := l.appender.Inclusion(ctx, index, c.Size)
	if err != nil {
		return nil, fault.New(fault.Internal, "proving that an event is in the log", "its tiles cannot be read", "verify the log: auditor verify")
	}
	if proof == nil {
		proof = [][]byte{} // the only entry
	}
	return &receipt.Receipt{Schema: receipt.Schema, Index: index, Leaf: entries[0].Leaf, Proof: proof, Checkpoint: string(signed)}, nil
}

func (l *transparency) close(ctx context.Context) {
	l.journal.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logCloseTime)
	defer cancel()
	_ = l.appender.Close(ctx) // every entry is durable already
}

// logFailing raises the alarm, and records it when that is possible again. It is
// called by the journal, and does not wait for it.
func (h *Holder) logFailing(ring *keyring.Keyring, failing bool) {
	h.options.Meter.LogFailing(failing)
	if failing {
		h.options.Logger.Error("the log cannot be written: no key is used until it can")
		h.options.Meter.Alarmed(audit.RuleLogUnavailable)
		go h.alertAtOnce(audit.RuleLogUnavailable)
		return
	}
	h.options.Logger.Warn("the log can be written again")
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), logCloseTime)
		defer cancel()
		if err := ring.Alarm(ctx, audit.RuleLogUnavailable, "recovered"); err != nil {
			h.options.Logger.Error("the alarm could not be recorded")
		}
	}()
}

// restoredLog is what a restored key holder knows of its log: the next one.
func restoredLog(record []byte) ([]byte, error) {
	var state logState
	if err := json.Unmarshal(record, &state); err != nil {
		return nil, fmt.Errorf("what the backup knows of the log cannot be read")
	}
	next := logState{Origin: state.Origin, Number: state.Number + 1, Previous: state.Checkpoint}
	return json.Marshal(next, json.Deterministic(true))
}

// provingLog is the log as requests for re-identification need it.
type provingLog struct{ l *transparency }

// Witnessed implements [requests.Log].
func (p *provingLog) Witnessed(ctx context.Context, size uint64) error {
	_, err := p.l.appender.Covering(ctx, size)
	return err
}

// Receipt implements [requests.Log].
func (p *provingLog) Receipt(ctx context.Context, index uint64) ([]byte, error) {
	r, err := p.l.receipt(ctx, index)
	if err != nil {
		return nil, err
	}
	return json.Marshal(r, json.Deterministic(true))
}

// Search implements [requests.Log]. It looks at every entry: what it does not find nobody
// has written.
func (p *provingLog) Search(ctx context.Context, text string, found func(index uint64, leaf []byte)) (searched uint64, err error) {
	size := p.l.journal.Size()
	log := tiles.Open(p.l.folder)
	for ; searched < size; searched = min(size, searched+tiles.Width) {
		if err := ctx.Err(); err != nil {
			return searched, err
		}
		entries, err := log.Bundle(searched/tiles.Width, size)
		if err != nil {
			return searched, fault.New(fault.Internal, "searching the log", "a bundle of entries cannot be read", "verify the log: auditor verify")
		}
		for i, entry := range entries {
			if bytes.Contains(entry, []byte(text)) {
				found(searched+uint64(i), entry)
			}
		}
	}
	return searched, nil
}

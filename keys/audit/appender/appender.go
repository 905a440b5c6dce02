// Package appender writes a transparency log into a folder, laid out as C2SP
// tlog-tiles says, with tessera's POSIX driver. An entry is on the disk, and in
// the tree, when its append returns; a signed checkpoint that covers it follows
// within a second.
package appender

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"

	"tarn/keys"
	"tarn/keys/audit/checkpoint"
	"tarn/keys/audit/tiles"
	"tarn/keys/audit/witness"
	"tarn/keys/fault"
)

// Options are what a log is written with.
type Options struct {
	Folder string
	// Signer signs checkpoints; its name is the log's origin. Verifier is its key,
	// which is written beside the log.
	Signer   note.Signer
	Verifier string
	// Previous is the last signed checkpoint of the log that this one goes on from;
	// nil where it is the first. It is written beside the log.
	Previous []byte
	// WitnessURL and WitnessKey are those of the witness; empty is none.
	WitnessURL, WitnessKey string
	HTTP                   *http.Client
}

// The library's times: how long a batch waits for more, and how often a
// checkpoint is made. Callers gather batches themselves.
const (
	batchAge           = time.Millisecond
	batchSize          = tiles.Width
	checkpointInterval = 250 * time.Millisecond
	republishInterval  = time.Minute
	collectInterval    = 10 * time.Minute // partial tiles that are not needed any more
	witnessTimeout     = 2 * time.Second
)

// Appender writes a log. One process may write a log at a time.
type Appender struct {
	options  Options
	add      *tessera.Appender
	reader   tessera.LogReader
	shutdown func(context.Context) error
	cancel   context.CancelFunc

	key       note.Verifier
	witnesses []note.Verifier // one or none
}

// silence ends the library's own log, of which a process has one: it holds paths
// and errors of its own, and what matters is returned to callers.
var silence = sync.OnceFunc(func() { klog.SetSlogLogger(slog.New(slog.DiscardHandler)) })

// Open opens the log in a folder, and makes it where there is none.
func Open(ctx context.Context, o Options) (*Appender, error) {
	doing := "opening the log " + o.Folder
	silence()
	if err := os.MkdirAll(o.Folder, 0o700); err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "")
	}
	if err := o.writeKeys(); err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "free space on its disk")
	}
	a := &Appender{options: o}
	var err error
	if a.key, err = checkpoint.Verifier(o.Verifier); err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "")
	}
	options := tessera.NewAppendOptions().WithCheckpointSigner(o.Signer).WithBatching(batchSize, batchAge).
		WithCheckpointInterval(checkpointInterval).WithCheckpointRepublishInterval(republishInterval).WithGarbageCollectionInterval(collectInterval)
	if o.WitnessURL != "" {
		address, err := url.Parse(o.WitnessURL)
		if err != nil {
			return nil, fault.New(fault.Usage, doing, "the witness's address cannot be used", "give it as https://host:port")
		}
		w, err := tessera.NewWitness(strings.TrimSpace(o.WitnessKey), address)
		if err != nil {
			return nil, fault.New(fault.Usage, doing, "the witness's key is not one", "give the file witness.vkey that auditor witness new wrote")
		}
		a.witnesses = []note.Verifier{w.Key}
		options = options.WithWitnesses(tessera.NewWitnessGroup(1, w), &tessera.WitnessOptions{Timeout: witnessTimeout, FailOpen: true})
	}
	driver, err := posix.New(ctx, posix.Config{Path: o.Folder, HTTPClient: o.HTTP})
	if err != nil {
		return nil, fault.New(fault.Internal, doing, "its folder cannot be used", "see that this user can write it")
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a.cancel = cancel
	if a.add, a.shutdown, a.reader, err = tessera.NewAppender(running, driver, options); err != nil {
		cancel()
		return nil, fault.New(fault.Internal, doing, "it cannot be opened, or another process writes it", "see which process has it; if its files are damaged, see docs/operations.md")
	}
	return a, nil
}

// writeKeys leaves beside the log what it is verified with.
func (o *Options) writeKeys() error {
	files := map[string]string{tiles.KeyFile: o.Verifier + "\n"}
	if o.WitnessKey != "" {
		files[tiles.WitnessKeyFile] = strings.TrimSpace(o.WitnessKey) + "\n"
	}
	if o.Previous != nil {
		files[tiles.PreviousFile] = string(o.Previous)
	}
	for name, content := range files {
		path := filepath.Join(o.Folder, name)
		if b, err := os.ReadFile(path); err == nil && string(b) == content {
			continue
		}
		if err := keys.WriteFile(path, []byte(content)); err != nil {
			return err
		}
	}
	return nil
}

// Size returns the number of entries that are in the tree.
func (a *Appender) Size(ctx context.Context) (uint64, error) {
	size, err := a.reader.IntegratedSize(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return size, err
}

// Append appends entries, of which the first gets the index first: calls come one
// after another, in order. It returns when all are on the disk and in the tree. After
// an error some may be: Size says how many.
func (a *Appender) Append(ctx context.Context, first uint64, entries [][]byte) error {
	const doing = "writing the log"
	if err := a.probe(); err != nil {
		return fault.Wrap(fault.Internal, doing, err, "see that its disk is there, and well")
	}
	for len(entries) > 0 {
		group := entries[:min(len(entries), batchSize)]
		if err := a.group(ctx, first, group); err != nil {
			return err
		}
		first += uint64(len(group))
		entries = entries[len(group):]
	}
	return nil
}

// group appends at most batchSize entries. The library hands batches to its writer
// from two places, when one is full and when the first of its entries has waited long
// enough, and where both do at once the later batch may be written first: so no more
// is given to it than makes one batch full.
func (a *Appender) group(ctx context.Context, first uint64, entries [][]byte) error {
	const doing = "writing the log"
	futures := make([]tessera.IndexFuture, len(entries))
	for i, entry := range entries {
		futures[i] = a.add.Add(ctx, tessera.NewEntry(entry))
	}
	var failed error
	for i, future := range futures {
		index, err := future()
		if err != nil && failed == nil {
			failed = fault.New(fault.Internal, doing, "an entry could not be written", "free space on its disk, and see that the disk is well")
		}
		if err == nil && index.Index != first+uint64(i) && failed == nil {
			failed = fault.New(fault.Internal, doing, "an entry got another place than its own", "end the key holder; another process may write the log")
		}
	}
	return failed
}

// probeFile is opened, for writing, before entries are given to the library.
const probeFile = ".state/probe"

// probe returns an error where a file of the log cannot be opened: the library ends
// the process when it cannot open its lock, and a disk that is away shall be
// refused, and come back, instead. (Not the lock itself is opened: closing it would
// unlock it.) A disk that fails between this and that ends the process; nothing was
// answered then.
func (a *Appender) probe() error {
	f, err := os.OpenFile(filepath.Join(a.options.Folder, filepath.FromSlash(probeFile)), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// checkpoint returns the newest signed checkpoint; nil where there is none yet.
func (a *Appender) checkpoint(ctx context.Context) ([]byte, error) {
	signed, err := a.reader.ReadCheckpoint(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return signed, err
}

// await polls for a checkpoint of which done is true.
func (a *Appender) await(ctx context.Context, done func(signed []byte) bool) ([]byte, error) {
	for {
		signed, err := a.checkpoint(ctx)
		if err != nil {
			return nil, err
		}
		if signed != nil && done(signed) {
			return signed, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(checkpointInterval / 10):
		}
	}
}

// Covering returns a signed checkpoint of at least so many entries, once there is
// one; where there is a witness, one that it has signed. The context bounds the
// waiting.
func (a *Appender) Covering(ctx context.Context, size uint64) ([]byte, error) {
	return a.signedBy(ctx, size, a.witnesses)
}

// Signed is Covering without regard to witnesses.
func (a *Appender) Signed(ctx context.Context, size uint64) ([]byte, error) {
	return a.signedBy(ctx, size, nil)
}

func (a *Appender) signedBy(ctx context.Context, size uint64, witnesses []note.Verifier) ([]byte, error) {
	return a.await(ctx, func(signed []byte) bool {
		c, err := checkpoint.Open(signed, a.key, witnesses...)
		return err == nil && c.Size >= size && len(c.Cosigned) == len(witnesses)
	})
}

// Inclusion returns the proof that an entry is in the tree of a size.
func (a *Appender) Inclusion(ctx context.Context, index, size uint64) ([][]byte, error) {
	builder, err := client.NewProofBuilder(ctx, size, a.reader.ReadTile)
	if err != nil {
		return nil, fmt.Errorf("reading the log's tiles: %w", err)
	}
	return builder.InclusionProof(ctx, index)
}

// CheckWitness holds the log to what its witness has last signed: a log that has
// fewer entries, or others, is refused with kind [fault.Disagreement]. A witness
// that cannot be asked is of kind [fault.Unavailable]. It does nothing where there
// is no witness, or no entry yet.
func (a *Appender) CheckWitness(ctx context.Context) error {
	const doing = "holding the log to what its witness has signed"
	size, err := a.Size(ctx)
	if err != nil || a.options.WitnessURL == "" || size == 0 {
		return err
	}
	var current *checkpoint.Checkpoint
	signed, err := a.await(ctx, func(signed []byte) bool {
		current, err = checkpoint.Open(signed, a.key)
		return err != nil || current.Size >= size
	})
	if err != nil {
		return fault.New(fault.Disagreement, doing, "its checkpoint is not signed with its key", "restore the log's folder from its copy")
	}
	w := witness.NewClient(a.options.WitnessURL, a.options.HTTP)
	rolledBack := func(what string) error {
		return fault.New(fault.Disagreement, doing, what, "the log was rolled back, or made anew: keep its folder as it is, tell information governance and who runs the witness, and put the newest copy of the log in its place")
	}
	old, proof := uint64(0), [][]byte(nil)
	for range 3 { // the library asks, too, and may have been faster
		_, err := w.Add(ctx, old, proof, stripped(signed))
		var conflict *witness.Conflict
		switch {
		case err == nil:
			return nil
		case errors.Is(err, witness.ErrProof):
			return rolledBack("the witness has signed other entries than the log has")
		case !errors.As(err, &conflict):
			return err
		case conflict.Size > current.Size:
			return rolledBack(fmt.Sprintf("the witness has signed %d entries, and the log has %d", conflict.Size, current.Size))
		}
		old, proof = conflict.Size, nil
		if old > 0 {
			builder, err := client.NewProofBuilder(ctx, current.Size, a.reader.ReadTile)
			if err == nil {
				proof, err = builder.ConsistencyProof(ctx, old, current.Size)
			}
			if err != nil {
				return rolledBack("its tiles are damaged")
			}
		}
	}
	return fault.New(fault.Unavailable, doing, "the witness gives another answer each time", "see that one key holder only writes this log")
}

// stripped is a signed checkpoint with the log's own signature only.
func stripped(signed []byte) []byte {
	text, signatures, _ := strings.Cut(string(signed), "\n\n")
	first, _, _ := strings.Cut(signatures, "\n")
	return []byte(text + "\n\n" + first + "\n")
}

// Close ends the log once what was appended is covered by a checkpoint.
func (a *Appender) Close(ctx context.Context) error {
	err := a.shutdown(ctx)
	a.cancel()
	return err
}

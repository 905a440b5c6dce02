// Package witness signs what a log has said of itself, once it has seen that the
// log only grew: C2SP tlog-witness, both sides. A witness runs on another host
// than the log, by another organisation where there is one, and sees checkpoints
// only. It never signs two that contradict each other, so that a log which was
// rolled back, however consistently, finds nobody to sign for it.
package witness

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"

	"tarn/keys"
	"tarn/keys/audit/checkpoint"
	"tarn/keys/fault"
)

// Witness cosigns for the logs that it knows.
type Witness struct {
	folder string
	signer note.Signer
	logs   map[string]*known
}

// known is a log, and what of it was signed.
type known struct {
	verifier note.Verifier
	path     string

	mu   sync.Mutex
	last *checkpoint.Checkpoint // nil before the first
}

// Errors of [Witness.Add]. Their texts are for programs.
var (
	ErrUnknownLog = errors.New("witness: the log is not known")
	ErrSignature  = errors.New("witness: the checkpoint is not signed by the log")
	ErrMalformed  = errors.New("witness: the request cannot be read")
	ErrProof      = errors.New("witness: the checkpoint does not follow from the last one that was signed")
)

// Conflict says that a request began from another size than the last one that was
// signed. It is no contradiction yet: the log may ask again from Size.
type Conflict struct{ Size uint64 }

// Error implements error.
func (c *Conflict) Error() string { return fmt.Sprintf("witness: the last size signed is %d", c.Size) }

// New opens a witness whose memory is in a folder, for the logs of verifiers. It
// signs with a key for cosignatures of version 1, of which own is the verifier.
// What it has signed for each log is read and held to both keys.
func New(folder string, signer note.Signer, own note.Verifier, logs []note.Verifier) (*Witness, error) {
	w := &Witness{folder: folder, signer: signer, logs: map[string]*known{}}
	for _, verifier := range logs {
		doing := "opening the witness of " + verifier.Name()
		digest := sha256.Sum256([]byte(verifier.Name()))
		k := &known{verifier: verifier, path: filepath.Join(folder, hex.EncodeToString(digest[:8])+".checkpoint")}
		signed, err := os.ReadFile(k.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, fault.Wrap(fault.Internal, doing, err, "")
		default:
			if k.last, err = checkpoint.Open(signed, verifier, own); err != nil || len(k.last.Cosigned) == 0 {
				return nil, fault.New(fault.Disagreement, doing, k.path+" is not a checkpoint of this log that this witness has signed",
					"restore it from its backup; without it the witness cannot tell a log that was rolled back")
			}
		}
		if _, twice := w.logs[verifier.Name()]; twice {
			return nil, fault.New(fault.Usage, doing, "the log is named twice", "leave one out")
		}
		w.logs[verifier.Name()] = k
	}
	return w, nil
}

// Add reads a request, and returns the lines of the witness's signature. It is in
// the witness's memory, on the disk, when Add returns.
func (w *Witness) Add(request []byte) (signature []byte, err error) {
	old, hashes, signed, err := parse(request)
	if err != nil {
		return nil, err
	}
	origin, _, _ := strings.Cut(string(signed), "\n")
	log := w.logs[origin]
	if log == nil {
		return nil, ErrUnknownLog
	}
	next, err := checkpoint.Open(signed, log.verifier)
	if err != nil {
		return nil, ErrSignature
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	size, root := uint64(0), rfc6962.DefaultHasher.EmptyRoot()
	if log.last != nil {
		size, root = log.last.Size, log.last.Root[:]
	}
	switch {
	case old > next.Size:
		return nil, ErrMalformed
	case old != size:
		return nil, &Conflict{Size: size}
	case old == 0:
		if len(hashes) > 0 {
			return nil, ErrProof
		}
	default:
		if proof.VerifyConsistency(rfc6962.DefaultHasher, old, next.Size, hashes, root, next.Root[:]) != nil {
			return nil, ErrProof
		}
	}
	return w.sign(log, signed, next)
}

// sign signs a checkpoint, once it is on the disk that it was signed.
func (w *Witness) sign(log *known, signed []byte, next *checkpoint.Checkpoint) ([]byte, error) {
	const doing = "signing a checkpoint"
	opened, err := note.Open(signed, note.VerifierList(log.verifier))
	if err != nil {
		return nil, ErrSignature
	}
	opened.UnverifiedSigs = nil // others' are none of ours
	alone, err := note.Sign(&note.Note{Text: opened.Text}, w.signer)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "")
	}
	signature := alone[len(opened.Text)+1:]
	own, err := note.Sign(opened, w.signer)
	if err == nil {
		err = keys.WriteFile(log.path, own)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "free space on the witness's disk")
	}
	log.last = next
	return signature, nil
}

// maxRequest bounds a request, in bytes: 64 hashes and a checkpoint with every
// signature that one may have.
const maxRequest = 64 << 10

// parse reads the body of add-checkpoint: "old N", hashes in base64, an empty
// line, and the checkpoint.
func parse(request []byte) (old uint64, hashes [][]byte, signed []byte, err error) {
	head, signed, found := bytes.Cut(request, []byte("\n\n"))
	if !found || len(request) > maxRequest {
		return 0, nil, nil, ErrMalformed
	}
	lines := strings.Split(string(head), "\n")
	number, found := strings.CutPrefix(lines[0], "old ")
	if old, err = strconv.ParseUint(number, 10, 63); err != nil || !found || number != strconv.FormatUint(old, 10) || len(lines) > 64 {
		return 0, nil, nil, ErrMalformed
	}
	for _, line := range lines[1:] {
		hash, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(hash) != sha256.Size {
			return 0, nil, nil, ErrMalformed
		}
		hashes = append(hashes, hash)
	}
	return old, hashes, signed, nil
}

// format writes what parse reads.
func format(old uint64, hashes [][]byte, signed []byte) []byte {
	b := fmt.Appendf(nil, "old %d\n", old)
	for _, hash := range hashes {
		b = append(append(b, base64.StdEncoding.EncodeToString(hash)...), '\n')
	}
	return append(append(b, '\n'), signed...)
}

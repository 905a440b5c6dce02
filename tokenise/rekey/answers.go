// Package rekey brings tokens of one key to another: the tokens of an encoded cohort, and,
// for any table, the journal of what was answered already, from which a run that was
// interrupted goes on.
package rekey

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/secret"
)

// JournalSuffix ends the name of a run's journal, beside what the run writes.
const JournalSuffix = ".transfer"

// JournalPath returns where the journal of a run that writes out lies.
func JournalPath(out string) string { return filepath.Clean(out) + JournalSuffix }

// Run says what a journal is of. The records count by the keys that they name: one that
// was renewed meanwhile is the same. The input counts by its name and not by what is in
// it, since a batch is known by its tokens: of a table that was corrected only the batches
// that changed are asked again.
type Run struct {
	Operation string // "rotate" or "convert"
	Project   string // whose budget it is
	Grant     string // of a conversion
	From, To  *keys.Project
	In        string
}

// digest is what the journal's header has of the run.
func (r *Run) digest() [sha256.Size]byte {
	in := r.In
	if whole, err := filepath.Abs(in); err == nil {
		in = whole
	}
	b := keys.LP(keys.Text("tarn/transfer-journal/v1"), keys.Text(r.Operation), keys.Text(r.Project), keys.Text(r.Grant), keys.Text(in))
	for _, p := range []*keys.Project{r.From, r.To} {
		public := ""
		if p.Keys.TokenPublicKey != nil {
			public = *p.Keys.TokenPublicKey
		}
		b = keys.AppendLP(b, keys.Text(p.Domain), keys.U32(p.Keys.DomainNo), keys.U32(p.Keys.TokenEpoch), keys.Text(public))
	}
	return sha256.Sum256(b)
}

// The journal's bytes. A header: magic, seed, the digest of what it is of, and a code of
// the seed that covers all three. Then a record for each batch: its request id, the number
// of its tokens as four bytes, the tokens, and a code that covers these and the record's
// place in the file.
const (
	magic      = "TNTJ\x01\x00\x00\x00"
	codeBytes  = sha256.Size
	headerSize = len(magic) + secret.Size + sha256.Size + codeBytes
	entrySize  = 16 + 4
	// mostTokens is more than any batch has: a damaged number reserves no memory.
	mostTokens = 1 << 16
)

// What a code is of.
const (
	ofHeader byte = iota
	ofRecord
)

// Answers is the journal of a run: its seed, from which request ids and blinds follow, and
// the tokens of each batch that was answered and verified. It is private to its owner, as
// the output is. A record that is not whole, as the last one after the process was killed,
// ends it: that batch and those after it are asked again, by the same ids. Records are not
// forced to the disk one by one: when the process is killed the system still has them, and
// after a power cut some batches are asked again.
//
// In memory are the place and number of tokens of each batch, some 60 bytes. It is safe
// for concurrent use.
type Answers struct {
	path  string
	file  *os.File // locked until it is closed
	seed  secret.Key
	codes secret.Key
	known int64
	begun bool // by this run

	mu    sync.Mutex
	index map[uuid.UUID]place
	end   int64
	asked bool // whether something was, or may have been, asked by this seed
}

// place is where a record begins, and how many tokens it has.
type place struct {
	offset int64
	tokens int
}

// removeIt is what to do about a journal that is of no use.
const removeIt = "remove it: the run then begins anew, and its batches are charged again"

// OpenAnswers opens the journal at path and cuts it off where it is not whole, or begins
// one with a seed drawn from random. A journal of another run is refused with kind
// [fault.Usage].
func OpenAnswers(path string, run Run, random io.Reader) (a *Answers, err error) {
	doing := "reading what an interrupted run has left in " + path
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "writing "+path, err, "give --out a folder that can be written, and that has no other file of this name")
	}
	defer func() {
		if err != nil {
			_ = f.Close() // nothing was written
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "")
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, fault.New(fault.Usage, doing, "it is no regular file", "give --out another name")
	case info.Mode().Perm()&0o077 != 0:
		return nil, fault.New(fault.Usage, doing, "others than its owner may use it", removeIt)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, fault.New(fault.Usage, doing, "another run is writing the same output", "wait until it ends, or name another file with --out")
	}
	// The run before may have removed it while this one opened it.
	if named, err := os.Lstat(path); err != nil || !os.SameFile(info, named) {
		return nil, fault.New(fault.Usage, doing, "another run has just written the same output", "run again if that is meant")
	}
	a = &Answers{path: path, file: f, index: map[uuid.UUID]place{}}
	return a, a.open(doing, &run, info.Size(), random)
}

// open reads the journal, or begins it.
func (a *Answers) open(doing string, run *Run, size int64, random io.Reader) error {
	start := make([]byte, headerSize)
	defer clear(start)
	n, err := a.file.ReadAt(start, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fault.Wrap(fault.Internal, doing, err, "")
	}
	start = start[:n]
	switch {
	case n < headerSize && bytes.HasPrefix(start, []byte(magic)[:min(n, len(magic))]):
		// It was not begun: the header is on the disk before anything is asked.
		return a.begin(run, random)
	case n < headerSize || string(start[:len(magic)]) != magic:
		return fault.New(fault.Usage, doing, "it is no journal of this version of tokeniser", removeIt)
	}
	a.seed = secret.New([secret.Size]byte(start[len(magic):]))
	a.codes = a.seed.Derive(keys.LP(keys.Text("tarn/transfer-codes/v1")))
	digest := run.digest()
	switch covered := start[:headerSize-codeBytes]; {
	case !a.holds(ofHeader, 0, covered, start[headerSize-codeBytes:]):
		return fault.New(fault.Usage, doing, "it is damaged", removeIt)
	case !bytes.Equal(covered[len(covered)-sha256.Size:], digest[:]):
		return fault.New(fault.Usage, doing, "it is of another run: of other keys, another grant or another table", "run that one again, or give --out another name, or "+removeIt)
	}
	return a.read(doing, size)
}

// begin writes the header.
func (a *Answers) begin(run *Run, random io.Reader) (err error) {
	doing, next := "writing "+a.path, "free space on the disk, then run again"
	if a.seed, err = secret.Generate(random); err != nil {
		return fault.New(fault.Internal, "drawing a random key", "the system gives no random bytes", "")
	}
	a.codes = a.seed.Derive(keys.LP(keys.Text("tarn/transfer-codes/v1")))
	b := append(make([]byte, 0, headerSize), magic...)
	defer func() { clear(b) }()
	a.seed.Use(func(seed *[secret.Size]byte) { b = append(b, seed[:]...) })
	digest := run.digest()
	b = append(b, digest[:]...)
	b = a.appendCode(b, ofHeader, 0, b)
	if _, err := a.file.WriteAt(b, 0); err != nil {
		return fault.Wrap(fault.Internal, doing, err, next)
	}
	// Without the seed the same batches would be charged twice.
	if err := errors.Join(a.file.Sync(), keys.SyncFolder(filepath.Dir(a.path))); err != nil {
		return fault.Wrap(fault.Internal, doing, err, next)
	}
	a.end, a.begun = int64(headerSize), true
	return nil
}

// read takes down where the records are, up to the first that is not whole, and cuts off
// the rest.
func (a *Answers) read(doing string, size int64) error {
	a.end = int64(headerSize)
	from := bufio.NewReaderSize(io.NewSectionReader(a.file, a.end, size-a.end), 1<<20)
	var record []byte
	for {
		var err error
		if record, err = readRecord(from, record); errors.Is(err, errNotWhole) {
			break
		}
		if err != nil {
			return fault.Wrap(fault.Internal, doing, err, "")
		}
		covered := record[:len(record)-codeBytes]
		if !a.holds(ofRecord, a.end, covered, record[len(covered):]) {
			break
		}
		tokens := (len(covered) - entrySize) / keys.TokenSize
		a.index[uuid.UUID(record[:16])] = place{a.end, tokens}
		a.known += int64(tokens)
		a.end += int64(len(record))
	}
	if err := a.file.Truncate(a.end); err != nil {
		return fault.Wrap(fault.Internal, doing, err, "give --out a folder that can be written")
	}
	return nil
}

// errNotWhole says that no whole record follows.
var errNotWhole = errors.New("rekey: the journal ends within a record")

// readRecord reads the next record into b, which it makes longer where it must.
func readRecord(from io.Reader, b []byte) ([]byte, error) {
	b = append(b[:0], make([]byte, entrySize)...)
	if _, err := io.ReadFull(from, b); err != nil {
		return b, notWhole(err)
	}
	tokens := binary.BigEndian.Uint32(b[16:])
	if tokens == 0 || tokens > mostTokens {
		return b, errNotWhole
	}
	b = append(b, make([]byte, int(tokens)*keys.TokenSize+codeBytes)...)
	_, err := io.ReadFull(from, b[entrySize:])
	return b, notWhole(err)
}

func notWhole(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errNotWhole
	}
	return err
}

// appendCode appends the code of what lies at an offset.
func (a *Answers) appendCode(to []byte, of byte, offset int64, covered []byte) []byte {
	message := append(binary.BigEndian.AppendUint64([]byte{of}, uint64(offset)), covered...)
	defer clear(message) // the header's holds the seed
	a.codes.Derive(message).Use(func(code *[secret.Size]byte) { to = append(to, code[:]...) })
	return to
}

func (a *Answers) holds(of byte, offset int64, covered, code []byte) bool {
	return hmac.Equal(a.appendCode(nil, of, offset, covered), code)
}

// Seed returns what request ids and blinds follow from.
func (a *Answers) Seed() secret.Key { return a.seed }

// Known returns how many tokens an earlier run has left.
func (a *Answers) Known() int64 { return a.known }

// Get returns the tokens that the batch of this id was answered, n of them, if they are
// here and whole.
func (a *Answers) Get(id uuid.UUID, n int) (tokens [][keys.TokenSize]byte, known bool, err error) {
	a.mu.Lock()
	at, there := a.index[id]
	a.asked = true
	a.mu.Unlock()
	if !there || at.tokens != n {
		return nil, false, nil
	}
	b := make([]byte, entrySize+n*keys.TokenSize+codeBytes)
	if _, err := a.file.ReadAt(b, at.offset); err != nil {
		return nil, false, fault.Wrap(fault.Internal, "reading "+a.path, err, removeIt)
	}
	covered := b[:len(b)-codeBytes]
	if [16]byte(b) != id || !a.holds(ofRecord, at.offset, covered, b[len(covered):]) {
		a.mu.Lock()
		delete(a.index, id) // it was damaged meanwhile, and is asked again
		a.mu.Unlock()
		return nil, false, nil
	}
	tokens = make([][keys.TokenSize]byte, n)
	for i := range tokens {
		tokens[i] = [keys.TokenSize]byte(b[entrySize+i*keys.TokenSize:])
	}
	return tokens, true, nil
}

// Put keeps what the batch of this id was answered. What is kept already stays.
func (a *Answers) Put(id uuid.UUID, tokens [][keys.TokenSize]byte) error {
	if len(tokens) == 0 || len(tokens) > mostTokens {
		return fault.New(fault.Internal, "writing "+a.path, "a batch has no tokens, or too many", "")
	}
	b := append(make([]byte, 0, entrySize+len(tokens)*keys.TokenSize+codeBytes), id[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(tokens)))
	for i := range tokens {
		b = append(b, tokens[i][:]...)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, there := a.index[id]; there {
		return nil
	}
	b = a.appendCode(b, ofRecord, a.end, b)
	if _, err := a.file.WriteAt(b, a.end); err != nil {
		return fault.Wrap(fault.Internal, "writing "+a.path, err, "free space on the disk, then run again")
	}
	a.index[id] = place{a.end, len(tokens)}
	a.end += int64(len(b))
	return nil
}

// Close closes the journal and leaves it for another run, but for one that was begun and
// of which nothing was asked.
func (a *Answers) Close() (err error) {
	if a.begun && !a.asked {
		err = a.Remove()
	}
	a.seed.Destroy()
	a.codes.Destroy()
	return errors.Join(err, a.file.Close())
}

// Remove removes the journal of a run that has succeeded; Close is still to be called.
func (a *Answers) Remove() error {
	a.begun = false
	if err := os.Remove(a.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(fault.Internal, "removing what is no longer needed", err, "remove "+a.path)
	}
	return nil
}

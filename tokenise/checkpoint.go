package tokenise

import (
	"context"
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/go-json-experiment/json"
	"golang.org/x/sys/unix"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/tokenise/demographics"
	"tarn/tokenise/spill"
)

// checkpointSchema is the schema member of a checkpoint's run.json.
const checkpointSchema = "tarn.tokenise-checkpoint/1"

// checkpoint is the folder beside the cohort in which a run keeps what it has
// encoded, chunk by chunk, until the cohort is written: packed rows, entries
// and events. Its memory is bounded by it, and --resume goes on from it. It
// holds encodings, minted and source ids and group values, and numbers that are sealed
// to the key holder, never an identifier that the crosswalk and the groups would not
// hold.
type checkpoint struct {
	folder string
	lock   *os.File
	chunks []*spill.Chunk
	notes  []chunkNote
	today  demographics.Date // on which dates are judged, by every part of a run
}

// runDocument is run.json.
type runDocument struct {
	Schema string `json:"schema"`
	Run    string `json:"run"` // chain of the run before the first row
	Today  string `json:"today"`
}

// chunkNote says which rows a chunk holds: those up to row To that come after
// the chunk before it.
type chunkNote struct {
	To    int64  `json:"to"`
	Chain []byte `json:"chain"` // of the run and all rows up to To

	Batch *noteBatch `json:"batch,omitzero"` // of a project that has an escrow
}

// Sections of a chunk.
const (
	sectionRows    = iota // packed rows, sorted
	sectionEntries        // entries, sorted
	sectionEvents         // events in input order
)

func checkpointFolder(out string) string {
	return filepath.Join(filepath.Dir(out), "."+filepath.Base(out)+".checkpoint")
}

// openCheckpoint begins a checkpoint, or goes on with one of the same run.
// restarted says that one was there and is of another run.
func openCheckpoint(out string, resume bool, run []byte, today demographics.Date) (c *checkpoint, restarted bool, err error) {
	c = &checkpoint{folder: checkpointFolder(out), today: today}
	doing := "writing the checkpoint " + c.folder
	if err := os.Mkdir(c.folder, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, false, fault.Wrap(fault.Internal, "writing "+out, plain(err), "choose a folder that exists and can be written")
	}
	if err := c.checkFolder(doing); err != nil {
		return nil, false, err
	}
	if c.lock, err = os.OpenFile(filepath.Join(c.folder, "lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, false, fault.Wrap(fault.Internal, doing, err, "choose a folder that can be written")
	}
	if err := unix.Flock(int(c.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = c.lock.Close() // holds nothing
		return nil, false, fault.New(fault.Usage, doing, "another run is writing the same output", "wait until it ends, or name another file with --out")
	}
	if resume {
		found, same := c.load(run)
		if same {
			return c, false, nil
		}
		restarted = found
	}
	return c, restarted, c.clear(run)
}

// ownFiles matches what a checkpoint holds: what it is of, chunks, what merges
// put aside, and files that had not got their name when a run was killed.
var ownFiles = regexp.MustCompile(`^(lock|run\.json|chunk-\d{6}|(merge|duplicates|escrow)-.*|\..+\d+)$`)

// checkFolder refuses a folder that is a link or holds something else: it will be
// emptied and removed.
func (c *checkpoint) checkFolder(doing string) error {
	next := "remove it, or name another file with --out"
	info, err := os.Lstat(c.folder)
	if err == nil && !info.IsDir() {
		return fault.New(fault.Usage, doing, "it is not a folder", next)
	}
	entries, err := os.ReadDir(c.folder)
	if err != nil {
		return fault.Wrap(fault.Internal, doing, err, "choose a folder that can be read and written")
	}
	for _, e := range entries {
		if !ownFiles.MatchString(e.Name()) {
			return fault.New(fault.Usage, doing, "it holds something else than a checkpoint", next)
		}
	}
	return nil
}

// plain takes the name of the checkpoint, which means nothing to the user, out
// of an error.
func plain(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// load reads the chunks of an earlier part of the run. same says that it was
// this run: same keys, project, profile, columns and software.
func (c *checkpoint) load(run []byte) (found, same bool) {
	b, err := os.ReadFile(filepath.Join(c.folder, "run.json"))
	if err != nil {
		return false, false
	}
	var d runDocument
	if json.Unmarshal(b, &d) != nil || d.Schema != checkpointSchema || !hmac.Equal([]byte(d.Run), []byte(hex.EncodeToString(run))) {
		return true, false
	}
	far := demographics.Date{Year: 9999, Month: 12, Day: 31}
	if today, code := demographics.ParseDate(d.Today, far); code == "" && !today.IsZero() {
		c.today = today
	}
	for {
		chunk, err := spill.Open(c.chunkPath(len(c.chunks)))
		if err != nil {
			return true, true
		}
		var note chunkNote
		if json.Unmarshal(chunk.Note(), &note) != nil {
			return true, true
		}
		c.chunks, c.notes = append(c.chunks, chunk), append(c.notes, note)
	}
}

// clear begins anew.
func (c *checkpoint) clear(run []byte) error {
	doing := "writing the checkpoint " + c.folder
	c.chunks, c.notes = nil, nil
	entries, err := os.ReadDir(c.folder)
	if err != nil {
		return fault.Wrap(fault.Internal, doing, err, "choose a folder that can be written")
	}
	for _, e := range entries {
		if e.Name() == "lock" {
			continue
		}
		if err := os.Remove(filepath.Join(c.folder, e.Name())); err != nil {
			return fault.Wrap(fault.Internal, doing, err, "remove it, then run again")
		}
	}
	b, err := keys.Encode(runDocument{Schema: checkpointSchema, Run: hex.EncodeToString(run), Today: c.today.String()})
	if err == nil {
		err = os.WriteFile(filepath.Join(c.folder, "run.json"), b, 0o600)
	}
	if err != nil {
		return fault.Wrap(fault.Internal, doing, err, "choose a folder that can be written")
	}
	return nil
}

func (c *checkpoint) chunkPath(i int) string {
	return filepath.Join(c.folder, fmt.Sprintf("chunk-%06d", i))
}

// rows returns the number of input rows that the chunks hold.
func (c *checkpoint) rows() int64 {
	if len(c.notes) == 0 {
		return 0
	}
	return c.notes[len(c.notes)-1].To
}

// close ends the run's use of the checkpoint and removes it, unless keep says
// that a run may go on with it and there is something to go on with.
func (c *checkpoint) close(keep bool) (kept bool) {
	if kept = keep && len(c.chunks) > 0; !kept {
		_ = os.RemoveAll(c.folder) // what is left is cleared by the next run
	}
	_ = c.lock.Close() // holds nothing
	return kept
}

// errStale says that the input is not the one the checkpoint was made of.
var errStale = errors.New("tokenise: the input has changed since the checkpoint was written")

// commit sorts a piece and writes it as the next chunk.
func (c *checkpoint) commit(ctx context.Context, p *encodedPiece, width int) error {
	wrap := func(err error) error {
		return fault.Wrap(fault.Internal, "keeping encoded rows in "+c.folder, err, "free space on the disk, then run again with --resume")
	}
	w, err := spill.Create(c.chunkPath(len(c.chunks)))
	if err != nil {
		return wrap(err)
	}
	defer w.Abort()
	p.sort(width)
	w.Begin()
	for _, row := range p.rows {
		if err := w.Append(row.record); err != nil {
			return wrap(err)
		}
	}
	w.Begin()
	for _, entry := range p.entries {
		if err := w.Append(entry.record); err != nil {
			return wrap(err)
		}
	}
	w.Begin()
	for i := range p.events.len() {
		if err := w.Append(p.events.at(i)); err != nil {
			return wrap(err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	note, err := json.Marshal(p.note)
	if err != nil {
		return wrap(err)
	}
	if err := w.Commit(note); err != nil {
		return wrap(err)
	}
	chunk, err := spill.Open(c.chunkPath(len(c.chunks)))
	if err != nil {
		return wrap(err)
	}
	c.chunks, c.notes = append(c.chunks, chunk), append(c.notes, p.note)
	return nil
}

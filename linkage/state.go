package linkage

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/secret"
	"tarn/linkage/cohort"
	"tarn/linkage/cohort/outdir"
)

// StateSchema is the schema member of the linker's state.
const StateSchema = "tarn.link-state/1"

// StateFile, in the state folder, is the state but for the tables of founders,
// which it names.
const StateFile = "state.json"

// pendingStateFile is the state as a job leaves it. It comes into force, see
// [KeepState], when the job's result has its name.
const pendingStateFile = "state.next.json"

// rememberedRuns is of how many jobs the state knows that they were done.
const rememberedRuns = 100

// state is what a linker keeps between jobs of one project and encoding epoch:
// the key of its cluster ids, the only key a linker holds, and which records
// the clusters were named by.
type state struct {
	folder     string
	clusterKey secret.Key
	mac        secret.MAC    // of the key
	document   stateDocument // without the key
}

type stateDocument struct {
	Schema        string     `json:"schema"`
	Software      string     `json:"software"`
	Created       string     `json:"created"`
	Project       string     `json:"project"`
	EncodingEpoch uint32     `json:"encoding_epoch"`
	ClusterKey    string     `json:"cluster_key"`
	Runs          []stateRun `json:"runs,omitempty"` // oldest first
}

// stateRun is a job whose result has its name.
type stateRun struct {
	Job    string `json:"job"` // the run_id it would have had with no job before it
	RunID  string `json:"run_id"`
	Number int    `json:"number"` // from 1
}

// openState reads the state in folder, or makes it there with a fresh key
// drawn from random. State of another project or epoch is refused with kind
// [fault.Disagreement]: cluster ids never persist across projects.
func openState(folder, project string, epoch uint32, software, created string, random io.Reader) (*state, error) {
	path := filepath.Join(folder, StateFile)
	doing := "reading the linker's state " + shownState(path)
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return createState(folder, path, project, epoch, software, created, random)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "give a folder that this user can read with --state")
	}
	defer clear(b)
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, fault.New(fault.Usage, doing, fmt.Sprintf("others than its owner may use it (mode %04o)", info.Mode().Perm()),
			"if nobody else can have read it, run: chmod 600 "+shownState(path))
	}
	d, err := decodeState(doing, b)
	if err != nil {
		return nil, err
	}
	if d.Project != project || d.EncodingEpoch != epoch {
		return nil, fault.New(fault.Disagreement, doing,
			fmt.Sprintf("it is of project %s, encoding epoch %d, and the cohorts are of %s, epoch %d", d.Project, d.EncodingEpoch, project, epoch),
			"name the state folder of this project with --state, or a new one")
	}
	var raw [secret.Size]byte
	defer clear(raw[:])
	if n, err := hex.Decode(raw[:], []byte(d.ClusterKey)); err != nil || n != secret.Size {
		return nil, fault.New(fault.Usage, doing, "member cluster_key is not 64 hexadecimal digits", "restore it, or name another folder with --state for new cluster ids")
	}
	d.ClusterKey = ""
	return newState(folder, secret.New(raw), *d), nil
}

// decodeState reads the document.
func decodeState(doing string, b []byte) (*stateDocument, error) {
	d := new(stateDocument)
	if err := keys.DecodeStrict(b, d); err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "restore it, or name another folder with --state for new cluster ids")
	}
	if d.Schema != StateSchema {
		return nil, fault.New(fault.Usage, doing, "its schema is not one that this version reads", "name another folder with --state for new cluster ids")
	}
	for _, run := range d.Runs {
		if !isRunID(run.RunID) || !isRunID(run.Job) || run.Number < 1 {
			return nil, fault.New(fault.Usage, doing, "member runs lists something other than runs", "restore it, or name another folder with --state for new cluster ids")
		}
	}
	return d, nil
}

func isRunID(text string) bool {
	return len(text) == 16 && strings.Trim(text, "0123456789abcdef") == ""
}

// shownState returns the path of a state as its user knows it: what lies with
// the checkpoints of a job was, or will be, the state of its result.
func shownState(path string) string {
	folder, name := filepath.Split(path)
	folder, own := filepath.Split(filepath.Clean(folder))
	if result, checkpoints := filepath.Split(filepath.Clean(folder)); checkpoints == outdir.CheckpointDir {
		return filepath.Join(result, own, name)
	}
	return path
}

func newState(folder string, key secret.Key, d stateDocument) *state {
	return &state{folder: folder, clusterKey: key, mac: key.MAC(), document: d}
}

func createState(folder, path, project string, epoch uint32, software, created string, random io.Reader) (*state, error) {
	doing, next := "writing the linker's state "+shownState(path), "choose a folder that can be written with --state"
	if random == nil {
		random = rand.Reader
	}
	key, err := secret.Generate(random)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "")
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, next)
	}
	s := newState(folder, key, stateDocument{Schema: StateSchema, Software: software, Created: created, Project: project, EncodingEpoch: epoch})
	return s, s.write(path, doing, s.document)
}

// write writes a document with the state's key.
func (s *state) write(path, doing string, d stateDocument) error {
	s.clusterKey.Use(func(b *[secret.Size]byte) { d.ClusterKey = hex.EncodeToString(b[:]) })
	b, err := keys.Encode(d)
	if err != nil {
		return fault.New(fault.Internal, doing, "the document could not be made", "")
	}
	defer clear(b)
	if err := keys.WriteFile(path, b); err != nil {
		return fault.Wrap(fault.Internal, doing, err, "choose a folder that can be written with --state")
	}
	return nil
}

// before returns the runs that a job comes after. A job that is done again
// comes after those that it came after the first time, and never after itself.
func (s *state) before(job string) []stateRun {
	runs := s.document.Runs
	if n := len(runs); n > 0 && runs[n-1].Job == job {
		return runs[:n-1]
	}
	return runs
}

// has reports whether a job is known to have been done with this run_id.
func (s *state) has(job, runID string) bool {
	return slices.ContainsFunc(s.document.Runs, func(r stateRun) bool { return r.Job == job && r.RunID == runID })
}

// leave writes the state as it will be when the run has its result.
func (s *state) leave(run stateRun) error {
	d := s.document
	d.Runs = append(slices.Clone(s.before(run.Job)), run)
	d.Runs = d.Runs[max(0, len(d.Runs)-rememberedRuns):]
	path := filepath.Join(s.folder, pendingStateFile)
	return s.write(path, "writing the linker's state "+shownState(path), d)
}

// left returns the run whose state waits for coming into force; nil where none
// does.
func (s *state) left() *stateRun {
	b, err := os.ReadFile(filepath.Join(s.folder, pendingStateFile))
	defer clear(b)
	if err != nil {
		return nil
	}
	d, err := decodeState("", b)
	if err != nil || len(d.Runs) == 0 {
		return nil
	}
	return &d.Runs[len(d.Runs)-1]
}

// forget removes what a job has left that has no result.
func (s *state) forget() error {
	path := filepath.Join(s.folder, pendingStateFile)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fault.Wrap(fault.Internal, "writing the linker's state "+shownState(path), err, "choose a folder that can be written with --state")
	}
	return nil
}

// foundersFile returns the name of the table of founders that a run left.
func foundersFile(runID string) string { return foundersPrefix + runID + ".parquet" }

const foundersPrefix = "founders-"

// tables returns the names of the tables of founders that a state needs: of the
// last run, and of the one before it, for doing the last one again.
func (d *stateDocument) tables() (names []string) {
	for _, run := range d.Runs[max(0, len(d.Runs)-2):] {
		names = append(names, foundersFile(run.RunID))
	}
	return names
}

// LockState keeps other jobs from using the state in folder, which is made if it
// is not there, until release is called or the process ends: a job must see
// what the one before it has left.
func LockState(folder string) (release func(), err error) {
	doing := "using the linker's state in " + folder
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "choose a folder that can be written with --state")
	}
	f, err := os.Open(folder)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "give a folder that this user can read with --state")
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close() // opened for reading
		return nil, fault.New(fault.Usage, doing, "another job is using it", "run this one when that has ended")
	}
	return func() {
		_ = f.Close()         // opened for reading
		_ = os.Remove(folder) // fails where a state is in it
	}, nil
}

// KeepState brings into force, in the folder to, the state that a job has left
// in the folder from, which may be the same. It is called when the job's result
// has its name, or on what gets its name together with the result. A job that
// has left nothing leaves the state as it was.
func KeepState(from, to string) error {
	doing, next := "keeping the linker's state", "choose a folder that can be written"
	b, err := os.ReadFile(filepath.Join(from, pendingStateFile))
	if errors.Is(err, os.ErrNotExist) {
		b, err = os.ReadFile(filepath.Join(from, StateFile))
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil // the method needs none
	}
	if err != nil {
		return fault.Wrap(fault.Internal, doing, err, "")
	}
	defer clear(b)
	d, err := decodeState(doing, b)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return fault.Wrap(fault.Internal, doing, err, next)
	}
	if from != to {
		for _, name := range d.tables() {
			if err := linkFile(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
				return fault.Wrap(fault.Internal, doing, err, next)
			}
		}
	}
	if err := keys.WriteFile(filepath.Join(to, StateFile), b); err != nil {
		return fault.Wrap(fault.Internal, doing, err, next)
	}
	_ = os.Remove(filepath.Join(to, pendingStateFile)) // what stays is the same, or goes when the next job begins
	tables, _ := filepath.Glob(filepath.Join(to, foundersPrefix+"*.parquet"))
	for _, path := range tables {
		if !slices.Contains(d.tables(), filepath.Base(path)) {
			_ = os.Remove(path) // what stays is in nobody's way
		}
	}
	return nil
}

// linkFile gives a file, which is never changed, a second name. A file that is
// not there is left out: only a job that needs it can say so.
func linkFile(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrExist) {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // opened for reading
	out, err := keys.NewFile(to)
	if err != nil {
		return err
	}
	defer func() { _ = out.Cleanup() }() // nothing depends on it
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.CloseAtomicallyReplace()
}

// clusterID returns the id of the cluster whose founding member this is:
// HMAC(K_cl, LP(source_dataset, unique_id))[0:16].
func (s *state) clusterID(h *secret.Hasher, sourceDataset, uniqueID string) (id cohort.ID) {
	copy(id[:], h.Sum(s.mac, keys.LP(keys.Text(sourceDataset), keys.Text(uniqueID)))[:])
	return id
}

// check returns a value that tells two states apart and gives neither away,
// for the run's identity.
func (s *state) check() (text string) {
	s.clusterKey.Derive(keys.LP(keys.Text("tarn/kcv/v1"))).Use(func(b *[secret.Size]byte) {
		text = hex.EncodeToString(b[:keys.CheckValueSize])
	})
	return text
}

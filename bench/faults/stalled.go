package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"tarn/bench/keyholder"
	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/fault"
)

const (
	// stalledTTL is how long leases last here: they are renewed after half of it, and
	// count as over five seconds before their end.
	stalledTTL = 20 * time.Second
	// stalledRows is how many people a run encodes.
	stalledRows = 4000
	// backWithin is how soon a key holder that stalled must be ready.
	backWithin = 2 * time.Second
	// fewRequests is how often a key holder that is cut off may be asked in a run: a
	// storm asks much more often.
	fewRequests = 30
)

// region is a key holder, a tokeniser enrolled with it, and people.
type region struct {
	*keyholder.KeyHolder
	t           *Trial
	name        string
	credentials string
	project     string
	table       []byte
	want        []byte // the cohort of a run that nothing happened to
}

// newRegion makes the key holder and the people, and encodes them with tokens of a
// scheme.
func (t *Trial) newRegion(name, scheme string) (*region, error) {
	folder, err := t.sub(name)
	if err != nil {
		return nil, err
	}
	r := &region{t: t, name: name, credentials: filepath.Join(folder, loadClient), project: filepath.Join(folder, "project.json")}
	people := filepath.Join(folder, "people")
	if err := t.succeed("tarn", "synth", "--people", fmt.Sprint(stalledRows), "--parties", "1", "--overlap", "0", "--seed", "9", "--project", "--scheme", scheme, "--out", people); err != nil {
		return nil, err
	}
	record, err := os.ReadFile(filepath.Join(people, "project.json"))
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "reading the project", err, "")
	}
	if r.table, err = os.ReadFile(filepath.Join(people, loadClient+".csv")); err != nil {
		return nil, fault.Wrap(fault.Internal, "reading the people", err, "")
	}
	if r.KeyHolder, err = t.keyHolder(keyholder.Options{Folder: folder, LeaseTTL: stalledTTL}); err != nil {
		return nil, err
	}
	err = r.AddDomain(t.ctx, "synthetic", scheme)
	if err == nil {
		err = r.AddProject(t.ctx, record)
	}
	if err == nil {
		err = r.AddTokeniser(t.ctx, loadClient, "synth-9")
	}
	if err == nil {
		err = t.succeed("tokeniser", "project", "synth-9", "--as", r.credentials, "--out", r.project)
	}
	if err != nil {
		return nil, err
	}
	// The first run pins the encoding key, and so changes the record.
	for _, out := range []string{"first.parquet", "whole.parquet"} {
		if code, said, err := r.encode(out, bytes.NewReader(r.table)); err != nil || code != 0 {
			return nil, errors.Join(err, fault.New(fault.Internal, "encoding", fmt.Sprintf("exit code %d: %s", code, said), ""))
		}
	}
	r.want, err = os.ReadFile(filepath.Join(r.Folder, "whole.parquet"))
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "reading the cohort", err, "")
	}
	return r, nil
}

// succeed runs a program that must succeed.
func (t *Trial) succeed(name string, args ...string) error {
	code, _, said, err := t.command(name, args...)
	if err == nil && code != 0 {
		err = fault.New(fault.Internal, "running "+name+" "+args[0], fmt.Sprintf("exit code %d: %s", code, said), "")
	}
	return err
}

// encode encodes a table from a pipe.
func (r *region) encode(out string, table io.Reader, more ...string) (code int, said string, err error) {
	c := exec.CommandContext(r.t.ctx, r.t.binary("tokeniser"), append([]string{"run", "--project", r.project, "--as", r.credentials, "--keyholder", r.URL,
		"--in", "-", "--source", loadClient, "--confirm-map", "--checkpoint-rows", "500", "--out", filepath.Join(r.Folder, out)}, more...)...)
	c.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1767225600")
	c.Stdin = table
	var both bytes.Buffer
	c.Stdout, c.Stderr = &both, &both
	if err := c.Run(); err != nil && c.ProcessState == nil {
		return 0, "", fault.Wrap(fault.Unavailable, "running tokeniser", err, "build all binaries into one folder: make build")
	}
	return c.ProcessState.ExitCode(), both.String(), nil
}

// slowly gives half a table, then what happens, then the rest when the run is to go
// on: nil is never. What it starts ends with the scenario.
func (r *region) slowly(happens func() error, rest <-chan struct{}) (table *os.File, happened <-chan error, err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, nil, fault.Wrap(fault.Internal, "making a pipe", err, "")
	}
	ctx, cancel := context.WithCancel(r.t.ctx)
	done := make(chan error, 1)
	half := bytes.LastIndexByte(r.table[:len(r.table)/2], '\n') + 1
	go func() {
		defer func() { _ = write.Close() }() // the reader may be gone
		_, _ = write.Write(r.table[:half])
		time.Sleep(time.Second) // the first rows are on their way
		done <- happens()
		select {
		case <-rest:
			_, _ = write.Write(r.table[half:])
		case <-ctx.Done():
		}
	}()
	context.AfterFunc(ctx, func() { _ = read.Close() })
	r.stop(cancel)
	return read, done, nil
}

// stop has something end with the scenario; regions run beside one another.
func (r *region) stop(f func()) {
	r.t.together.Lock()
	defer r.t.together.Unlock()
	r.t.later(func() error { f(); return nil })
}

// disturbed runs the tokeniser while something happens to it in the middle.
func (r *region) disturbed(happens func() error, rest <-chan struct{}) (code int, said string, took time.Duration, err error) {
	table, happened, err := r.slowly(happens, rest)
	if err != nil {
		return 0, "", 0, err
	}
	begun := time.Now()
	code, said, err = r.encode("north.parquet", table)
	took = time.Since(begun)
	if err == nil {
		err = <-happened
	}
	return code, said, took, err
}

// check tells of a region's part.
func (r *region) check(holds bool, what, detail string, values ...any) {
	r.t.together.Lock()
	defer r.t.together.Unlock()
	r.t.check(holds, r.name+": "+what, detail, values...)
}

// ends checks that a run ended with a code before its leases did, with nothing under
// its name.
func (r *region) ends(code, want int, said string, took time.Duration) {
	r.check(code == want && took <= stalledTTL && strings.Contains(said, "what was encoded so far is kept"), "the run ends before its leases do, and says what to do", "exit code %d after %v: %s", code, took, said)
	_, err := os.Stat(filepath.Join(r.Folder, "north.parquet"))
	r.check(os.IsNotExist(err), "a run that ended early leaves no cohort", "%s", wrong(err))
	r.t.together.Lock()
	defer r.t.together.Unlock()
	r.t.figure("ended_after_s", took.Seconds())
}

// resumes checks that a run that ended early goes on to the bytes of one that did
// not.
func (r *region) resumes() error {
	code, said, err := r.encode("north.parquet", bytes.NewReader(r.table), "--resume")
	if err != nil {
		return err
	}
	got, err := os.ReadFile(filepath.Join(r.Folder, "north.parquet"))
	r.check(err == nil && code == 0 && strings.Contains(said, "had been encoded before the interruption") && bytes.Equal(got, r.want), "it goes on later to the same bytes", "exit code %d%s: %s", code, wrong(err), said)
	return nil
}

// used returns the rows that the key holder was told of for each lease.
func (r *region) used() (rows map[string]int64, err error) {
	operator, err := r.As(keyholder.Operator)
	if err != nil {
		return nil, err
	}
	defer operator.Close()
	rows = map[string]int64{}
	return rows, eachEntry(r.t.ctx, operator, func(leaf audit.Leaf) {
		if leaf.Kind == audit.KindLease && leaf.Outcome == "used" {
			rows[leaf.Request] += leaf.Count
		}
	})
}

// stalled is scenario 19, from the tokeniser's side. Its parts take most of their
// time waiting, and so run beside one another.
func stalled(t *Trial) error {
	parts := []struct {
		name, scheme string
		run          func(*region) error
	}{
		{"stalled", keys.SchemeKeyedHash, stalledWholly}, {"stalled for a while", keys.SchemeKeyedHash, stalledBriefly}, {"cut off", keys.SchemeKeyedHash, cutOff},
		{"revoked", keys.SchemeKeyedHash, revoked}, {"stalled while it evaluates", keys.SchemeOblivious, stalledEvaluating},
	}
	var regions []*region
	for _, part := range parts {
		t.note("a region for: %s", part.name)
		r, err := t.newRegion(part.name, part.scheme)
		if err != nil {
			return err
		}
		regions = append(regions, r)
	}
	t.note("%d runs are disturbed", len(parts))
	var group errgroup.Group
	for i, part := range parts {
		group.Go(func() error { return part.run(regions[i]) })
	}
	return group.Wait()
}

func stalledWholly(r *region) error {
	code, said, took, err := r.disturbed(func() error { return r.Process.Signal(syscall.SIGSTOP) }, nil)
	if err != nil {
		return err
	}
	r.ends(code, int(fault.Unavailable), said, took)
	if err := r.Process.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	back := time.Now()
	err = r.Ready(r.t.ctx)
	r.check(err == nil && time.Since(back) <= backWithin, "it is ready within 2 s when it goes on", "after %v%s", time.Since(back), wrong(err))
	if err := r.resumes(); err != nil {
		return err
	}
	used, err := r.used()
	for lease, rows := range used {
		r.check(rows <= stalledRows, "nothing is recorded twice", "lease %s was used for %d rows of %d", lease, rows, stalledRows)
	}
	return err
}

// stalledBriefly is the control: this run does not end.
func stalledBriefly(r *region) error {
	rest := make(chan struct{})
	code, said, _, err := r.disturbed(func() error {
		time.Sleep(stalledTTL/2 - 3*time.Second)
		err := r.Process.Signal(syscall.SIGSTOP)
		time.Sleep(5 * time.Second) // the renewal falls into it
		err = errors.Join(err, r.Process.Signal(syscall.SIGCONT))
		time.Sleep(stalledTTL / 2) // the old leases have ended
		close(rest)
		return err
	}, rest)
	if err != nil {
		return err
	}
	got, err := os.ReadFile(filepath.Join(r.Folder, "north.parquet"))
	r.t.together.Lock()
	r.t.control(err == nil && code == 0 && bytes.Equal(got, r.want), "a key holder that stalls for a while ends no run", "exit code %d%s: %s", code, wrong(err), said)
	r.t.together.Unlock()
	used, err := r.used()
	whole := 0
	for _, rows := range used {
		if rows == stalledRows {
			whole++
		}
	}
	r.check(whole == 6, "each use is reported whole, and once", "of two keys in three runs %d were", whole)
	return err
}

// stalledEvaluating has the rest of the table come when the key holder has stopped
// answering: the run needs tokens that nobody makes, and not only its lease.
func stalledEvaluating(r *region) error {
	before, err := r.evaluated()
	if err != nil {
		return err
	}
	whole := before / 2 // it was encoded twice
	rest := make(chan struct{})
	code, said, took, err := r.disturbed(func() error {
		defer close(rest)
		return r.Process.Signal(syscall.SIGSTOP)
	}, rest)
	if err != nil {
		return err
	}
	r.ends(code, int(fault.Unavailable), said, took)
	if err := r.Process.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	if err := r.resumes(); err != nil {
		return err
	}
	after, err := r.evaluated()
	// What was answered and did not reach a checkpoint is asked for again, as another
	// request: less than a table, or the checkpoints served nothing.
	r.check(whole > 0 && after-before >= whole && after-before < 2*whole, "what was encoded is not evaluated again", "%d numbers were evaluated for a table with %d", after-before, whole)
	r.t.together.Lock()
	r.t.figure("evaluated_per_number", float64(after-before)/float64(max(1, whole)))
	r.t.together.Unlock()
	return err
}

// evaluated returns how many numbers the key holder has evaluated.
func (r *region) evaluated() (numbers int64, err error) {
	operator, err := r.As(keyholder.Operator)
	if err != nil {
		return 0, err
	}
	defer operator.Close()
	return numbers, eachEntry(r.t.ctx, operator, func(leaf audit.Leaf) {
		if leaf.Kind == audit.KindEvaluate {
			numbers += leaf.Count
		}
	})
}

func cutOff(r *region) error {
	var asked atomic.Int64
	address := strings.TrimPrefix(r.URL, "https://")
	code, said, took, err := r.disturbed(func() error {
		if err := r.Kill(); err != nil {
			return err
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			return fault.Wrap(fault.Internal, "answering in the key holder's place", err, "")
		}
		r.stop(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				asked.Add(1)
				_ = c.Close()
			}
		}()
		return nil
	}, nil)
	if err != nil {
		return err
	}
	r.ends(code, int(fault.Unavailable), said, took)
	n := asked.Load()
	r.check(n > 0 && n <= fewRequests, "there is no storm of requests", "a key holder that is cut off was asked %d times", n)
	r.t.together.Lock()
	r.t.figure("asked_while_cut_off", float64(n))
	r.t.together.Unlock()
	if err := r.Start(r.t.ctx); err != nil {
		return err
	}
	return r.resumes()
}

func revoked(r *region) error {
	code, said, took, err := r.disturbed(func() error {
		operator, err := r.As(keyholder.Operator)
		if err != nil {
			return err
		}
		defer operator.Close()
		_, err = operator.Ask(r.t.ctx, api.OpClientRevoke, api.ClientNamed{Name: loadClient, Reason: "contract ended"})
		return err
	}, nil)
	if err != nil {
		return err
	}
	r.ends(code, int(fault.Policy), said, took)
	return nil
}

package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/bench/keyholder"
	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/holder/disk"
)

// Options are what scenarios are run with.
type Options struct {
	// Binaries is the folder of the programs: keyholder, auditor, tokeniser and tarn
	// itself.
	Binaries string
	Folder   string // an existing one, for what they make
	Ledger   string // a folder on another filesystem; empty looks for one
	Race     string // a tokeniser that was built with the race detector; empty is none
	Full     bool   // as many rounds as the design asks for; else few
	Keep     bool   // leaves what they made
	Software string
	Clock    func() time.Time
	Progress func(string) // may be nil
}

// Trial is a scenario that is being run: what it is given, and what it tells.
type Trial struct {
	Options
	ctx      context.Context
	scenario *Scenario
	result   *Result
	folder   string
	undo     []func() error
	together sync.Mutex // held by parts of a scenario that run beside one another
}

// Run runs a scenario. An error says that it could not be run to its end; the Result
// comes with it, and has not passed.
func Run(ctx context.Context, s Scenario, o Options) (*Result, error) {
	t := &Trial{Options: o, ctx: ctx, scenario: &s, result: newResult(&s, &o)}
	begun := time.Now()
	err := t.run()
	t.result.WallS = time.Since(begun).Seconds()
	t.result.judge(err)
	return t.result, err
}

func (t *Trial) run() (err error) {
	if t.folder, err = os.MkdirTemp(t.Options.Folder, fmt.Sprintf("%d-%s-", t.scenario.Number, t.scenario.Name)); err != nil {
		return fault.Wrap(fault.Internal, "making a folder for the scenario", err, "")
	}
	if !t.Keep {
		t.later(func() error { return os.RemoveAll(t.folder) })
	}
	defer func() {
		for _, undo := range slices.Backward(t.undo) {
			err = errors.Join(err, undo())
		}
	}()
	err = t.scenario.Run(t)
	var missing *missing
	if errors.As(err, &missing) {
		t.result.LeftOut = append(t.result.LeftOut, "all of it: "+missing.why)
		return nil
	}
	return err
}

// later has something done when the scenario has ended, the last of them first.
func (t *Trial) later(undo func() error) { t.undo = append(t.undo, undo) }

// times is how often something is done.
func (t *Trial) times(small, full int) int {
	if t.Full {
		return full
	}
	return small
}

// note says what is being done.
func (t *Trial) note(format string, values ...any) {
	if t.Progress != nil {
		t.Progress(fmt.Sprintf(format, values...))
	}
}

// check tells what must hold, and reports whether it does. What fails is said
// with the detail.
func (t *Trial) check(holds bool, what, detail string, values ...any) bool {
	t.result.Checks = append(t.result.Checks, told(t.result.Checks, Finding{What: what, Holds: holds, Detail: fmt.Sprintf(detail, values...)})...)
	return holds
}

// control tells whether a control fails as it must.
func (t *Trial) control(fails bool, what, detail string, values ...any) {
	t.result.Controls = append(t.result.Controls, told(t.result.Controls, Finding{What: what, Holds: fails, Detail: fmt.Sprintf(detail, values...)})...)
}

// told leaves out what holds and was told before: what is checked round after round
// is one line, and each failure another.
func told(before []Finding, f Finding) []Finding {
	if f.Holds {
		for i := range before {
			if before[i].What == f.What && before[i].Holds {
				before[i].Detail = f.Detail
				return nil
			}
		}
	}
	return []Finding{f}
}

// wrong is an error in a detail: nothing where there is none.
func wrong(err error) string {
	if err == nil {
		return ""
	}
	return ", " + err.Error()
}

// figure tells a number, of which the largest is kept.
func (t *Trial) figure(name string, value float64) {
	t.result.Figures[name] = max(value, t.result.Figures[name])
}

// count adds to a number.
func (t *Trial) count(name string, n int) { t.result.Figures[name] += float64(n) }

// leaveOut tells that a part cannot be run here, and why.
func (t *Trial) leaveOut(part, why string) {
	t.result.LeftOut = append(t.result.LeftOut, part+": "+why)
}

// missing says that a scenario cannot be run here at all.
type missing struct{ why string }

func (m *missing) Error() string { return m.why }

// need ends a scenario that needs what is not here.
func need(programs ...string) error {
	if why := disk.Missing(programs...); why != "" {
		return &missing{why}
	}
	return nil
}

// disk makes a disk of this size for the scenario, which ends where none can be made.
func (t *Trial) disk(name string, size int64) (*disk.Disk, error) {
	if err := need(disk.Programs...); err != nil {
		return nil, err
	}
	folder := filepath.Join(t.folder, name)
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	d, err := disk.New(folder, size)
	if errors.Is(err, disk.ErrNoLoop) {
		return nil, &missing{disk.ErrNoLoop.Error()}
	}
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "making a disk", err, "")
	}
	t.later(d.Remove)
	return d, nil
}

// sub makes a folder of the scenario.
func (t *Trial) sub(name string) (string, error) {
	folder := filepath.Join(t.folder, name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fault.Wrap(fault.Internal, "making a folder", err, "")
	}
	return folder, nil
}

func (t *Trial) binary(name string) string { return filepath.Join(t.Binaries, name) }

// command runs a program to its end and returns its exit code, what it printed,
// and all that it said.
func (t *Trial) command(name string, args ...string) (code int, stdout []byte, said string, err error) {
	c := exec.CommandContext(t.ctx, t.binary(name), args...)
	var out, complaint bytes.Buffer
	c.Stdout, c.Stderr = &out, &complaint
	if err := c.Run(); err != nil && c.ProcessState == nil {
		return 0, nil, "", fault.Wrap(fault.Unavailable, "running "+name, err, "build all binaries into one folder: make build")
	}
	if t.ctx.Err() != nil {
		return 0, nil, "", t.ctx.Err()
	}
	return c.ProcessState.ExitCode(), out.Bytes(), strings.TrimSpace(out.String() + complaint.String()), nil
}

// keyHolder makes a key holder that runs and has its operator; it is gone when the
// scenario has ended.
func (t *Trial) keyHolder(o keyholder.Options) (*keyholder.KeyHolder, error) {
	k, err := t.newKeyHolder(o)
	if err == nil {
		err = k.Start(t.ctx)
	}
	if err == nil {
		err = k.Enrol(t.ctx, keyholder.Operator, k.Made.Codes[keyholder.Operator])
	}
	return k, err
}

// newKeyHolder makes one that was not started yet.
func (t *Trial) newKeyHolder(o keyholder.Options) (*keyholder.KeyHolder, error) {
	var err error
	if o.Folder == "" {
		if o.Folder, err = t.sub("site"); err != nil {
			return nil, err
		}
	}
	o.Binary, o.Software, o.Clock = t.binary("keyholder"), t.Software, t.Clock
	k, err := keyholder.New(t.ctx, o)
	if err == nil {
		t.later(k.Kill)
	}
	return k, err
}

// The names of what load is put on: a project, its domain and its tokeniser.
const (
	loadDomain  = "lake"
	loadProject = "study"
	loadClient  = "north"
)

// populate has a key holder that runs get a project and a tokeniser of it.
func (t *Trial) populate(k *keyholder.KeyHolder) error {
	err := k.AddDomain(t.ctx, loadDomain, keys.SchemeKeyedHash)
	if err == nil {
		err = k.AddProject(t.ctx, keyholder.Record(loadProject, loadDomain, keys.SchemeKeyedHash))
	}
	if err == nil {
		err = k.AddTokeniser(t.ctx, loadClient, loadProject)
	}
	return err
}

// ledger makes a ledger, on another filesystem than a key holder's where there is
// one.
func (t *Trial) ledger(k *keyholder.KeyHolder) (*Ledger, error) {
	system := []string{t.folder, k.Dir, filepath.Dir(k.Anchor)}
	if k.Logs != "" {
		system = append(system, k.Logs)
	}
	folder, separate, err := elsewhere(t.Options.Ledger, system...)
	if err != nil {
		return nil, err
	}
	if !t.Keep {
		t.later(func() error { return os.RemoveAll(folder) })
	}
	t.result.Ledger = LedgerPlace{Separate: separate, Filesystem: filesystemOf(folder)}
	if !separate {
		t.leaveOut("the ledger on another filesystem", "there is none here that can be written")
	}
	l, err := OpenLedger(filepath.Join(folder, "acknowledged"))
	if err == nil {
		t.later(l.Close)
	}
	return l, err
}

// checked asks a key holder that runs, by another process, for what a ledger holds.
func (t *Trial) checked(k *keyholder.KeyHolder, ledger string, more ...string) (*Checked, error) {
	code, out, said, err := t.command("tarn", append([]string{"faults", "check", "--ledger", ledger, "--keyholder", k.URL, "--as", k.Credentials(keyholder.Operator), "--json"}, more...)...)
	if err != nil {
		return nil, err
	}
	c := new(Checked)
	if err := json.Unmarshal(out, c); err != nil || c.Schema != CheckSchema {
		return nil, fault.New(fault.Internal, "checking what was acknowledged", fmt.Sprintf("the checker ended with exit code %d: %s", code, said), "use binaries of one version: make build")
	}
	if c.Whole() != (code == 0) {
		return nil, fault.New(fault.Internal, "checking what was acknowledged", fmt.Sprintf("exit code %d with %s", code, c), "")
	}
	return c, nil
}

// acknowledged is what scenarios find of their ledger.
const acknowledged = "everything acknowledged is there, equal, and in the log once"

// holds checks that all that is in a ledger is there.
func (t *Trial) holds(k *keyholder.KeyHolder, l *Ledger) (bool, error) {
	c, err := t.checked(k, l.Path())
	if err != nil {
		return false, err
	}
	return t.check(c.Whole(), acknowledged, "%s", c), nil
}

// planted is the control of the checker: things that were never acknowledged, and
// one that was and is another in the ledger, must be found, and nothing else.
func (t *Trial) planted(k *keyholder.KeyHolder, l *Ledger) error {
	all, err := ReadLedger(l.Path())
	if err != nil {
		return err
	}
	path := l.Path() + "-planted"
	copied, err := OpenLedger(path)
	if err != nil {
		return err
	}
	want := Checked{Missing: []string{"domain planted", "lease planted"}}
	for _, a := range all {
		if a.Kind == ackLease && len(want.Differing) == 0 {
			a.Epoch++
			want.Differing = []string{"lease " + a.Name}
		}
		if err := copied.Keep(a); err != nil {
			return err
		}
	}
	for _, a := range []Acknowledged{{Kind: ackDomain, Name: "planted", Operation: "none"}, {Kind: ackLease, Name: "planted", Project: loadProject}} {
		if err := copied.Keep(a); err != nil {
			return err
		}
	}
	if err := copied.Close(); err != nil {
		return err
	}
	c, err := t.checked(k, path)
	if err != nil {
		return err
	}
	t.control(slices.Equal(c.Missing, want.Missing) && slices.Equal(c.Differing, want.Differing) && len(c.Unrecorded)+len(c.Twice) == 0,
		"what is planted in the ledger is found, and nothing else", "%s", c)
	return os.Remove(path)
}

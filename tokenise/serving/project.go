// Package serving is what a region answers pipelines with for as long as its service
// runs: the keys of each project, leased and leased again, what its clients have used,
// and which requests have had their answer.
package serving

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
	"tarn/tokenise/demographics"
	"tarn/tokenise/encode"
	"tarn/tokenise/escrow"
	"tarn/tokenise/lease"
	"tarn/tokenise/online"
	"tarn/tokenise/online/wire"
)

// Waits between two tries of getting a project's keys.
const (
	firstWait   = 500 * time.Millisecond
	longestWait = 2 * time.Second // so that a project is back this long after its key holder
	// spentWait is the wait when the key holder allows no more rows: that lasts for hours,
	// and each try is an entry in its log.
	spentWait = 30 * time.Second
)

// ProjectOptions say how a project is served.
type ProjectOptions struct {
	File        string     // path of project.json, which pins the keys
	Lease       lease.Open // nil with KeyFile
	KeyFile     string     // path of keys.json, for trials without a key holder
	Production  bool       // keys of tests are refused
	CachedDates int        // see online.Options
	Wall        func() time.Time
	Logger      *slog.Logger
	// BatchWindow is how long numbers of small requests wait for others, with which they
	// are evaluated; BatchTimeout bounds an evaluation.
	BatchWindow, BatchTimeout time.Duration
	// KeyHolder returns nil while the key holder answers, else why tokens cannot be made:
	// where it makes them, the project is not ready. It may be nil.
	KeyHolder func() error
}

// Project is a project that is served. It is safe for concurrent use.
type Project struct {
	options ProjectOptions
	name    string
	reload  chan struct{}
	keeper  *escrow.Keeper

	mu      sync.RWMutex
	current *Keys
	why     error         // why there is none
	record  *keys.Project // as it was read last
}

// Keys are the keys of a project at one time, with what they answer. They are good until
// they are released.
type Keys struct {
	Engine  *online.Engine
	running context.Context // ends when the keys may not be used any more
	cancel  context.CancelCauseFunc
	session lease.Session // nil with a key file
	wall    func() time.Time
	end     time.Time // of the project
	window  *Window   // nil where tokens are made here
	workers chan *online.Worker
	writers map[answerForm]chan wire.Writer
	digest  Digest
	escrow  *escrow.Keeper
	sealed  *escrow.Recipient // nil where the project has no escrow
	users   sync.WaitGroup
	warming context.CancelFunc
}

// answerForm is what a writer is made for.
type answerForm struct {
	format wire.Format
	asked  online.Asked
}

// NewProject reads a project's file. Its keys come with [Project.Work].
func NewProject(o ProjectOptions) (*Project, error) {
	record, err := keys.ReadProject(o.File)
	if err != nil {
		return nil, err
	}
	return &Project{options: o, name: record.Name, record: record, reload: make(chan struct{}, 1),
		why: fault.New(fault.Unavailable, "serving project "+record.Name, "its keys are not here yet", "wait a moment")}, nil
}

// Name returns the project's name.
func (p *Project) Name() string { return p.name }

// KeepEscrow has whose tokens are kept, sealed to the key holder, where the project has an
// escrow. It is called before Work, or nothing is kept.
func (p *Project) KeepEscrow(keeper *escrow.Keeper) { p.keeper = keeper }

// Domain returns the project's domain, and its number: of its file, while its keys are not
// here.
func (p *Project) Domain() (name string, number uint32) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.record.Domain, p.record.Keys.DomainNo
}

// Reload has the project's file read and its keys got again. The old ones are used until
// the new ones are there, and where they cannot be got.
func (p *Project) Reload() {
	select {
	case p.reload <- struct{}{}:
	default: // it is asked for already
	}
}

// Ready returns nil when the project's rows can be answered, else why not.
func (p *Project) Ready() error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	switch {
	case p.current == nil:
		return p.why
	case p.current.Ended() != nil: // and others are not here yet
		return p.current.Ended()
	case p.options.KeyHolder != nil && p.current.Engine.Evaluated():
		return p.options.KeyHolder()
	}
	return nil
}

// LeaseEnd returns when the first of the project's leases ends, unless it is renewed;
// the zero time where there is none.
func (p *Project) LeaseEnd() time.Time {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.current == nil || p.current.session == nil {
		return time.Time{}
	}
	return p.current.session.Expires()
}

// Use returns the project's keys, which the caller releases. The error is a fault.
func (p *Project) Use() (*Keys, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	k := p.current
	if k == nil {
		return nil, p.why
	}
	if err := k.Ended(); err != nil {
		return nil, err
	}
	k.users.Add(1)
	return k, nil
}

// Release says that the caller uses the keys no more.
func (k *Keys) Release() { k.users.Done() }

// Work gets the project's keys, keeps them, and gets them again when they are lost, until
// the context ends. It then waits until nobody uses them.
func (p *Project) Work(ctx context.Context) {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval, wait.Multiplier, wait.RandomizationFactor = firstWait, longestWait, 2, .2
	logged := ""
	for ctx.Err() == nil {
		next, err := p.open(ctx)
		if err != nil {
			p.set(nil, err)
			if reason := reasonOf(err); reason != logged && ctx.Err() == nil { // once for each reason
				p.options.Logger.Error("a project cannot be served", "project", p.name, "error", err)
				logged = reason
			}
			pause := wait.NextBackOff()
			if lease.RefusedAs(err) == api.CodeBudget {
				pause = spentWait
			}
			p.pause(ctx, pause)
			continue
		}
		logged = ""
		p.set(next, nil)
		begun := time.Now()
		p.options.Logger.Info("a project is served", "project", p.name, "token_epoch", next.Engine.Context().TokenEpoch, "encoding_epoch", next.Engine.Context().EncodingEpoch)
		p.keep(ctx, next)
		if time.Since(begun) > longestWait {
			wait.Reset()
			continue
		}
		// They were lost as soon as they were got, as where the clocks of the two differ by more
		// than a lease lasts: each try is an entry in the key holder's log.
		p.pause(ctx, wait.NextBackOff())
	}
}

// reasonOf returns what tells one reason from another: of a refusal by the key holder its
// code, for its text may say how long it lasts yet.
func reasonOf(err error) string {
	if code := lease.RefusedAs(err); code != "" {
		return string(code)
	}
	return err.Error()
}

// keep waits until the keys are lost or the context ends, and ends them. A reload that
// succeeds goes on with other keys.
func (p *Project) keep(ctx context.Context, k *Keys) {
	look := time.NewTicker(longestWait)
	defer look.Stop()
	was := p.changed()
	for {
		select {
		case <-look.C: // a record that was put in its place is read without being told
			if now := p.changed(); now != was {
				was = now
				p.Reload()
			}
		case <-k.running.Done():
			why := fault.Ended(k.running, context.Cause(k.running))
			p.set(nil, why)
			if ctx.Err() == nil {
				p.options.Logger.Error("a project's keys are lost", "project", p.name, "error", why)
			}
			p.end(ctx, k)
			return
		case <-p.reload:
			next, err := p.open(ctx)
			if fault.KindOf(err) == fault.Policy { // it has ended, or may not be served any more
				p.set(nil, err)
				p.options.Logger.Error("a project cannot be served", "project", p.name, "error", err)
				p.end(ctx, k)
				return
			}
			if err != nil {
				p.options.Logger.Error("a project cannot be read again, and is served as before", "project", p.name, "error", err)
				continue
			}
			p.set(next, nil)
			p.options.Logger.Info("a project was read again", "project", p.name, "token_epoch", next.Engine.Context().TokenEpoch, "encoding_epoch", next.Engine.Context().EncodingEpoch)
			p.end(ctx, k)
			k = next
		}
	}
}

// changed returns what changes with the project's file.
func (p *Project) changed() (state struct {
	at   time.Time
	size int64
}) {
	if info, err := os.Stat(p.options.File); err == nil {
		state.at, state.size = info.ModTime(), info.Size()
	}
	return state
}

func (p *Project) pause(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-p.reload:
	case <-timer.C:
	}
}

func (p *Project) set(k *Keys, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current, p.why = k, why; k != nil {
		p.record = k.Engine.Project()
	}
}

// end waits until nobody uses the keys, and ends their leases: keys that are destroyed
// are zeros, and zeros would make tokens, too.
func (p *Project) end(ctx context.Context, k *Keys) {
	k.warming()
	k.users.Wait()
	k.cancel(context.Canceled)
	if k.session == nil {
		return
	}
	if err := k.session.Close(ctx); err != nil {
		p.options.Logger.Warn("the key holder was not told of all rows that its keys were used for", "project", p.name, "error", err)
	}
}

// Check reads the project's files as [Project.Work] will, its key file too where it has
// one. A key holder is not asked.
func (p *Project) Check(ctx context.Context) error {
	file, profile, err := p.read()
	if err != nil || p.options.Lease != nil {
		return err
	}
	k, err := p.fromFile(ctx, file, profile)
	if err == nil {
		p.end(ctx, k)
	}
	return err
}

// read reads the project's file and profile.
func (p *Project) read() (*keys.Project, *encode.Profile, error) {
	file, err := keys.ReadProject(p.options.File)
	if err != nil {
		return nil, nil, err
	}
	if file.Name != p.name {
		return nil, nil, fault.New(fault.Usage, "serving project "+p.name, "its file is of another project now", "give each project its own file in [[project]]; a new one needs a restart")
	}
	if err := file.CheckCurrent(p.options.Wall()); err != nil {
		return nil, nil, err
	}
	profile, err := encode.LoadProfile(file.Profile, filepath.Dir(p.options.File))
	return file, profile, err
}

// open gets the project's keys.
func (p *Project) open(ctx context.Context) (*Keys, error) {
	file, profile, err := p.read()
	if err != nil {
		return nil, err
	}
	if p.options.Lease == nil {
		return p.fromFile(ctx, file, profile)
	}
	running, session, err := p.options.Lease(ctx, p.name, 0, api.UseToken, api.UseEncoding)
	if err != nil {
		return nil, err
	}
	k, err := p.leased(ctx, running, session, file, profile)
	if err != nil {
		return nil, errors.Join(err, session.Close(ctx))
	}
	return k, nil
}

func (p *Project) fromFile(ctx context.Context, file *keys.Project, profile *encode.Profile) (*Keys, error) {
	material, err := keys.ReadKeyFile(p.options.KeyFile)
	if err != nil {
		return nil, err
	}
	switch {
	case material.Test && p.options.Production:
		return nil, fault.New(fault.Policy, "serving project "+p.name, "its key file is of a test, and production = true", "use keys that were made for the project: tokeniser keys new; or set production = false for a trial")
	case keys.Evaluated(file.Scheme):
		return nil, fault.New(fault.Usage, "serving project "+p.name, "with scheme "+file.Scheme+" tokens are made by a key holder, and key_file is given", "give [keyholder] and leave key_file out")
	}
	return p.ready(ctx, online.Options{Project: file, Keys: material, Profile: profile}, nil)
}

func (p *Project) leased(ctx, running context.Context, session lease.Session, file *keys.Project, profile *encode.Profile) (*Keys, error) {
	record, material := session.Keys()
	if err := lease.Agree(file, record, nil); err != nil {
		return nil, err
	}
	if record.Keys.EncodingKCV == nil {
		engine, err := online.NewEngine(online.Options{Project: record, Keys: material, Profile: profile, CachedDates: 1})
		if err != nil {
			return nil, err
		}
		kcv := engine.Context().EncodingKCV
		if stated := file.Keys.EncodingKCV; stated != nil && *stated != kcv {
			return nil, fault.New(fault.Disagreement, "comparing the leased keys with the project file",
				"the key check value of the encoding key is "+kcv+" here and "+*stated+" in the file", "name the right project file, profile or key holder")
		}
		if record, err = session.Pin(ctx, kcv); err != nil {
			return nil, err
		}
	}
	return p.ready(running, online.Options{Project: record, Keys: material, Profile: profile}, session)
}

// ready makes keys of what was got. running is when they end.
func (p *Project) ready(running context.Context, o online.Options, session lease.Session) (*Keys, error) {
	o.CachedDates = p.options.CachedDates
	engine, err := online.NewEngine(o)
	if err != nil {
		return nil, err
	}
	k := &Keys{Engine: engine, session: session, wall: p.options.Wall, workers: make(chan *online.Worker, keptWorkers), writers: map[answerForm]chan wire.Writer{}}
	c := engine.Context()
	sum := sha256.Sum256(keys.LP(keys.Text(c.TokenKCV), keys.Text(c.EncodingKCV), keys.Text(c.ProfileDigest), keys.U32(c.TokenEpoch), keys.U32(c.EncodingEpoch)))
	copy(k.digest[:], sum[:])
	for _, f := range wire.Formats {
		for _, asked := range []online.Asked{{Tokens: true}, {Encodings: true}, {Tokens: true, Encodings: true}} {
			k.writers[answerForm{f, asked}] = make(chan wire.Writer, keptWorkers)
		}
	}
	if k.end, err = o.Project.End(); err != nil {
		return nil, err
	}
	if k.sealed, err = escrow.RecipientOf(o.Project); err != nil {
		return nil, err
	}
	k.escrow = p.keeper
	k.running, k.cancel = context.WithCancelCause(running)
	if engine.Evaluated() {
		k.window = NewWindow(p.options.BatchWindow, p.options.BatchTimeout, k.evaluate)
	}
	k.users.Add(1)
	warming, stop := context.WithCancel(k.running)
	k.warming = stop
	go func() {
		defer k.users.Done()
		_ = engine.Warm(warming, demographics.DateOf(p.options.Wall().UTC())) // rows are answered without, too
	}()
	return k, nil
}

// keptWorkers is how many workers, and writers of each form, wait for the next request.
const keptWorkers = 64

// Ended returns why the keys may not be used any more; nil while they may. An answer that
// was made with them may leave only then.
func (k *Keys) Ended() error {
	if k.running.Err() != nil {
		return fault.Ended(k.running, context.Cause(k.running))
	}
	if !k.wall().Before(k.end) {
		return fault.New(fault.Policy, "using the keys of project "+k.Engine.Context().Project, "the project has ended", "ask its controllers to renew it")
	}
	// A machine that has slept is later than its timers know.
	if k.session != nil {
		if end := k.session.Expires(); !end.IsZero() && !k.wall().Before(end) {
			return fault.New(fault.Unavailable, "using the keys of project "+k.Engine.Context().Project, "their lease has ended", "wait a moment: they are leased again")
		}
	}
	return nil
}

// Digest returns a digest of what determines a row's answer beside the row.
func (k *Keys) Digest() Digest { return k.digest }

// Worker returns a worker, which the caller puts back.
func (k *Keys) Worker() *online.Worker {
	select {
	case w := <-k.workers:
		return w
	default:
		return k.Engine.NewWorker()
	}
}

// Put takes a worker back.
func (k *Keys) Put(w *online.Worker) {
	w.Clear()
	select {
	case k.workers <- w:
	default:
	}
}

// Writer returns what writes an answer, which the caller puts back with PutWriter.
func (k *Keys) Writer(f wire.Format, asked online.Asked) wire.Writer {
	select {
	case w := <-k.writers[answerForm{f, asked}]:
		return w
	default:
		return wire.NewWriter(f, k.Engine, asked)
	}
}

// PutWriter takes a writer back whose answer is ended.
func (k *Keys) PutWriter(f wire.Format, asked online.Asked, w wire.Writer) {
	select {
	case k.writers[answerForm{f, asked}] <- w:
	default:
	}
}

// Take says that the keys are about to be used for so many more rows. What the key holder
// does not allow is refused with kind [fault.Policy].
func (k *Keys) Take(ctx context.Context, rows int64) error {
	if k.session == nil {
		return nil
	}
	err := k.session.Take(ctx, rows)
	k.noteKeyState(err)
	return err
}

// Canaries counts rows, of those that were taken, with a number of the test range.
func (k *Keys) Canaries(rows int64) {
	if k.session != nil && rows > 0 {
		k.session.Canaries(rows)
	}
}

// Escrowed reports whether it is kept whose tokens are, sealed to the key holder.
func (k *Keys) Escrowed() bool { return k.sealed != nil && k.escrow != nil }

// Seal keeps whose tokens are, durably: call it before they leave.
func (k *Keys) Seal(ctx context.Context, items []escrow.Item) error {
	_, err := k.escrow.Seal(ctx, k.sealed, items)
	return err
}

// Tokens has the tokens of numbers made by the key holder, together with those of other
// requests.
func (k *Keys) Tokens(ctx context.Context, numbers []nhsnumber.Number) ([][keys.TokenSize]byte, error) {
	return k.window.Tokens(ctx, numbers)
}

func (k *Keys) evaluate(ctx context.Context, numbers []nhsnumber.Number) ([][keys.TokenSize]byte, error) {
	tokens, err := k.session.Tokens(ctx, numbers)
	k.noteKeyState(err)
	return tokens, err
}

// noteKeyState ends the keys when the key holder says that they are not the current ones
// any more: others are got, once the project's file pins them.
func (k *Keys) noteKeyState(err error) {
	if lease.RefusedAs(err) == api.CodeKeyState {
		k.cancel(fault.New(fault.Unavailable, "using the keys of project "+k.Engine.Context().Project, "they were replaced by those of another epoch",
			"get the project's record and have it read: tokeniser project, then reload"))
	}
}

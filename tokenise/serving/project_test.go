package serving_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/keys/secret"
	"tarn/tokenise/lease"
	"tarn/tokenise/serving"
)

const projectDocument = `{"schema": "tarn.project/1", "name": "study", "domain": "lake", "scheme": "keyed-hash", "profile": "nhs-field-dob-1", "purpose": "a test",
 "legal_basis": {}, "controllers": ["nobody"], "parties": [{"source_dataset": "north"}], "opt_outs": {"ndoo": true, "type1": false, "local": false}, "groups": [],
 "keys": {"domain_no": 1, "token_epoch": 1, "token_public_key": null, "token_kcv": null, "encoding_epoch": 1, "encoding_kcv": null}, "reidentify": {"mode": "direct"}, "expires": "2099-12-31"}`

// leased is a session as a key holder gives it, whose keys the test makes and takes away.
type leased struct {
	lease.Session // what is not below is not called
	file          *keys.Project
	keys          *keys.KeyFile
	end           time.Time // of the leases; an hour from now where it is zero
}

func (l *leased) Keys() (*keys.Project, *keys.KeyFile)               { return l.file, l.keys }
func (l *leased) Pin(context.Context, string) (*keys.Project, error) { return l.file, nil }
func (l *leased) Close(context.Context) error                        { return nil }

func (l *leased) Expires() time.Time {
	if l.end.IsZero() {
		return time.Now().Add(time.Hour)
	}
	return l.end
}

// served is a project whose leases are opened by a function of the test.
func served(t *testing.T, open lease.Open) *serving.Project {
	t.Helper()
	path := filepath.Join(t.TempDir(), "project.json")
	if err := os.WriteFile(path, fmt.Append(nil, projectDocument), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := serving.NewProject(serving.ProjectOptions{File: path, CachedDates: 1, Wall: time.Now, Logger: slog.New(slog.DiscardHandler), Lease: open})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { p.Work(ctx) })
	t.Cleanup(func() { stop(); work.Wait() })
	return p
}

func session(t *testing.T) *leased {
	t.Helper()
	file, err := keys.ParseProject([]byte(projectDocument))
	if err != nil {
		t.Fatal(err)
	}
	key := func(n byte) secret.Key { return secret.New([secret.Size]byte{n}) }
	return &leased{file: file, keys: &keys.KeyFile{Test: true, Project: "study", Domain: "lake", Scheme: "keyed-hash", TokenKey: key(1), EncodingKey: key(2), ReleaseKey: key(3), RowKeys: map[string]secret.Key{}}}
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// TestKeysThatAreLostAtOnce: leases that end as soon as they are got are not asked for over
// and over.
func TestKeysThatAreLostAtOnce(t *testing.T) {
	var opened atomic.Int64
	served(t, func(ctx context.Context, _ string, _ int64, _ ...api.Use) (context.Context, lease.Session, error) {
		opened.Add(1)
		running, cancel := context.WithCancelCause(ctx)
		cancel(fault.New(fault.Unavailable, "keeping the leases", "they have ended", ""))
		return running, session(t), nil
	})
	until(t, "no lease was asked for", func() bool { return opened.Load() > 0 })
	time.Sleep(300 * time.Millisecond)
	if n := opened.Load(); n > 2 {
		t.Errorf("the leases were opened %d times in 300 ms", n)
	}
}

// TestDomainIsKnownWithoutKeys: whose tokens are is kept, and asked for, while the keys that
// made them are not here.
func TestDomainIsKnownWithoutKeys(t *testing.T) {
	p := served(t, func(context.Context, string, int64, ...api.Use) (context.Context, lease.Session, error) {
		return nil, nil, fault.New(fault.Unavailable, "asking the key holder", "it does not answer", "")
	})
	if name, number := p.Domain(); name != "lake" || number != 1 || p.Ready() == nil {
		t.Errorf("domain %q, number %d", name, number)
	}
}

// TestNotReadyWithoutKeys: keys that are lost while others are being got answer nothing, and
// the project does not say that it is ready.
func TestNotReadyWithoutKeys(t *testing.T) {
	lose := make(chan context.CancelCauseFunc, 1)
	reloading, goOn := make(chan struct{}), make(chan struct{})
	var opened atomic.Int64
	p := served(t, func(ctx context.Context, _ string, _ int64, _ ...api.Use) (context.Context, lease.Session, error) {
		running, cancel := context.WithCancelCause(ctx)
		if opened.Add(1) == 1 {
			lose <- cancel
			return running, session(t), nil
		}
		close(reloading)
		<-goOn // a key holder that stalls
		cancel(nil)
		return nil, nil, fault.New(fault.Unavailable, "asking the key holder", "it does not answer", "")
	})
	until(t, "it is not served", func() bool { return p.Ready() == nil })
	p.Reload()
	<-reloading
	if p.Ready() != nil {
		t.Error("it is not ready while it is read again")
	}
	(<-lose)(fault.New(fault.Unavailable, "keeping the leases", "they have ended", ""))
	if _, err := p.Use(); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("keys that are lost: %v", err)
	}
	if fault.KindOf(p.Ready()) != fault.Unavailable {
		t.Errorf("it says that it is ready without keys: %v", p.Ready())
	}
	close(goOn)
}

// TestLeaseThatHasEndedUnnoticed: after a machine has slept its timers are late, and a lease
// that is over is used for nothing all the same.
func TestLeaseThatHasEndedUnnoticed(t *testing.T) {
	var opened atomic.Int64
	p := served(t, func(ctx context.Context, _ string, _ int64, _ ...api.Use) (context.Context, lease.Session, error) {
		s := session(t)
		if s.end = time.Now().Add(-time.Second); opened.Add(1) > 1 {
			s.end = time.Time{}
		}
		return ctx, s, nil
	})
	until(t, "no lease was asked for", func() bool { return opened.Load() > 0 })
	until(t, "it is not known why", func() bool {
		_, err := p.Use()
		return err != nil && fault.KindOf(err) == fault.Unavailable
	})
	p.Reload()
	until(t, "it is not served with another lease", func() bool {
		k, err := p.Use()
		if err == nil {
			k.Release()
		}
		return err == nil
	})
}

// TestProjectThatHasEnded: a project's file that says that it has ended is believed, without
// a restart and without being told of.
func TestProjectThatHasEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "project.json")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(projectDocument)
	p, err := serving.NewProject(serving.ProjectOptions{File: path, CachedDates: 1, Wall: time.Now, Logger: slog.New(slog.DiscardHandler), Lease: func(ctx context.Context, _ string, _ int64, _ ...api.Use) (context.Context, lease.Session, error) {
		return ctx, session(t), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { p.Work(ctx) })
	defer func() { stop(); work.Wait() }()
	until(t, "it is not served", func() bool { return p.Ready() == nil })
	write(strings.Replace(projectDocument, "2099-12-31", "2025-01-01", 1) + "\n")
	until(t, "it is served after its end", func() bool { return fault.KindOf(p.Ready()) == fault.Policy })
	if _, err := p.Use(); err == nil {
		t.Error("its keys can be used")
	}
	write(projectDocument)
	until(t, "it is not served again", func() bool { return p.Ready() == nil })
}

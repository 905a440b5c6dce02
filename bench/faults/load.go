package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tarn/bench/keyholder"
	"tarn/keys/api"
	"tarn/keys/holder/disk"
)

// Callers that put load on a key holder.
const (
	domainCallers = 3
	leaseCallers  = 2
)

// load has callers change a key holder and lease keys of it, each as fast as it is
// answered, until something has happened, or until they are refused. What was
// acknowledged is kept in the ledger before the caller goes on. round makes names
// that were not there before.
func (t *Trial) load(k *keyholder.KeyHolder, round int, l *Ledger, happens func() error) error {
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	var callers sync.WaitGroup
	var mu sync.Mutex
	var failed error
	keep := func(a Acknowledged) bool {
		err := l.Keep(a)
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			failed = errors.Join(failed, err)
		}
		return err == nil
	}
	for caller := range domainCallers {
		operator, err := k.As(keyholder.Operator)
		if err != nil {
			return err
		}
		callers.Go(func() {
			defer operator.Close()
			for i := 0; ctx.Err() == nil; i++ {
				name := fmt.Sprintf("d-%d-%d-%d", round, caller, i)
				o, err := operator.Ask(ctx, api.OpDomainAdd, api.DomainAdd{Name: name, Scheme: "keyed-hash"})
				if err != nil || !keep(Acknowledged{Kind: ackDomain, Name: name, Operation: o.Hash}) {
					return
				}
			}
		})
	}
	for range leaseCallers {
		tokeniser, err := k.As(loadClient)
		if err != nil {
			return err
		}
		callers.Go(func() {
			defer tokeniser.Close()
			for ctx.Err() == nil {
				lease, err := tokeniser.Lease(ctx, loadProject, api.LeaseRequest{Use: api.UseEncoding, RowsExpected: 1})
				if err != nil || !keep(Acknowledged{Kind: ackLease, Name: lease.ID, Project: lease.Project, Use: lease.Use, Epoch: lease.Epoch, Expires: lease.Expires}) {
					return
				}
			}
		})
	}
	err := happens()
	cancel()
	callers.Wait()
	return errors.Join(err, failed)
}

// between waits some time between two spans.
func between(from, to time.Duration) { time.Sleep(from + rand.N(to-from)) }

// loaded is a key holder with a project, and the ledger of what it acknowledges.
func (t *Trial) loaded(o keyholder.Options) (*keyholder.KeyHolder, *Ledger, error) {
	k, err := t.keyHolder(o)
	if err != nil {
		return nil, nil, err
	}
	if err := t.populate(k); err != nil {
		return nil, nil, err
	}
	l, err := t.ledger(k)
	return k, l, err
}

// busy checks that there was load at all.
func (t *Trial) busy(l *Ledger, rounds int) {
	t.figure("acknowledged", float64(l.Len()))
	t.check(l.Len() >= 10*rounds, "there was load", "%d changes and leases were acknowledged in %d rounds", l.Len(), rounds)
}

// readyWithin is how soon a key holder must be ready after a start.
const readyWithin = 5 * time.Second

// restart starts a key holder again, after a Kill, and checks what it has.
func (t *Trial) restart(k *keyholder.KeyHolder, l *Ledger) (bool, error) {
	begun := time.Now()
	if err := k.Start(t.ctx); err != nil {
		return t.check(false, "it starts again", "%v", err), nil
	}
	if err := k.Ready(t.ctx); err != nil {
		return t.check(false, "it is ready again", "%v", err), nil
	}
	t.figure("ready_s", time.Since(begun).Seconds())
	return t.holds(k, l)
}

// killed is scenario 1.
func killed(t *Trial) error {
	k, l, err := t.loaded(keyholder.Options{})
	if err != nil {
		return err
	}
	rounds := t.times(4, 20)
	for round := range rounds {
		t.note("kill %d of %d", round+1, rounds)
		err := t.load(k, round, l, func() error {
			between(300*time.Millisecond, 1800*time.Millisecond)
			return k.Kill()
		})
		if err != nil {
			return err
		}
		if whole, err := t.restart(k, l); err != nil || !whole {
			return err
		}
	}
	t.figure("kills", float64(rounds))
	t.busy(l, rounds)
	t.check(t.result.Figures["ready_s"] <= readyWithin.Seconds(), "ready within 5 s of each start", "at most %.2f s", t.result.Figures["ready_s"])
	return t.planted(k, l)
}

// diskSize is enough for what making a key holder asks for: the floor of a
// product, twice. Little of it is ever written.
const diskSize = 2 << 30

// powerCut is scenario 2.
//
// No program goes on while the power goes: the process is stopped first, or its
// anchor is cut first, without which nothing is acknowledged. Where it went on
// without its store's disk, a change was seen to be acknowledged and not there,
// once in some thirty cuts: a sync that is on its way while an ext4 filesystem is
// shut down can succeed without the data being there, for a program of ten lines
// too (7 of 300, Linux 6.18).
func powerCut(t *Trial) error {
	p, err := t.newPowered("synced")
	if err != nil {
		return err
	}
	rounds := t.times(3, 25)
	for round := range rounds {
		t.note("cut %d of %d", round+1, rounds)
		if err := p.cut(round, rand.N(2) == 0); err != nil {
			return err
		}
		if whole, err := t.restart(p.k, p.l); err != nil || !whole {
			return err
		}
	}
	t.figure("cuts", float64(rounds))
	t.busy(p.l, rounds)
	if err := t.planted(p.k, p.l); err != nil {
		return err
	}
	if err := p.k.Kill(); err != nil {
		return err
	}
	return t.unsynced()
}

// powered is a key holder whose store and anchor lie on disks that can be cut.
type powered struct {
	t               *Trial
	k               *keyholder.KeyHolder
	l               *Ledger
	stores, anchors *disk.Disk
}

func (t *Trial) newPowered(name string) (*powered, error) {
	stores, err := t.disk(name+"-store", diskSize)
	if err != nil {
		return nil, err
	}
	anchors, err := t.disk(name+"-anchor", diskSize/16)
	if err != nil {
		return nil, err
	}
	folder, err := t.sub(name)
	if err != nil {
		return nil, err
	}
	p := &powered{t: t, stores: stores, anchors: anchors}
	p.k, p.l, err = t.loaded(keyholder.Options{Folder: folder, Store: stores.Path, Anchors: anchors.Path})
	return p, err
}

// cut takes the power away under load, gives it back, and leaves the key holder
// killed. The processor stops before the disks, or goes on until it notices.
func (p *powered) cut(round int, stopped bool) error {
	err := p.t.load(p.k, round, p.l, func() error {
		between(200*time.Millisecond, 1400*time.Millisecond)
		first, second := p.anchors, p.stores // in the middle of whatever it does
		if stopped {
			first, second = second, first
			if err := p.k.Process.Signal(unix.SIGSTOP); err != nil {
				return err
			}
		}
		return errors.Join(first.Cut(), second.Cut(), p.k.Kill())
	})
	return errors.Join(err, p.stores.Remount(), p.anchors.Remount())
}

// unsynced is the control of a power cut: a key holder whose syncs succeed and do
// nothing loses what it has acknowledged, or its anchor says that it has.
func (t *Trial) unsynced() error {
	if err := need("strace"); err != nil {
		return err
	}
	lost, acknowledged := 0, 0
	rounds := t.times(1, 4)
	for round := range rounds {
		t.note("control: unsynced, cut %d of %d", round+1, rounds)
		p, err := t.newPowered(fmt.Sprintf("unsynced-%d", round))
		if err != nil {
			return err
		}
		if err := p.k.Stop(); err != nil {
			return err
		}
		unix.Sync() // what was made so far is there
		if err := p.k.Start(t.ctx, traced("/dev/null", "-e", "trace="+syncs, "-e", "inject="+syncs+":retval=0")...); err != nil {
			return err
		}
		if err := p.cut(round, true); err != nil {
			return err
		}
		acknowledged += p.l.Len()
		if err := p.k.Start(t.ctx); err != nil { // it has seen that something is missing
			lost += p.l.Len()
			continue
		}
		c, err := t.checked(p.k, p.l.Path())
		if err != nil {
			return err
		}
		lost += len(c.Missing) + len(c.Unrecorded)
		if err := p.k.Kill(); err != nil {
			return err
		}
	}
	t.figure("control_lost", float64(lost))
	t.control(lost > 0, "without syncing acknowledged things are lost", "%d of %d", lost, acknowledged)
	return nil
}

package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tarn/bench/keyholder"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/holder/disk"
)

const (
	// logDisk is the size of a disk for a log, in bytes: an ext4 journal and room for
	// some thousand entries.
	logDisk = 256 << 20
	// logBackWithin is how soon the key holder must have found out that the log can be
	// written again: it tries every second.
	logBackWithin = 15 * time.Second
	metricAway    = "tarn_audit_unavailable"
)

// obstacle is one way in which a log cannot be written.
type obstacle struct {
	name string
	// begin has the log fail, and end has it work again, while the key holder runs.
	begin, end func() error
}

// logAway is scenario 6.
func logAway(t *Trial) error {
	options := keyholder.Options{Metrics: true}
	logs, err := t.disk("log", logDisk)
	var here *missing
	switch {
	case errors.As(err, &here):
		t.leaveOut("a log's disk that is full or fails", here.why)
	case err != nil:
		return err
	default:
		options.Logs = logs.Path
	}
	d, err := t.desk(20*t.times(1, 3), options)
	if err != nil {
		return err
	}
	k := d.KeyHolder
	if err := t.populate(k); err != nil {
		return err
	}
	l, err := t.ledger(k)
	if err != nil {
		return err
	}
	uses, err := t.newUses(d)
	if err != nil {
		return err
	}
	defer uses.close()
	for round := range t.times(1, 3) {
		for _, o := range t.obstacles(k, logs) {
			t.note("round %d: %s", round+1, o.name)
			if err := uses.without(o, l); err != nil {
				return fmt.Errorf("%s: %w; the key holder has said: %s", o.name, err, k.Process.Said())
			}
		}
	}
	if err := t.pending(k, uses, l); err != nil {
		return err
	}
	t.busy(l, 5)
	if _, err := t.holds(k, l); err != nil {
		return err
	}
	if err := t.planted(k, l); err != nil {
		return err
	}
	if err := k.Stop(); err != nil {
		return err
	}
	code, _, said, err := t.command("auditor", "verify", k.Log(1))
	if err != nil {
		return err
	}
	t.check(code == 0, "the log is whole afterwards", "%s", said)
	return nil
}

// obstacles are those that can be made here. d is nil where there is no disk for the
// log.
func (t *Trial) obstacles(k *keyholder.KeyHolder, d *disk.Disk) []obstacle {
	tile := filepath.Join(k.Log(1), "tile")
	all := []obstacle{{
		name: "something is in the way of its folder",
		begin: func() error {
			if err := os.Rename(tile, tile+".away"); err != nil {
				return err
			}
			return os.WriteFile(tile, nil, 0o600) // a folder cannot be made here
		},
		end: func() error { return errors.Join(os.Remove(tile), os.Rename(tile+".away", tile)) },
	}}
	if d == nil {
		return all
	}
	var empty func() error
	return append(all,
		obstacle{
			name:  "its disk is full",
			begin: func() (err error) { empty, err = d.Fill(); return err },
			end:   func() error { return empty() },
		},
		obstacle{
			name:  "its disk fails with EIO", // of a disk without power every call does
			begin: d.Cut,
			end: func() error { // the key holder may have files of it open
				if err := unix.Unmount(d.Path, unix.MNT_DETACH); err != nil {
					return err
				}
				return d.Mount()
			},
		})
}

// uses are ways of using a key of a key holder, or of changing it.
type uses struct {
	t                   *Trial
	k                   *keyholder.KeyHolder
	desk                *desk
	operator, tokeniser *keyholder.Caller
	round               int
	patient             int // the next one whom nobody has asked for
	last                bool
}

func (t *Trial) newUses(d *desk) (u *uses, err error) {
	u = &uses{t: t, k: d.KeyHolder, desk: d, last: true}
	return u, u.connect()
}

func (u *uses) connect() (err error) {
	if u.operator, err = u.k.CallAs(keyholder.Operator); err == nil {
		u.tokeniser, err = u.k.CallAs(loadClient)
	}
	return err
}

func (u *uses) close() {
	u.operator.Close()
	u.tokeniser.Close()
}

// use is one use: a request that is another each time.
type use struct {
	name string
	call func() (status int, code api.Code, err error)
}

// lease leases a key, and keeps it in the ledger if it was given.
func (u *uses) lease(what api.Use, l *Ledger) (status int, code api.Code, err error) {
	var lease api.Lease
	status, code, err = u.tokeniser.Call(u.t.ctx, http.MethodPost, "/v1/projects/"+loadProject+"/leases", api.LeaseRequest{Use: what, RowsExpected: 1}, &lease)
	if err == nil && status < http.StatusMultipleChoices {
		err = l.Keep(Acknowledged{Kind: ackLease, Name: lease.ID, Project: lease.Project, Use: lease.Use, Epoch: lease.Epoch, Expires: lease.Expires})
	}
	return status, code, err
}

// all returns every use once; what has to be there before, of which held is a lease
// and backup an operation, is made while the log is well.
func (u *uses) all(l *Ledger) ([]use, error) {
	u.round++
	var held api.Lease
	status, code, err := u.tokeniser.Call(u.t.ctx, http.MethodPost, "/v1/projects/"+loadProject+"/leases", api.LeaseRequest{Use: api.UseToken, RowsExpected: 1}, &held)
	if err != nil || status >= http.StatusMultipleChoices {
		return nil, errors.Join(err, fmt.Errorf("no lease was given: status %d, %s", status, code))
	}
	var backup api.Operation
	status, code, err = u.operator.Call(u.t.ctx, http.MethodPost, "/v1/operations", request(api.OpBackup, api.Backup{}), &backup)
	if err != nil || status >= http.StatusMultipleChoices {
		return nil, errors.Join(err, fmt.Errorf("no backup was allowed: status %d, %s", status, code))
	}
	path := "/v1/projects/" + loadProject + "/leases/" + held.ID
	name := fmt.Sprintf("pond-%d", u.round)
	return []use{
		{"a token lease", func() (int, api.Code, error) { return u.lease(api.UseToken, l) }},
		{"an encoding lease", func() (int, api.Code, error) { return u.lease(api.UseEncoding, l) }},
		{"a release lease", func() (int, api.Code, error) { return u.lease(api.UseRelease, l) }},
		{"a usage report", func() (int, api.Code, error) {
			return u.tokeniser.Call(u.t.ctx, http.MethodPost, path+"/usage", api.Usage{Rows: 1}, nil)
		}},
		{"the end of a lease", func() (int, api.Code, error) {
			return u.tokeniser.Call(u.t.ctx, http.MethodDelete, path, nil, nil)
		}},
		{"a new domain", func() (int, api.Code, error) {
			var o api.Operation
			status, code, err := u.operator.Call(u.t.ctx, http.MethodPost, "/v1/operations", request(api.OpDomainAdd, api.DomainAdd{Name: name, Scheme: "keyed-hash"}), &o)
			if err == nil && status < http.StatusMultipleChoices {
				err = l.Keep(Acknowledged{Kind: ackDomain, Name: name, Operation: o.Hash})
			}
			return status, code, err
		}},
		{"a rotation", func() (int, api.Code, error) {
			return u.operator.Call(u.t.ctx, http.MethodPost, "/v1/operations", request(api.OpKeyRotate, api.KeyChange{Project: loadProject, Reason: "yearly"}), nil)
		}},
		{"a backup", func() (int, api.Code, error) {
			return u.operator.Call(u.t.ctx, http.MethodPost, "/v1/operations/"+backup.ID+"/collections", nil, nil)
		}},
	}, nil
}

// well is the control: with the log well every use is answered, and the metric is 0.
func (u *uses) well(l *Ledger, when string) error {
	some, err := u.all(l)
	if err != nil {
		return err
	}
	for _, one := range some {
		status, code, err := one.call()
		if err != nil {
			return err
		}
		u.t.control(status < http.StatusMultipleChoices, "with the log well, "+when+", "+one.name+" is answered", "status %d, %s", status, code)
	}
	answered, refused, err := u.hammer(l, time.Second)
	if err != nil {
		return err
	}
	u.t.control(answered > 10 && refused == 0, "with the log well, "+when+", the same load is answered", "%d of %d leases", answered, answered+refused)
	value, err := u.k.Metric(u.t.ctx, metricAway)
	u.t.control(value == 0, "with the log well the metric is 0", "%g", value)
	return err
}

// without has the log fail, and tries every use.
func (u *uses) without(o obstacle, l *Ledger) error {
	t := u.t
	if err := u.well(l, "before"); err != nil {
		return err
	}
	some, err := u.all(l)
	if err != nil {
		return err
	}
	alarms, err := t.alarms(u.k)
	if err != nil {
		return err
	}
	people, err := u.people()
	if err != nil {
		return err
	}
	if err := o.begin(); err != nil {
		return err
	}
	u.last = !u.last // what comes first finds a log of which nobody knows yet
	if !u.last {
		if err := people.refused(o, true); err != nil {
			return err
		}
	}
	for _, one := range some {
		status, code, err := one.call()
		if err != nil {
			return err
		}
		t.check(status == http.StatusServiceUnavailable && code == api.CodeLogUnavailable, one.name+" is answered 503 log_unavailable", "%s: status %d, %s", o.name, status, code)
	}
	if u.last {
		if err := people.refused(o, false); err != nil {
			return err
		}
	}
	answered, refused, err := u.hammer(l, time.Duration(t.times(2, 5))*time.Second)
	if err != nil {
		return err
	}
	t.count("refused", int(refused))
	t.check(answered == 0 && refused > 0, "nothing is answered while the log is away", "%s: %d of %d leases", o.name, answered, answered+refused)
	value, err := u.k.Metric(t.ctx, metricAway)
	if err != nil {
		return err
	}
	t.check(value == 1, "the metric says so", "%s: %g", o.name, value)
	status, _, err := u.tokeniser.Call(t.ctx, http.MethodGet, "/v1/projects/"+loadProject, nil, nil)
	if err != nil {
		return err
	}
	t.check(status == http.StatusOK, "reading goes on", "%s: status %d", o.name, status)
	if err := o.end(); err != nil {
		return err
	}
	if err := u.back(o, l, alarms); err != nil {
		return err
	}
	return people.opens(o)
}

// back waits until the key holder has found out that the log can be written, and
// holds store and log to one another.
func (u *uses) back(o obstacle, l *Ledger, alarms int) error {
	t := u.t
	took, late, err := until(logBackWithin, func() (bool, error) {
		status, _, err := u.lease(api.UseToken, l)
		return status < http.StatusMultipleChoices, err
	})
	if err != nil {
		return err
	}
	if !t.check(!late, "it recovers by itself", "%s: after %.1f s; %s", o.name, took.Seconds(), u.k.Process.Said()) {
		return errors.New("the log stays away, and nothing more can be tried")
	}
	t.figure("recovers_after_s", took.Seconds())
	_, late, err = until(5*time.Second, func() (bool, error) { n, err := t.alarms(u.k); return n == alarms+1, err })
	if err != nil {
		return err
	}
	t.check(!late, "an alarm is in the log", "%s", o.name)
	if err := t.recorded(u.k); err != nil {
		return err
	}
	return u.well(l, "after")
}

// hammer asks for leases for a while, by many callers, and counts the answers.
func (u *uses) hammer(l *Ledger, span time.Duration) (answered, refused int64, err error) {
	ctx, cancel := context.WithTimeout(u.t.ctx, span)
	defer cancel()
	var yes, no atomic.Int64
	var callers sync.WaitGroup
	failed := make(chan error, leaseCallers*2)
	for range leaseCallers * 2 {
		callers.Go(func() {
			for ctx.Err() == nil {
				status, _, err := u.lease(api.UseToken, l)
				switch {
				case err != nil:
					failed <- err
					return
				case status < http.StatusMultipleChoices:
					yes.Add(1)
				default:
					no.Add(1)
				}
			}
		})
	}
	callers.Wait()
	close(failed)
	return yes.Load(), no.Load(), <-failed
}

// pending kills the key holder while its log is away: what had begun is brought into
// the log by the next start, once.
func (t *Trial) pending(k *keyholder.KeyHolder, u *uses, l *Ledger) error {
	t.note("killed while the log is away")
	o := t.obstacles(k, nil)[0]
	if err := o.begin(); err != nil {
		return err
	}
	status, _, err := u.lease(api.UseToken, l)
	if err != nil {
		return err
	}
	t.check(status == http.StatusServiceUnavailable, "a token lease is answered 503 log_unavailable", "before the kill: status %d", status)
	if err := errors.Join(k.Kill(), o.end()); err != nil {
		return err
	}
	if err := k.Start(t.ctx); err != nil {
		t.check(false, "killed while the log is away, it starts when it is back", "%v", err)
		return nil
	}
	u.close()
	if err := u.connect(); err != nil {
		return err
	}
	return t.recorded(k)
}

// alarms counts the alarms that the log was away.
func (t *Trial) alarms(k *keyholder.KeyHolder) (n int, err error) {
	operator, err := k.As(keyholder.Operator)
	if err != nil {
		return 0, err
	}
	defer operator.Close()
	return n, eachEntry(t.ctx, operator, func(leaf audit.Leaf) {
		if leaf.Kind == audit.KindAlarm && leaf.Rule == "log-unavailable" {
			n++
		}
	})
}

// recorded checks that store and log have the same leases: no key was given out
// that the log does not know of, and nothing is in the log that was not given.
func (t *Trial) recorded(k *keyholder.KeyHolder) error {
	operator, err := k.As(keyholder.Operator)
	if err != nil {
		return err
	}
	defer operator.Close()
	leases, err := operator.Leases(t.ctx, loadProject)
	if err != nil {
		return err
	}
	entries := map[string]int{}
	err = eachEntry(t.ctx, operator, func(leaf audit.Leaf) {
		if leaf.Kind == audit.KindLease && leaf.Outcome == "active" && leaf.Project == loadProject {
			entries[leaf.Request]++
		}
	})
	if err != nil {
		return err
	}
	wrong := 0
	for _, lease := range leases {
		if entries[lease.ID] != 1 {
			wrong++
		}
		delete(entries, lease.ID)
	}
	t.check(wrong == 0 && len(entries) == 0 && len(leases) > 0, "each lease of the store is in the log once, and the log has no other",
		"%d leases, %d of them not there once, %d entries of no lease", len(leases), wrong, len(entries))
	return nil
}

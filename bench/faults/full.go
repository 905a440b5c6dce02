package faults

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sys/unix"

	"tarn/bench/keyholder"
	"tarn/keys/api"
)

// fullWithin is how long it may take until a key holder that looks at its free space
// from time to time has seen that there is none, or that there is some again.
const fullWithin = 10 * time.Second

// until calls f until it says that it is done, and returns how long that took; late
// is whether it never did.
func until(within time.Duration, f func() (done bool, err error)) (took time.Duration, late bool, err error) {
	for begun := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		done, err := f()
		if took = time.Since(begun); err != nil || done {
			return took, false, err
		}
		if took > within {
			return took, true, nil
		}
	}
}

// fullDisk is scenario 4.
func fullDisk(t *Trial) error {
	stores, err := t.disk("store", diskSize)
	if err != nil {
		return err
	}
	k, l, err := t.loaded(keyholder.Options{Store: stores.Path})
	if err != nil {
		return err
	}
	if err := t.load(k, 0, l, func() error { time.Sleep(time.Second); return nil }); err != nil {
		return err
	}
	before := l.Len()
	operator, err := k.CallAs(keyholder.Operator)
	if err != nil {
		return err
	}
	defer operator.Close()
	n := 0
	add := func() (status int, code api.Code, err error) {
		n++
		name := fmt.Sprintf("during-%d", n)
		var o api.Operation
		status, code, err = operator.Call(t.ctx, http.MethodPost, "/v1/operations", request(api.OpDomainAdd, api.DomainAdd{Name: name, Scheme: "keyed-hash"}), &o)
		if err == nil && status < http.StatusMultipleChoices {
			err = l.Keep(Acknowledged{Kind: ackDomain, Name: name, Operation: o.Hash})
		}
		return status, code, unanswered(k, err)
	}
	t.note("the disk fills")
	// A change that was decided when there was room ends the key holder if there is
	// hardly any left when it is written: what had begun is let through first, since no
	// disk fills in a moment as this one does.
	time.Sleep(time.Second)
	empty, err := stores.Fill()
	if err != nil {
		return err
	}
	_, late, err := until(fullWithin, func() (bool, error) { _, code, err := add(); return code == api.CodeNoSpace, err })
	if err != nil {
		return err
	}
	t.check(!late, "on a full disk changes are refused with 507", "%s", k.Process.Said())
	for range t.times(3, 30) {
		status, code, err := add()
		if err != nil {
			return err
		}
		t.check(status == http.StatusInsufficientStorage && code == api.CodeNoSpace, "on a full disk changes are refused with 507", "status %d, code %q", status, code)
		var domains api.List[api.Domain]
		status, _, err = operator.Call(t.ctx, http.MethodGet, "/v1/domains", nil, &domains)
		if err != nil {
			return err
		}
		t.check(status == http.StatusOK && len(domains.Items) > 0, "on a full disk it answers what is read", "status %d", status)
	}
	t.note("there is room again")
	if err := empty(); err != nil {
		return err
	}
	took, late, err := until(fullWithin, func() (bool, error) { status, _, err := add(); return status < http.StatusMultipleChoices, err })
	if err != nil {
		return err
	}
	t.check(!late && !k.Process.HasEnded(), "with room again it goes on by itself", "%s", k.Process.Said())
	t.figure("goes_on_after_s", took.Seconds())
	t.figure("acknowledged", float64(l.Len()))
	t.check(before > 10, "there was load", "%d were acknowledged before the disk was full", before)
	if err := k.Kill(); err != nil {
		return err
	}
	if whole, err := t.restart(k, l); err != nil || !whole {
		return err
	}
	if err := k.Kill(); err != nil {
		return err
	}
	return t.heedless()
}

// unanswered adds to an error what a key holder that ended has said of it.
func unanswered(k *keyholder.KeyHolder, err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-k.Process.Ended():
		return fmt.Errorf("%w; it has ended: %s", err, k.Process.Said())
	case <-time.After(2 * time.Second):
		return fmt.Errorf("%w; it goes on: %s", err, k.Process.Said())
	}
}

// request asks for a change.
func request(kind api.OperationKind, body any) any {
	return struct {
		Kind api.OperationKind `json:"kind"`
		Body any               `json:"body"`
	}{kind, body}
}

// plenty is what a system says of a disk with half a TiB free: the first members of
// struct statfs, statfs(2), of 64-bit machines: type, size of a block, blocks, free
// ones, available ones.
func plenty() string {
	var b []byte
	for _, member := range []uint64{unix.EXT4_SUPER_MAGIC, 4096, 1 << 28, 1 << 27, 1 << 27} {
		b = binary.NativeEndian.AppendUint64(b, member)
	}
	return hex.EncodeToString(b)
}

// heedless is the control of a full disk: a key holder that is told that there is
// space, with its log and its anchor elsewhere, writes until it dies. What it had
// acknowledged is there even then.
func (t *Trial) heedless() error {
	if err := need("strace"); err != nil {
		return err
	}
	stores, err := t.disk("heedless-store", diskSize)
	if err != nil {
		return err
	}
	folder, err := t.sub("heedless")
	if err != nil {
		return err
	}
	logs, err := t.sub("heedless-log")
	if err != nil {
		return err
	}
	k, l, err := t.loaded(keyholder.Options{Folder: folder, Store: stores.Path, Logs: logs})
	if err != nil {
		return err
	}
	if err := k.Stop(); err != nil {
		return err
	}
	t.note("control: a key holder that is heedless of free space")
	if err := k.Start(t.ctx, traced("/dev/null", "-e", "trace=statfs", "-e", "inject=statfs:poke_exit=@arg2="+plenty())...); err != nil {
		return err
	}
	empty, err := stores.Fill()
	if err != nil {
		return err
	}
	err = t.load(k, 0, l, func() error {
		select {
		case <-k.Process.Ended():
		case <-time.After(2 * fullWithin):
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.control(k.Process.HasEnded(), "heedless of free space it does not live", "%.200q", k.Process.Said())
	if err := k.Kill(); err != nil {
		return err
	}
	if err := empty(); err != nil {
		return err
	}
	_, err = t.restart(k, l)
	return err
}

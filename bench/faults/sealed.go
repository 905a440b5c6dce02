package faults

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strings"

	"tarn/bench/keyholder"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/client"
	"tarn/keys/fault"
	"tarn/keys/holder"
	"tarn/keys/secret"
)

// memoryHolds reports whether the private memory of a process holds these bytes.
func memoryHolds(pid int, wanted []byte) (bool, error) {
	const doing = "reading the memory of the key holder"
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return false, fault.Wrap(fault.Internal, doing, err, "")
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return false, fault.Wrap(fault.Internal, doing, err, "")
	}
	defer func() { _ = memory.Close() }() // opened for reading
	read := 0
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 || !strings.HasPrefix(fields[1], "rw") || fields[4] != "0" { // of no file
			continue
		}
		var from, to int64
		if _, err := fmt.Sscanf(fields[0], "%x-%x", &from, &to); err != nil {
			return false, fault.New(fault.Internal, doing, "the system describes it otherwise", "")
		}
		const step = 1 << 20
		for at := from; at < to; at += step {
			b := make([]byte, min(step+int64(len(wanted)), to-at))
			n, _ := memory.ReadAt(b, at) // a page that is reserved only cannot be read
			read += n
			if bytes.Contains(b[:n], wanted) {
				return true, nil
			}
		}
	}
	if read < 1<<20 {
		return false, fault.New(fault.Internal, doing, "there is less of it than any program has", "")
	}
	return false, nil
}

// leasedKey returns a key of the project, as a tokeniser is given it.
func (t *Trial) leasedKey(k *keyholder.KeyHolder) (key secret.Key, err error) {
	tokeniser, err := k.As(loadClient)
	if err != nil {
		return key, err
	}
	defer tokeniser.Close()
	_, session, err := client.Open(t.ctx, tokeniser, t.Clock, loadProject, 1, api.UseToken)
	if err != nil {
		return key, err
	}
	_, file := session.Keys()
	file.TokenKey.Use(func(b *[secret.Size]byte) { key = secret.New(*b) })
	return key, session.Close(t.ctx)
}

// sealed is scenario 17.
func sealed(t *Trial) error {
	custody := holder.Custody{Method: "shares", Threshold: 2, Shares: 3}
	k, err := t.newKeyHolder(keyholder.Options{Custody: custody})
	if err != nil {
		return err
	}
	if err := k.Start(t.ctx); err != nil {
		return err
	}
	give := func(share string) (code api.Code, status *api.SealStatus, err error) {
		anyone, err := k.Anonymous()
		if err != nil {
			return "", nil, err
		}
		defer anyone.Close()
		status, err = anyone.Unseal(t.ctx, api.Unseal{Share: share})
		if code = client.Code(err); code != "" {
			err = nil
		}
		return code, status, err
	}
	open := func() error {
		for _, share := range []string{k.Made.Shares[0], k.Made.Shares[2]} {
			if code, _, err := give(share); err != nil || code != "" {
				return fault.New(fault.Internal, "unsealing", fmt.Sprintf("a right share was refused: %q, %v", code, err), "")
			}
		}
		return nil
	}
	if err := open(); err != nil {
		return err
	}
	if err := k.Enrol(t.ctx, keyholder.Operator, k.Made.Codes[keyholder.Operator]); err != nil {
		return err
	}
	if err := t.populate(k); err != nil {
		return err
	}
	key, err := t.leasedKey(k)
	if err != nil {
		return err
	}
	if err := k.Stop(); err != nil {
		return err
	}
	folder, err := t.sub("another")
	if err != nil {
		return err
	}
	another, err := t.newKeyHolder(keyholder.Options{Folder: folder, Custody: custody})
	if err != nil {
		return err
	}
	if err := k.Start(t.ctx); err != nil {
		return err
	}
	if err := t.closed(k, key, "no share"); err != nil {
		return err
	}
	mistyped := []byte(k.Made.Shares[0])
	mistyped[len(mistyped)/2] ^= 1
	wrong := []string{"nothing of a share", another.Made.Shares[0], string(mistyped)}
	for _, share := range wrong {
		code, _, err := give(share)
		if err != nil {
			return err
		}
		t.check(code == api.CodeUnsealRefused, "a wrong share is refused by itself", "code %q", code)
	}
	if err := t.closed(k, key, "wrong shares"); err != nil {
		return err
	}
	code, status, err := give(k.Made.Shares[0])
	if err != nil {
		return err
	}
	t.check(code == "" && status.Sealed && status.Given == 1, "one share of two does not open it", "%q, %+v", code, status)
	if err := t.closed(k, key, "too few shares"); err != nil {
		return err
	}
	if code, status, err = give(k.Made.Shares[2]); err != nil {
		return err
	}
	t.control(code == "" && !status.Sealed, "with enough shares it opens", "%q, %+v", code, status)
	if err := t.opened(k, key); err != nil {
		return err
	}
	return t.tried(k, int64(len(wrong)))
}

// closed checks that a sealed key holder answers no use of a key and has none.
func (t *Trial) closed(k *keyholder.KeyHolder, key secret.Key, with string) error {
	t.note("sealed, with %s", with)
	for name, calls := range map[string][][2]string{
		loadClient:         {{http.MethodPost, "/v1/projects/" + loadProject + "/leases"}, {http.MethodGet, "/v1/projects/" + loadProject}},
		keyholder.Operator: {{http.MethodPost, "/v1/operations"}, {http.MethodGet, "/v1/events"}},
	} {
		caller, err := k.CallAs(name)
		if err != nil {
			return err
		}
		for _, call := range calls {
			status, code, err := caller.Call(t.ctx, call[0], call[1], map[string]any{"use": "token", "rows_expected": 1}, nil)
			if err != nil {
				return err
			}
			t.check(status == http.StatusServiceUnavailable && code == api.CodeSealed, "sealed, with "+with+", every call is answered 503", "%s %s: status %d, %s", call[0], call[1], status, code)
		}
		caller.Close()
	}
	if !mayLook() {
		return nil
	}
	found, err := t.inMemory(k, key)
	if err != nil {
		return err
	}
	t.check(!found, "sealed, with "+with+", its memory holds no key", "")
	return nil
}

// mayLook reports whether this process may read the memory of another that keeps it
// from being read.
func mayLook() bool { return os.Getuid() == 0 }

// inMemory reports whether a key is in the memory of a key holder that runs.
func (t *Trial) inMemory(k *keyholder.KeyHolder, key secret.Key) (found bool, err error) {
	key.Use(func(b *[secret.Size]byte) { found, err = memoryHolds(k.Process.ID(), b[:]) })
	return found, err
}

// opened is the control of closed.
func (t *Trial) opened(k *keyholder.KeyHolder, key secret.Key) error {
	err := t.leases(k, 1)
	t.control(err == nil, "open, a key is leased", "%s", wrong(err))
	if !mayLook() {
		t.leaveOut("the memory of the key holder", "only root may read it")
		return nil
	}
	found, err := t.inMemory(k, key)
	t.control(found, "open, the key is found in its memory", "")
	return err
}

// tried checks that the tries that failed are in the log.
func (t *Trial) tried(k *keyholder.KeyHolder, wrong int64) error {
	operator, err := k.As(keyholder.Operator)
	if err != nil {
		return err
	}
	defer operator.Close()
	last := int64(-1)
	err = eachEntry(t.ctx, operator, func(leaf audit.Leaf) {
		if leaf.Kind == audit.KindUnseal {
			last = leaf.Count
		}
	})
	t.figure("wrong_shares", float64(wrong))
	t.check(last == wrong, "the tries are in the log", "the last unsealing counts %d of %d", last, wrong)
	return err
}

package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tarn/bench/keyholder"
	"tarn/keys/api"
	"tarn/keys/fault"
)

// taken is a backup and the ledger of what was acknowledged before it was asked for.
type taken struct {
	path   string // without the endings of its two files
	ledger string
}

// The endings of a backup's files.
const (
	sealedEnding   = ".age"
	manifestEnding = ".manifest.json"
)

// acceptLoss is more than any of these backups has to lose.
const acceptLoss = "1000000"

// backedUp is scenario 18.
func backedUp(t *Trial) error {
	k, l, err := t.loaded(keyholder.Options{})
	if err != nil {
		return err
	}
	var all []taken
	err = t.load(k, 0, l, func() error {
		for n := range t.times(2, 8) {
			between(500*time.Millisecond, time.Second)
			t.note("backup %d under load", n+1)
			one, err := t.backUp(k, l, n)
			if err != nil {
				return err
			}
			all = append(all, one)
		}
		time.Sleep(500 * time.Millisecond) // what the last backup has not
		return nil
	})
	if err != nil {
		return err
	}
	t.busy(l, len(all))
	t.figure("backups", float64(len(all)))
	if err := k.Stop(); err != nil {
		return err
	}
	for n, one := range all {
		t.note("restoring backup %d", n+1)
		if err := t.restored(k, one, l); err != nil {
			return err
		}
	}
	return t.badCopies(k, all[0], all[len(all)-1])
}

// backUp has a backup made, and keeps what was acknowledged before.
func (t *Trial) backUp(k *keyholder.KeyHolder, l *Ledger, n int) (taken, error) {
	b, err := os.ReadFile(l.Path())
	ledger := fmt.Sprintf("%s-%d", l.Path(), n)
	if err == nil {
		err = os.WriteFile(ledger, b, 0o600)
	}
	if err != nil {
		return taken{}, fault.Wrap(fault.Internal, "copying the ledger", err, "")
	}
	path, err := t.backup(k)
	return taken{path: path, ledger: ledger}, err
}

// backup has a backup made, and returns its path without the endings of its files.
func (t *Trial) backup(k *keyholder.KeyHolder) (string, error) {
	operator, err := k.As(keyholder.Operator)
	if err != nil {
		return "", err
	}
	defer operator.Close()
	o, err := operator.Ask(t.ctx, api.OpBackup, api.Backup{})
	if err != nil {
		return "", err
	}
	collected, err := operator.Collect(t.ctx, o.ID)
	if err != nil {
		return "", err
	}
	return filepath.Join(k.Dir, "backups", collected.Path), nil
}

// restore restores a backup into a folder, with a copy of the key holder's anchor.
func (t *Trial) restore(k *keyholder.KeyHolder, path, folder string, more ...string) (other *keyholder.KeyHolder, code int, said string, err error) {
	if folder, err = t.sub(folder); err == nil {
		err = os.RemoveAll(folder)
	}
	if err == nil {
		err = os.Mkdir(folder, 0o700)
	}
	if err == nil {
		err = copyTo(folder, k.Anchor)
	}
	if err != nil {
		return nil, 0, "", err
	}
	copied := *k
	other = &copied
	other.Dir, other.Anchor = filepath.Join(folder, "standby"), filepath.Join(folder, filepath.Base(k.Anchor))
	code, _, said, err = t.command("keyholder", append([]string{"restore", path, "--dir", other.Dir, "--anchor", other.Anchor, "--host", "127.0.0.1", "--identity-file", k.Identity()}, more...)...)
	return other, code, said, err
}

// restored restores a backup, and asks the key holder that comes of it for what was
// acknowledged before.
func (t *Trial) restored(k *keyholder.KeyHolder, one taken, l *Ledger) error {
	begun := time.Now()
	other, code, said, err := t.restore(k, one.path, "restored", "--accept-loss", acceptLoss)
	if err != nil {
		return err
	}
	t.control(code == 0, "an untouched copy is restored", "exit code %d: %s", code, said)
	if code != 0 {
		return nil
	}
	if code, _, said, err = t.command("keyholder", "fsck", "--dir", other.Dir, "--anchor", other.Anchor, "--identity-file", k.Identity()); err != nil {
		return err
	}
	t.check(code == 0 && strings.Contains(said, "whole"), "what is restored is whole: count and root", "exit code %d: %s", code, said)
	if err := other.Configure(); err != nil {
		return err
	}
	if err := other.Start(t.ctx); err != nil {
		return err
	}
	t.later(other.Kill)
	t.figure("restored_and_ready_s", time.Since(begun).Seconds())
	before, err := t.checked(other, one.ledger, "--restored")
	if err != nil {
		return err
	}
	t.check(before.Whole() && before.Acknowledged > 0, "everything acknowledged before the backup is in it", "%s", before)
	after, err := t.checked(other, l.Path(), "--restored")
	if err != nil {
		return err
	}
	t.control(len(after.Missing) > 0 && len(after.Missing) < after.Acknowledged, "what was acknowledged after the backup is missed", "%s", after)
	return other.Kill()
}

// badCopies checks that copies that are not what was made are refused before
// anything is written.
func (t *Trial) badCopies(k *keyholder.KeyHolder, first, last taken) error {
	folder, err := t.sub("copies")
	if err != nil {
		return err
	}
	name := filepath.Join(folder, filepath.Base(last.path))
	change := func(ending string, f func(b []byte) []byte) func() error {
		return func() error {
			b, err := os.ReadFile(name + ending)
			if err == nil {
				err = os.WriteFile(name+ending, f(b), 0o600)
			}
			return err
		}
	}
	flip := func(b []byte) []byte { b[rand.IntN(len(b))] ^= 1; return b }
	cut := func(b []byte) []byte { return b[:rand.IntN(len(b))] }
	accept := []string{"--accept-loss", acceptLoss}
	for range t.times(1, 10) {
		for _, bad := range []struct {
			name   string
			change func() error
			more   []string
		}{
			{"cut short", change(sealedEnding, cut), accept},
			{"flipped", change(sealedEnding, flip), accept},
			{"flipped in its manifest", change(manifestEnding, flip), accept},
			{"with another's manifest", func() error {
				b, err := os.ReadFile(first.path + manifestEnding)
				if err == nil {
					err = os.WriteFile(name+manifestEnding, b, 0o600)
				}
				return err
			}, accept},
			{"older than the anchor", func() error { return nil }, nil},
		} {
			if err := copyTo(folder, last.path+sealedEnding, last.path+manifestEnding); err != nil {
				return err
			}
			if err := bad.change(); err != nil {
				return fault.Wrap(fault.Internal, "changing a copy", err, "")
			}
			other, code, said, err := t.restore(k, name, "refused", bad.more...)
			if err != nil {
				return err
			}
			entries, err := os.ReadDir(other.Dir)
			t.check(code != 0 && (os.IsNotExist(err) || len(entries) == 0), "a copy that is "+bad.name+" is refused, and nothing is written", "exit code %d, %d files: %s", code, len(entries), said)
			t.count("bad_copies", 1)
		}
	}
	return nil
}

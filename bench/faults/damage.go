package faults

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"tarn/bench/keyholder"
	"tarn/keys/fault"
)

// copyTo copies files and folders into a folder that exists, with their modes and
// their holes.
func copyTo(folder string, from ...string) error {
	said, err := exec.Command("cp", append([]string{"-a", "--sparse=always", "-t", folder}, from...)...).CombinedOutput()
	if err != nil {
		return fault.New(fault.Internal, "copying", strings.TrimSpace(string(said)), "")
	}
	return nil
}

// copied is a copy of a key holder that does not run, in a folder of this name; log
// and store are one folder.
func (t *Trial) copied(k *keyholder.KeyHolder, name string) (*keyholder.KeyHolder, error) {
	folder, err := t.sub(name)
	if err == nil {
		err = copyTo(folder, k.Dir, k.Anchor)
	}
	if err != nil {
		return nil, err
	}
	other := *k
	other.Dir, other.Anchor = filepath.Join(folder, filepath.Base(k.Dir)), filepath.Join(folder, filepath.Base(k.Anchor))
	return &other, nil
}

// damaged is scenario 5.
func damaged(t *Trial) error {
	k, l, err := t.loaded(keyholder.Options{})
	if err != nil {
		return err
	}
	// What is flushed on a clean end, and what is not when it is killed.
	for round, end := range []func() error{k.Stop, k.Kill} {
		if round > 0 {
			if err := k.Start(t.ctx); err != nil {
				return err
			}
		}
		if err := t.load(k, round, l, func() error { time.Sleep(time.Second); return end() }); err != nil {
			return err
		}
	}
	t.busy(l, 2)
	files, err := filepath.Glob(filepath.Join(k.Dir, "store.*", "*"))
	if err != nil || len(files) == 0 {
		return fault.New(fault.Internal, "damaging a store", "it has no files", "")
	}
	refused := 0
	for n := range t.times(1, 6) {
		for _, file := range files {
			for _, how := range []string{"flip", "cut"} {
				t.note("%s of %s", how, filepath.Base(file))
				did, ended, err := t.damage(k, l, file, how, n)
				if err != nil {
					return err
				}
				t.count("files_damaged", did)
				refused += ended
			}
		}
	}
	t.figure("refused", float64(refused))
	t.control(refused > 0, "some damage is refused", "%d of %.0f", refused, t.result.Figures["files_damaged"])
	untouched, err := t.copied(k, "untouched")
	if err != nil {
		return err
	}
	if err := untouched.Configure(); err != nil {
		return err
	}
	if err := untouched.Start(t.ctx); err != nil {
		t.control(false, "the untouched copy starts and is whole", "%v", err)
		return nil
	}
	c, err := t.checked(untouched, l.Path())
	if err != nil {
		return err
	}
	t.control(c.Whole(), "the untouched copy starts and is whole", "%s", c)
	if err := t.planted(untouched, l); err != nil {
		return err
	}
	return untouched.Kill()
}

// damage damages a file of a copy, and starts it. It says whether there was anything
// to damage, and whether the key holder refused or ended: 1 or 0.
func (t *Trial) damage(k *keyholder.KeyHolder, l *Ledger, file, how string, n int) (did, refused int, err error) {
	other, err := t.copied(k, "damaged")
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = os.RemoveAll(filepath.Dir(other.Dir)) }() // the next one is made anew
	below, err := filepath.Rel(k.Dir, file)
	if err != nil {
		return 0, 0, err
	}
	where := filepath.Join(other.Dir, below)
	b, err := os.ReadFile(where)
	if err != nil {
		return 0, 0, err
	}
	used := len(bytes.TrimRight(b, "\x00"))
	if used == 0 {
		return 0, 0, nil
	}
	at := rand.IntN(used)
	if how == "flip" {
		var f *os.File
		if f, err = os.OpenFile(where, os.O_WRONLY, 0); err == nil {
			if _, err = f.WriteAt([]byte{b[at] ^ 1<<rand.N(8)}, int64(at)); err == nil {
				err = f.Close()
			}
		}
	} else {
		err = os.Truncate(where, int64(at))
	}
	if err != nil {
		return 0, 0, err
	}
	if err := other.Configure(); err != nil {
		return 0, 0, err
	}
	what := fmt.Sprintf("%s at byte %d of the %d of %s, try %d", how, at, used, filepath.Base(file), n)
	if err := other.Start(t.ctx); err != nil {
		t.check(other.Process.Said() != "", "it says why it does not start", "%s", what)
		return 1, 1, nil
	}
	defer func() { _ = other.Kill() }()
	c, err := t.checked(other, l.Path())
	if err != nil { // it answered with an error, or ended
		return 1, 1, t.ctx.Err()
	}
	t.check(c.Whole(), "a damaged store is refused or whole, never wrong or empty", "%s: %s", what, c)
	return 1, 0, nil
}

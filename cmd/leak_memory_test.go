package cmd_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"

	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tarn/bench/leak"
)

// errNoSight says that this machine does not let the test see another process's memory.
var errNoSight = errors.New("the memory of another process cannot be read here")

// inMemory looks at everything that a process may write to in its memory.
func inMemory(pid int) (found []leak.Finding, bytesSeen int, err error) {
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %v", errNoSight, err)
	}
	defer func() { _ = maps.Close() }() // read only
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %v", errNoSight, err)
	}
	defer func() { _ = memory.Close() }() // read only
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to uint64
		var rights string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &rights); err != nil {
			return nil, 0, err
		}
		if !strings.HasPrefix(rights, "rw") || to >= 1<<63 {
			continue
		}
		const most = 16 << 20
		for at := from; at < to; at += most {
			b := make([]byte, min(most, to-at))
			n, _ := memory.ReadAt(b, int64(at)) // a page that the kernel keeps to itself ends it
			bytesSeen += n
			found = append(found, strangersScanner().Bytes("memory", b[:n])...)
		}
	}
	return found, bytesSeen, nil
}

// neverInMemory looks at the key holder's memory after the tokeniser has used its
// keys for everybody: it has never seen anybody. The control is a tokeniser that waits
// in the middle of its table.
func (o *observed) neverInMemory(t *testing.T) {
	t.Helper()
	found, seen, err := inMemory(o.Process.ID())
	if errors.Is(err, errNoSight) {
		t.Log(err)
		return
	}
	must(t, err)
	noneAstray(t, "the key holder's memory", found, func(string) []leak.Kind { return []leak.Kind{leak.Secret} }) // it has been unsealed
	t.Logf("%d MB of the key holder's memory were looked at", seen>>20)

	folder := t.TempDir()
	in, stop := o.half(t)
	defer stop()
	h := o.leakage.encode("-", folder, "--checkpoint-rows", "500")
	h.in = in
	c := o.command(h)
	must(t, c.Start())
	awaitCheckpoint(t, folder)
	found, _, err = inMemory(c.Process.Pid)
	_ = c.Process.Kill() // it waits for the rest of its table
	_ = c.Wait()
	must(t, err)
	if !slices.ContainsFunc(found, func(f leak.Finding) bool { return f.Kind == leak.Number }) {
		t.Error("nobody was found in the memory of a tokeniser that is at work: the search is blind")
	}
}

// stalled has the key holder stop answering before a run and in the middle of one.
func (o *observed) stalled(t *testing.T) {
	t.Helper()
	folder := t.TempDir()
	must(t, o.Process.Signal(syscall.SIGSTOP))
	o.leakage.run(t, 5, o.encode(o.table("north.csv"), folder, all(folder)...))
	must(t, o.Process.Signal(syscall.SIGCONT))
	must(t, o.Ready(t.Context()))
	in, stop := o.half(t)
	h := o.encode("-", folder, append(all(folder), "--checkpoint-rows", "500")...)
	h.in = in
	c := o.command(h)
	var both bytes.Buffer
	c.Stdout, c.Stderr = &both, &both
	must(t, c.Start())
	awaitCheckpoint(t, folder)
	must(t, o.Process.Signal(syscall.SIGSTOP))
	stop() // the table ends here: the run ends its leases, which nobody takes
	_ = c.Wait()
	must(t, o.Process.Signal(syscall.SIGCONT))
	must(t, o.Ready(t.Context()))
	noneAstray(t, "a run whose key holder stalled", strangersScanner().Bytes("output", both.Bytes()), nowhere)
	noneInTree(t, "left by a run whose key holder stalled", folder, asDocumented)
	o.nothingThere(t, "after it stalled")
}

// testCore is the control of what no program may leave: a tokeniser that forbids
// nothing leaves a core file here, and everybody is in it.
func (l *leakage) testCore(t *testing.T) {
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil || bytes.HasPrefix(pattern, []byte("|")) || bytes.Contains(pattern, []byte("/")) {
		t.Skipf("core files do not come into the folder of the process here: %s", pattern)
	}
	binary := plantFor(t, t.TempDir(), "tokeniser", slices.Concat(sites, softened)...)
	folder := t.TempDir()
	h := l.encode(l.table("north.csv"), folder)
	h.binary, h.env = binary, []string{"TARN_TEST_PLANT=judge in a library"}
	c := l.command(h)
	c.Dir = t.TempDir()
	begun := time.Now()
	said, _ := c.CombinedOutput() // how it ends is in its state
	cores, err := filepath.Glob(filepath.Join(c.Dir, "*core*"))
	must(t, err)
	if len(cores) == 0 {
		t.Fatalf("a program that forbids nothing left no core file, so that it is no proof that the others left none: %v, %.300s", c.ProcessState, said)
	}
	found, err := strangersScanner().Tree(cores[0])
	must(t, err)
	if !slices.ContainsFunc(found, func(f leak.Finding) bool { return f.Kind == leak.Family }) {
		t.Error("nobody was found in the core file of a tokeniser at work: the search is blind")
	}
	t.Logf("found %d values in a core file, in %v", len(found), time.Since(begun).Round(time.Second))
}

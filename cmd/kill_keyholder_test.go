//go:build heavy || faults

package cmd_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tarn/keys/api"
	"tarn/keys/client"
	"tarn/keys/holder"
)

// killRounds is how often the key holder is killed: twenty times in full.
func killRounds() int {
	if full {
		return 20
	}
	return 4
}

// TestKilledKeyholderKeepsWhatItAcknowledged is scenario 1 of the reliability
// tests: the key holder is killed while callers change it, and comes back with
// every change that was acknowledged, whole, each time.
func TestKilledKeyholderKeepsWhatItAcknowledged(t *testing.T) {
	s := newKilled(t)
	ledger := &ledger{path: filepath.Join(t.TempDir(), "acknowledged")}
	ready := time.Duration(0)
	for round := range killRounds() {
		begun := time.Now()
		s.start()
		s.ready()
		ready = max(ready, time.Since(begun))
		if missing := s.missing(ledger.read(t)); len(missing) > 0 {
			t.Fatalf("round %d: %d of what was acknowledged is not there: %v", round, len(missing), missing)
		}
		s.load(round, ledger, 300*time.Millisecond+rand.N(1500*time.Millisecond))
	}
	s.start()
	s.ready()
	acknowledged := ledger.read(t)
	if missing := s.missing(acknowledged); len(missing) > 0 {
		t.Fatalf("at the end %d of what was acknowledged is not there: %v", len(missing), missing)
	}
	// Control: what was never acknowledged is missed.
	if missing := s.missing(append(acknowledged, "planted")); !slices.Equal(missing, []string{"planted"}) {
		t.Errorf("a planted loss is not found: %v", missing)
	}
	if len(acknowledged) < 10*killRounds() {
		t.Errorf("only %d changes were acknowledged: there was no load", len(acknowledged))
	}
	s.kill()
	if limit := 5 * time.Second; ready > limit {
		t.Errorf("ready after %v, more than %v", ready, limit)
	}
	t.Logf("%d changes acknowledged over %d kills, ready after %v at most", len(acknowledged), killRounds(), ready)
}

// killed is a key holder with one operator, and what it takes to start it again.
type killed struct {
	t       *testing.T
	binary  string
	folder  string
	config  string
	ca      string
	process *exec.Cmd
	address string
}

func newKilled(t *testing.T) *killed {
	t.Helper()
	s := &killed{t: t, folder: t.TempDir()}
	binaries := t.TempDir()
	build(t, binaries)
	s.binary = filepath.Join(binaries, "keyholder")
	dir, anchor, identity := filepath.Join(s.folder, "holder"), filepath.Join(t.TempDir(), "anchor.json"), filepath.Join(s.folder, "identity.txt")
	made, err := holder.Init(t.Context(), holder.InitOptions{
		Dir: dir, Anchor: anchor, Custody: holder.Custody{Method: "identity"}, Name: "killed", Organisation: "X26", Operators: []string{"ann"},
		Hosts: []string{"127.0.0.1"}, Software: "test", Clock: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.config, s.ca = filepath.Join(s.folder, "keyholder.toml"), filepath.Join(dir, holder.AuthorityFile)
	config := fmt.Sprintf("production = false\n[listen]\naddress = \"127.0.0.1:0\"\n[store]\ndir = %q\nanchor = %q\nfree_floor = \"64MiB\"\n[custody]\nidentity_file = %q\n[operators]\nrequired = 1\n", dir, anchor, identity)
	for path, content := range map[string]string{identity: string(made.Identity), s.config: config} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	if _, err := client.Enrol(t.Context(), "https://"+s.address, made.Codes["ann"], filepath.Join(s.folder, "ann"), time.Now); err != nil {
		t.Fatal(err)
	}
	s.kill()
	return s
}

// start starts the program, and returns when it answers.
func (s *killed) start() {
	s.t.Helper()
	s.process = exec.Command(s.binary, "serve", "--config", s.config)
	said, err := s.process.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	var lines []string
	for scanner := bufio.NewScanner(said); scanner.Scan(); {
		lines = append(lines, scanner.Text())
		if _, after, ok := strings.Cut(scanner.Text(), "answering on "); ok {
			s.address, _, _ = strings.Cut(after, ",")
			return
		}
	}
	s.t.Fatalf("the key holder ended before it answered: %s", strings.Join(lines, "\n"))
}

func (s *killed) kill() {
	s.t.Helper()
	if err := s.process.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_ = s.process.Wait() // it was killed, and says so
}

// ready returns when the key holder is.
func (s *killed) ready() {
	s.t.Helper()
	anyone, err := client.Anonymous("https://"+s.address, s.ca, time.Now)
	if err != nil {
		s.t.Fatal(err)
	}
	defer anyone.Close()
	if err := anyone.Ready(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func (s *killed) operator() *client.Client {
	s.t.Helper()
	credentials, err := client.Load(client.Files{Folder: filepath.Join(s.folder, "ann"), URL: "https://" + s.address})
	if err != nil {
		s.t.Fatal(err)
	}
	return client.New(credentials, time.Now)
}

// load has callers add domains until the key holder is killed after a while, and
// writes down each that was acknowledged.
func (s *killed) load(round int, l *ledger, span time.Duration) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	var callers sync.WaitGroup
	for caller := range 4 {
		operator := s.operator()
		callers.Go(func() {
			defer operator.Close()
			for i := 0; ctx.Err() == nil; i++ {
				name := fmt.Sprintf("d-%d-%d-%d", round, caller, i)
				if _, err := operator.Ask(ctx, api.OpDomainAdd, api.DomainAdd{Name: name, Scheme: "keyed-hash"}); err != nil {
					return
				}
				l.write(s.t, name)
			}
		})
	}
	time.Sleep(span)
	s.kill()
	cancel()
	callers.Wait()
}

// missing returns the names that the key holder has not got.
func (s *killed) missing(names []string) (missing []string) {
	s.t.Helper()
	operator := s.operator()
	defer operator.Close()
	domains, err := operator.Domains(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	have := map[string]bool{}
	for _, d := range domains {
		have[d.Name] = len(d.Epochs) == 1 && d.Epochs[0].State == api.StateCurrent && d.DomainNo > 0
	}
	for _, name := range names {
		if !have[name] {
			missing = append(missing, name)
		}
	}
	return missing
}

// ledger is what was acknowledged, on another filesystem than the store's where
// the system's folder of temporary files is.
type ledger struct {
	path string
	mu   sync.Mutex
}

func (l *ledger) write(t *testing.T, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = f.Close() }() // synced below
	if _, err := fmt.Fprintln(f, name); err != nil {
		t.Error(err)
	}
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
}

func (l *ledger) read(t *testing.T) (names []string) {
	t.Helper()
	b, err := os.ReadFile(l.path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Fields(string(b))
}

package cmd_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tarn/keys/client"
	"tarn/keys/holder"
)

// keyholder is a key holder with one operator, ann, as its own process, and what
// it takes to start it again.
type keyholder struct {
	t        *testing.T
	binary   string
	folder   string // the operator's, the configuration's
	dir      string // the store's
	config   string
	anchor   string
	identity string
	ca       string
	process  *exec.Cmd
	address  string
	lines    *lines
	ended    chan struct{} // closed once the process has
}

func newKeyholder(t *testing.T) *keyholder {
	t.Helper()
	return newKeyholderIn(t, t.TempDir(), t.TempDir())
}

// newKeyholderIn makes a key holder whose store and anchor lie in these folders.
func newKeyholderIn(t *testing.T, stores, anchors string) *keyholder {
	t.Helper()
	s := &keyholder{t: t, folder: t.TempDir()}
	binaries := t.TempDir()
	build(t, binaries)
	s.binary = filepath.Join(binaries, "keyholder")
	dir, anchor, identity := filepath.Join(stores, "holder"), filepath.Join(anchors, "anchor.json"), filepath.Join(s.folder, "identity.txt")
	made, err := holder.Init(t.Context(), holder.InitOptions{
		Dir: dir, Anchor: anchor, Custody: holder.Custody{Method: "identity"}, Name: "test", Organisation: "X26", Operators: []string{"ann"},
		Hosts: []string{"127.0.0.1"}, Software: "test", Clock: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.anchor, s.identity = anchor, identity
	if err := os.WriteFile(identity, made.Identity, 0o600); err != nil {
		t.Fatal(err)
	}
	s.use(dir)
	s.start()
	if _, err := client.Enrol(t.Context(), client.Enrolment{URL: "https://" + s.address, Code: made.Codes["ann"], Folder: filepath.Join(s.folder, "ann")}, time.Now); err != nil {
		t.Fatal(err)
	}
	s.kill()
	return s
}

// use has the key holder use a folder from its next start on.
func (s *keyholder) use(dir string) {
	s.t.Helper()
	s.dir, s.config, s.ca = dir, filepath.Join(s.folder, "keyholder.toml"), filepath.Join(dir, holder.AuthorityFile)
	config := fmt.Sprintf("production = false\n[listen]\naddress = \"127.0.0.1:0\"\n[store]\ndir = %q\nanchor = %q\nfree_floor = \"64MiB\"\n[custody]\nidentity_file = %q\n[operators]\nrequired = 1\n", dir, s.anchor, s.identity)
	if err := os.WriteFile(s.config, []byte(config), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// start starts the program, and returns when it answers.
func (s *keyholder) start() {
	s.t.Helper()
	if !s.begin() {
		s.t.Fatalf("the key holder ended before it answered: %s", s.said())
	}
}

// begin starts the program, behind another one where one is given, and reports
// whether it came to answer before it ended.
func (s *keyholder) begin(before ...string) (answers bool) {
	s.t.Helper()
	command := append(before, s.binary, "serve", "--config", s.config)
	s.process = exec.Command(command[0], command[1:]...)
	said, err := s.process.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	process, address, ended, lines := s.process, make(chan string, 1), make(chan struct{}), new(lines)
	s.ended, s.lines = ended, lines
	go func() {
		defer close(ended)
		for scanner := bufio.NewScanner(said); scanner.Scan(); {
			lines.add(scanner.Text())
			if _, after, ok := strings.Cut(scanner.Text(), "answering on "); ok {
				at, _, _ := strings.Cut(after, ",")
				address <- at
			}
		}
		_ = process.Wait() // how it ended is in its state
	}()
	s.t.Cleanup(func() {
		_ = process.Process.Kill() // most have ended
		<-ended
	})
	select {
	case s.address = <-address:
		return true
	case <-ended:
	case <-time.After(startTimeout):
		s.t.Fatalf("the key holder neither answers nor ends: %s", s.said())
	}
	return false
}

// startTimeout is when a start has failed, on a slow machine and traced.
const startTimeout = time.Minute

// lines are what a process has said. They are safe for concurrent use.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
}

// said is what the process has said so far.
func (s *keyholder) said() string {
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	return strings.Join(s.lines.all, "\n")
}

func (s *keyholder) kill() {
	s.t.Helper()
	if err := s.process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Fatal(err)
	}
	<-s.ended
}

// ready returns when the key holder is.
func (s *keyholder) ready() {
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

func (s *keyholder) operator() *client.Client {
	s.t.Helper()
	credentials, err := client.Load(client.Files{Folder: filepath.Join(s.folder, "ann"), URL: "https://" + s.address})
	if err != nil {
		s.t.Fatal(err)
	}
	return client.New(credentials, time.Now)
}

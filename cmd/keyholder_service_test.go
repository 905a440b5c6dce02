package cmd_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tarn/keys/client"
	"tarn/keys/holder"
)

// keyholder is a key holder with one operator, ann, as its own process, and what
// it takes to start it again.
type keyholder struct {
	t       *testing.T
	binary  string
	folder  string
	config  string
	anchor  string
	ca      string
	process *exec.Cmd
	address string
}

func newKeyholder(t *testing.T) *keyholder {
	t.Helper()
	s := &keyholder{t: t, folder: t.TempDir()}
	binaries := t.TempDir()
	build(t, binaries)
	s.binary = filepath.Join(binaries, "keyholder")
	dir, anchor, identity := filepath.Join(s.folder, "holder"), filepath.Join(t.TempDir(), "anchor.json"), filepath.Join(s.folder, "identity.txt")
	made, err := holder.Init(t.Context(), holder.InitOptions{
		Dir: dir, Anchor: anchor, Custody: holder.Custody{Method: "identity"}, Name: "test", Organisation: "X26", Operators: []string{"ann"},
		Hosts: []string{"127.0.0.1"}, Software: "test", Clock: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.anchor = anchor
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
func (s *keyholder) start() {
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

func (s *keyholder) kill() {
	s.t.Helper()
	if err := s.process.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_ = s.process.Wait() // it was killed, and says so
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

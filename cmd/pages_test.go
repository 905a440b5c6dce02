package cmd_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A page that is followed: its blocks of kind sh are what a reader types, in this order
// and in one shell; a block of kind text after one is what she sees. Other blocks are for
// reading only.

// typed is a block of commands, and what the page shows of their output.
type typed struct {
	line     int
	heading  string
	words    string // behind sh: what it needs
	commands string
	shown    string
	compared bool
}

var pageBlock = regexp.MustCompile("(?ms)^(## [^\n]+)$|^```([a-z]*)([^\n]*)\n(.*?)^```$")

// pageBlocks reads a page.
func pageBlocks(t *testing.T, name string) (all []typed) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repository(t), "docs", name))
	must(t, err)
	page, heading, before := string(b), "", ""
	for _, m := range pageBlock.FindAllStringSubmatchIndex(page, -1) {
		part := func(i int) string {
			if m[2*i] < 0 {
				return ""
			}
			return page[m[2*i]:m[2*i+1]]
		}
		if heading = cmp.Or(part(1), heading); part(1) != "" {
			continue
		}
		kind := part(2)
		switch {
		case kind == "sh":
			all = append(all, typed{line: 1 + strings.Count(page[:m[0]], "\n"), heading: heading, words: strings.TrimSpace(part(3)), commands: part(4)})
		case kind == "text" && before == "sh":
			all[len(all)-1].shown, all[len(all)-1].compared = part(4), true
		case kind == "text":
			t.Errorf("%s: a block of text follows no commands", name)
		}
		before = kind
	}
	return all
}

// shows reports whether an output is what a page shows: ... stands for anything within a
// line, and a line of it alone for any lines.
func shows(shown, got string) bool {
	var pattern strings.Builder
	pattern.WriteString(`\A`)
	for line := range strings.Lines(shown) {
		line = strings.TrimRight(line, " \n")
		if line == "..." {
			pattern.WriteString(`(?:[^\n]*\n)*`)
			continue
		}
		pattern.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), `\.\.\.`, `[^\n]*`) + ` *\n`)
	}
	return regexp.MustCompile(pattern.String() + `\z`).MatchString(strings.TrimSuffix(got, "\n") + "\n")
}

func TestPagesAreCompared(t *testing.T) {
	for _, x := range []struct {
		shown, got string
		want       bool
	}{
		{"a\n", "a\n", true},
		{"a\n", "a\nb\n", false},
		{"a\nb\n", "a\n", false},
		{"a.b\n", "axb\n", false},
		{"{\"x\": \"...\"}\n", "{\"x\": \"123\"}\n", true},
		{"{\"x\": \"...\"}\n", "{\"x\": \"1\n23\"}\n", false},
		{"a\n...\nc\n", "a\nb\nb\nc\n", true},
		{"a\n...\nc\n", "a\nc\n", true},
		{"a\n...\nc\n", "b\nc\n", false},
	} {
		if got := shows(x.shown, x.got); got != x.want {
			t.Errorf("%q for %q: %t", x.shown, x.got, got)
		}
	}
}

const pagePort = "8443"

// follow types the blocks of pages into a shell in the checkout, with a home of its own, and
// compares what it shows. The pages' port is another one here: other tests run, too.
func follow(t *testing.T, blocks []typed) {
	t.Helper()
	for _, name := range []string{"curl", "python3", "make"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed, so the page is not followed (make curl installs curl on Debian, as root)", name)
		}
	}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	_, port, err := net.SplitHostPort(socket.Addr().String())
	must(t, err)
	must(t, socket.Close())
	python := os.Getenv("TARN_PYTHON")
	script := "set -euo pipefail\n"
	for i := range blocks {
		if blocks[i].words == "needs-pyarrow" && python == "" {
			t.Logf("TARN_PYTHON is not set, so what needs pyarrow is not tried: line %d", blocks[i].line)
			blocks[i].commands, blocks[i].compared = "", false
		}
		script += fmt.Sprintf("printf '\\n@@begin %d\\n'\n%s\nprintf '@@end %d\\n'\n", i, strings.ReplaceAll(blocks[i].commands, pagePort, port), i)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "bash", "-c", script)
	command.Dir = repository(t)
	command.Env = append(os.Environ(), "HOME="+t.TempDir(), "PYTHONDONTWRITEBYTECODE=1", "LC_ALL=C.UTF-8")
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH"} { // they lie in the home that there is
		b, err := exec.Command("go", "env", name).Output()
		must(t, err)
		command.Env = append(command.Env, name+"="+strings.TrimSpace(string(b)))
	}
	if python != "" {
		command.Env = append(command.Env, "PATH="+filepath.Dir(python)+string(os.PathListSeparator)+os.Getenv("PATH"))
	}
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.WaitDelay = 10 * time.Second // for a service that was not stopped
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	begun := time.Now()
	must(t, command.Start())
	t.Cleanup(func() { _ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }) // most have ended
	failed := command.Wait()
	t.Logf("followed in %v", time.Since(begun).Round(time.Second))
	all := strings.ReplaceAll(said.String(), port, pagePort)
	for i, b := range blocks {
		_, after, begins := strings.Cut(all, fmt.Sprintf("\n@@begin %d\n", i))
		got, _, ends := strings.Cut(after, fmt.Sprintf("@@end %d\n", i))
		if !begins || !ends {
			t.Fatalf("line %d: it came no further: %v\n%s", b.line, failed, after)
		}
		if b.compared && !shows(b.shown, got) {
			t.Errorf("line %d: the page shows\n%sand it is\n%s", b.line, b.shown, got)
		}
	}
	if failed != nil {
		t.Errorf("the shell ended with %v", failed)
	}
}

// TestFirstTokens follows docs/tokenise-quickstart.md from nothing to its end.
func TestFirstTokens(t *testing.T) {
	blocks := pageBlocks(t, "tokenise-quickstart.md")
	if len(blocks) < 8 {
		t.Fatalf("%d blocks were found: the test is blind", len(blocks))
	}
	follow(t, blocks)
}

// TestCurlPage follows docs/curl.md, behind what it says goes before.
func TestCurlPage(t *testing.T) {
	var blocks []typed
	for _, b := range pageBlocks(t, "tokenise-quickstart.md") {
		if strings.HasPrefix(b.heading, "## 5.") {
			break
		}
		blocks = append(blocks, b)
	}
	page := pageBlocks(t, "curl.md")
	if len(blocks) < 4 || len(page) < 10 {
		t.Fatalf("%d and %d blocks were found: the test is blind", len(blocks), len(page))
	}
	follow(t, append(append(blocks, page...), typed{commands: "kill %1\nwait\n"}))
}

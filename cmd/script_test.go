package cmd_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tarn/keys/escrow"
	"tarn/linkage/cohort/cohorttest"
)

// scriptPython makes a command that runs Python's scripts through run.py, which
// says why.
func scriptPython(t *testing.T, folder string) string {
	t.Helper()
	path := filepath.Join(folder, "python")
	text := fmt.Sprintf("#!/bin/sh\ncase $1 in -*) exec '%[1]s' \"$@\" ;; esac\nexec '%[1]s' '%[2]s' \"$@\"\n", os.Getenv("TARN_PYTHON"), filepath.Join(repository(t), "testdata", "python", "run.py"))
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestScripts runs the scripts in testdata/script over the real binaries, as
// they are shipped. Each script has a folder of its own with people/ in it:
// tables, project.json and keys.json of synthetic people.
func TestScripts(t *testing.T) {
	binaries := t.TempDir()
	build(t, binaries)
	people := filepath.Join(t.TempDir(), "people")
	if code, said := output(t, filepath.Join(binaries, "tarn"), "synth", "--people", "400", "--parties", "2", "--seed", "1", "--keys", "--out", people); code != 0 {
		t.Fatalf("tarn synth: exit %d: %s", code, said)
	}
	python := scriptPython(t, binaries)
	escrowKey := escrowKeyOfNobody(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", binaries+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("PYTHON", python)
			env.Setenv("REPOSITORY", repository(t))
			env.Setenv("TARN_TESTDATA", os.Getenv("TARN_TESTDATA"))
			env.Setenv("ESCROW_KEY", escrowKey)
			return copyFolder(people, filepath.Join(env.WorkDir, "people"))
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "fulldisk":
				return canMount(), nil
			case "python":
				return os.Getenv("TARN_PYTHON") != "", nil
			case "febrl":
				return os.Getenv("TARN_TESTDATA") != "", nil
			}
			return false, fmt.Errorf("no such condition")
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ends": ends, "nobody": nobody, "fulldisk": fulldisk, "interrupted": interrupted, "within": within,
			"write": write, "repeat": repeat, "truncate": truncate, "same": same, "noleak": noleak, "nofile": nofile,
			"freeport": freeport, "sametokens": sametokens,
		},
	})
}

// escrowKeyOfNobody returns the public half of an escrow key, as a project's record has it.
func escrowKeyOfNobody(t *testing.T) string {
	t.Helper()
	key, err := escrow.KEM().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(key.PublicKey().Bytes())
}

// build builds every binary as the Makefile does, without its version.
func build(t *testing.T, folder string) {
	t.Helper()
	command := exec.Command("go", "build", "-trimpath", "-o", folder+"/", "./cmd/...")
	command.Dir = ".."
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := command.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, said)
	}
	// A script may run a binary as another user.
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(folder), 0o755); err != nil {
		t.Fatal(err)
	}
}

func repository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// copyFolder copies the files of a folder, readable by their owner only.
func copyFolder(from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	for _, entry := range entries {
		b, e := os.ReadFile(filepath.Join(from, entry.Name()))
		if e == nil {
			e = os.WriteFile(filepath.Join(to, entry.Name()), b, 0o600)
		}
		err = errors.Join(err, e)
	}
	return err
}

// canaries are values of the scripts' own tables, none of which may show in
// what a command says or leaves behind. The people in them do not exist.
var canaries = []string{"9434765919", "943 476 5919", "Quetzalina", "quetzalina", "Xylander", "xylander", "1973-10-22", "22/10/1973", "SW1A 2AA", "HOSP-77113"}

// leaks returns the canaries that are in text.
func leaks(text string) (found []string) {
	for _, canary := range canaries {
		if strings.Contains(text, canary) {
			found = append(found, canary)
		}
	}
	return found
}

func TestLeaksAreFound(t *testing.T) {
	for _, canary := range canaries {
		if found := leaks("error: cannot parse " + canary + "; correct it"); !slices.Contains(found, canary) {
			t.Errorf("a planted %q was not found", canary)
		}
	}
	if found := leaks("error: row 3, column given_name: name_junk"); found != nil {
		t.Errorf("found %q where nothing was planted", found)
	}
}

// ended checks how a command ended, and that it said nothing of anybody.
func ended(ts *testscript.TestScript, err error, want string) {
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("the command could not be run: %v", err)
	}
	if strconv.Itoa(code) != want {
		ts.Fatalf("exit code %d, want %s", code, want)
	}
	said := ts.ReadFile("stdout") + ts.ReadFile("stderr")
	if found := leaks(said); found != nil {
		ts.Fatalf("the command said %q", found)
	}
}

// ends CODE COMMAND..: the command ends with this exit code.
func ends(ts *testscript.TestScript, _ bool, args []string) {
	ended(ts, ts.Exec(args[1], args[2:]...), args[0])
}

// nobody CODE COMMAND..: as ends, and the command has no rights that only the
// superuser has.
func nobody(ts *testscript.TestScript, not bool, args []string) {
	if os.Geteuid() != 0 {
		ends(ts, not, args)
		return
	}
	for folder := ts.Getenv("WORK"); folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
		ts.Check(os.Chmod(folder, 0o755))
	}
	ended(ts, ts.Exec("setpriv", append([]string{"--reuid", "65534", "--regid", "65534", "--clear-groups", "--"}, args[1:]...)...), args[0])
}

// canMount reports whether a small file system can be mounted for one command.
func canMount() bool {
	return exec.Command("unshare", append(unshare(), "mount", "-t", "tmpfs", "-o", "size=64k", "none", os.TempDir())...).Run() == nil
}

func unshare() []string {
	if os.Geteuid() == 0 {
		return []string{"--mount"}
	}
	return []string{"--map-root-user", "--mount"}
}

// fulldisk CODE SIZE FOLDER COMMAND..: as ends, with only this much space in
// the folder. What is left there is listed on standard error.
func fulldisk(ts *testscript.TestScript, _ bool, args []string) {
	script := `mount -t tmpfs -o size="$1" none "$2" && folder=$2 && shift 2 && "$@"; code=$?; echo "left behind:" >&2; ls -A "$folder" >&2; exit $code`
	ended(ts, ts.Exec("unshare", append(append(unshare(), "sh", "-c", script, "sh"), args[1:]...)...), args[0])
}

// interrupted CODE SIGNAL PATTERN INPUT COMMAND..: the command gets the bytes
// of INPUT on standard input, which then stays open, and the signal once a file
// that matches the pattern is there; - is no input.
func interrupted(ts *testscript.TestScript, _ bool, args []string) {
	command := exec.Command(args[4], args[5:]...)
	path, err := lookPath(ts, args[4])
	ts.Check(err)
	command.Path, command.Err, command.Dir = path, nil, ts.Getenv("WORK")
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	if args[3] != "-" {
		in, err := command.StdinPipe()
		ts.Check(err)
		defer func() { _ = in.Close() }()
		text := ts.ReadFile(args[3])
		go func() { _, _ = in.Write([]byte(text)) }() // the command may end before it has read all
	}
	ts.Check(command.Start())
	deadline := time.Now().Add(30 * time.Second)
	for matches, _ := filepath.Glob(ts.MkAbs(args[2])); len(matches) == 0; matches, _ = filepath.Glob(ts.MkAbs(args[2])) {
		if time.Now().After(deadline) {
			_ = command.Process.Kill()
			ts.Fatalf("no file matched %s", args[2])
		}
		time.Sleep(time.Millisecond)
	}
	ts.Check(command.Process.Signal(map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM}[args[1]]))
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		_ = command.Process.Kill()
		ts.Fatalf("the command went on after the signal")
	}
	if code := command.ProcessState.ExitCode(); strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s; it said: %s", code, args[0], said.String())
	}
	if found := leaks(said.String()); found != nil {
		ts.Fatalf("the command said %q", found)
	}
}

// within MEGABYTES COMMAND..: the command ends well, having had no more than
// this in memory at any time.
func within(ts *testscript.TestScript, not bool, args []string) {
	most, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	path, err := lookPath(ts, args[1])
	ts.Check(err)
	command := exec.Command(path, args[2:]...)
	command.Dir = ts.Getenv("WORK")
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	ts.Check(command.Start())
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	peak, running := int64(0), true
	for running {
		peak = max(peak, highWater(command.Process.Pid))
		select {
		case err := <-ended:
			if err != nil {
				ts.Fatalf("%v: %s", err, said.String())
			}
			running = false
		case <-time.After(time.Millisecond):
		}
	}
	if ts.Logf("%d MB", peak); peak == 0 {
		ts.Fatalf("the memory of the command was never seen")
	}
	if (peak > most) != not {
		ts.Fatalf("%d MB were in memory", peak)
	}
}

// highWater returns the most memory that a process has had so far, in MB; 0 if it
// has ended. (What wait reports counts the memory of the process that started
// it, which is this one's.)
func highWater(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kilobytes, _ := strconv.ParseInt(fields[0], 10, 64) // of a line that the kernel wrote
	return kilobytes >> 10
}

func lookPath(ts *testscript.TestScript, name string) (string, error) {
	for _, folder := range filepath.SplitList(ts.Getenv("PATH")) {
		if info, err := os.Stat(filepath.Join(folder, name)); err == nil && info.Mode().IsRegular() {
			return filepath.Join(folder, name), nil
		}
	}
	return "", fmt.Errorf("%s is not on the PATH", name)
}

// write FILE TEXT..: writes the texts, in which Go's escapes stand for bytes.
func write(ts *testscript.TestScript, _ bool, args []string) {
	var b strings.Builder
	for _, arg := range args[1:] {
		text, err := strconv.Unquote(`"` + strings.ReplaceAll(arg, `"`, `\"`) + `"`)
		ts.Check(err)
		b.WriteString(text)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o600))
}

// repeat FILE TEXT TIMES: appends the text to the file so many times.
func repeat(ts *testscript.TestScript, _ bool, args []string) {
	times, err := strconv.Atoi(args[2])
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	ts.Check(err)
	text, err := strconv.Unquote(`"` + args[1] + `"`)
	ts.Check(err)
	part := []byte(strings.Repeat(text, 1024))
	for ; times >= 1024; times -= 1024 {
		_, err := f.Write(part)
		ts.Check(err)
	}
	_, err = f.WriteString(strings.Repeat(text, times))
	ts.Check(err)
	ts.Check(f.Close())
}

// truncate FILE BYTES: cuts so many bytes off the end of the file.
func truncate(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), info.Size()-n))
}

// same FOLDER FOLDER [FILE..]: the folders hold the same files (of these
// names, where any are given) with the same bytes.
func same(ts *testscript.TestScript, not bool, args []string) {
	a, b := tree(ts, args[0], args[2:]), tree(ts, args[1], args[2:])
	var differ []string
	for name := range a {
		if b[name] != a[name] {
			differ = append(differ, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			differ = append(differ, name)
		}
	}
	slices.Sort(differ)
	if len(a) == 0 {
		ts.Fatalf("there is nothing to compare")
	}
	if (len(differ) > 0) != not {
		ts.Fatalf("differing files: %q", differ)
	}
}

// sametokens A B: the records of two cohorts have the same tokens, in whatever order.
func sametokens(ts *testscript.TestScript, not bool, args []string) {
	var all [2][]string
	for i, path := range args {
		rows, _, err := cohorttest.Rows(context.Background(), ts.MkAbs(path))
		ts.Check(err)
		for _, row := range rows {
			if row.HasToken {
				all[i] = append(all[i], string(row.Token[:]))
			}
		}
		slices.Sort(all[i])
	}
	if len(all[0]) == 0 {
		ts.Fatalf("there are no tokens to compare")
	}
	if slices.Equal(all[0], all[1]) == not {
		ts.Fatalf("of %d tokens: the same is %v", len(all[0]), !not)
	}
}

func tree(ts *testscript.TestScript, folder string, names []string) map[string]string {
	files := map[string]string{}
	root := ts.MkAbs(folder)
	ts.Check(filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil || len(names) > 0 && !slices.Contains(names, name) {
			return err
		}
		b, err := os.ReadFile(path)
		files[name] = string(b)
		return err
	}))
	return files
}

// noleak FOLDER: no file there or below holds anything of anybody.
func noleak(ts *testscript.TestScript, not bool, args []string) {
	var found []string
	for name, text := range tree(ts, args[0], nil) {
		for _, canary := range leaks(text) {
			found = append(found, name+": "+canary)
		}
	}
	slices.Sort(found)
	if (len(found) > 0) != not {
		ts.Fatalf("found: %q", found)
	}
}

// nofile PATTERN..: no file matches, hidden ones included where the pattern
// begins with a dot.
func nofile(ts *testscript.TestScript, _ bool, args []string) {
	for _, pattern := range args {
		matches, err := filepath.Glob(ts.MkAbs(pattern))
		ts.Check(err)
		if len(matches) > 0 {
			ts.Fatalf("%s is there: %q", pattern, matches)
		}
	}
}

// freeport sets a variable to a loopback address that nobody listens on.
func freeport(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: freeport VARIABLE")
	}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		ts.Fatalf("%v", err)
	}
	ts.Setenv(args[0], socket.Addr().String())
	if err := socket.Close(); err != nil {
		ts.Fatalf("%v", err)
	}
}

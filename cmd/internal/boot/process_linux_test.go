package boot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"tarn/cmd/internal/boot"
)

// TestMain lets the tests start this binary as if it were a product's: signals,
// limits and terminals belong to a process.
func TestMain(m *testing.M) {
	behaviour := os.Getenv("BOOT_TEST_CHILD")
	if behaviour == "" {
		os.Exit(m.Run())
	}
	if behaviour == "bare" {
		panic(planted)
	}
	os.Exit(boot.Main(program(func(env *boot.Environment, c *cobra.Command) error { return child(behaviour, env, c.Context()) })))
}

func child(behaviour string, env *boot.Environment, ctx context.Context) error {
	switch behaviour {
	case "wait": // heeds its context
		fmt.Fprintln(env.Stdout, "ready")
		<-ctx.Done()
		return fmt.Errorf("encoding: %w", ctx.Err())
	case "finished":
		return nil
	case "finish": // completes in spite of the signal
		fmt.Fprintln(env.Stdout, "ready")
		<-ctx.Done()
		return nil
	case "deaf": // does not heed its context
		fmt.Fprintln(env.Stdout, "ready")
		<-ctx.Done()
		fmt.Fprintln(env.Stdout, "cancelled")
		select {}
	case "state":
		var core unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_CORE, &core); err != nil {
			return err
		}
		dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		if err != nil {
			return err
		}
		if err := os.WriteFile(os.Getenv("BOOT_TEST_FILE"), nil, 0o666); err != nil {
			return err
		}
		info, err := os.Stat(os.Getenv("BOOT_TEST_FILE"))
		if err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "core %d %d dumpable %d mode %o", core.Cur, core.Max, dumpable, info.Mode())
		return nil
	case "panic": // in a goroutine that nobody watches, as a library's may
		go func() { panic(errors.New(planted)) }()
		select {}
	case "nested panic":
		go func() {
			defer func() { panic(fmt.Sprintf("%v, and %s", recover(), planted)) }()
			panic(planted)
		}()
		select {}
	case "argument": // the trace of a fault would print it as 0x232a92a6f
		go func() { _ = *unmapped(9434765919) }()
		select {}
	case "mutex":
		new(sync.Mutex).Unlock()
	case "stack":
		deep := 0
		overflow(&deep)
	case "println":
		println(planted)
		return nil
	case "library":
		log.Print(planted)
		slog.Error(planted)
		return nil
	case "progress":
		p := env.Progress("encoding", "rows")
		for i := range int64(4) {
			time.Sleep(110 * time.Millisecond) // the bar draws at most ten times a second
			p.Set(i*250, 1000)
		}
		env.Logger.Warn("halfway")
		p.Done()
		env.Progress("linking", "pairs").Set(1, 2)
		return errors.New("left behind")
	}
	return errors.New("no such behaviour")
}

//go:noinline
func unmapped(number uintptr) *int64 { return nil }

//go:noinline
func overflow(deep *int) {
	if *deep++; *deep > 0 {
		overflow(deep)
	}
}

type process struct {
	*exec.Cmd
	stdout *bufferedReader
	stderr bytes.Buffer
}

type bufferedReader struct{ io.Reader }

// line reads one line; the child writes one at a time.
func (r *bufferedReader) line(t *testing.T) string {
	t.Helper()
	var text []byte
	for one := make([]byte, 1); ; {
		if _, err := io.ReadFull(r, one); err != nil {
			t.Fatalf("reading from the child: %v", err)
		}
		if one[0] == '\n' {
			return string(text)
		}
		text = append(text, one[0])
	}
}

func start(t *testing.T, behaviour string, args ...string) *process {
	t.Helper()
	return startIn(t, nil, behaviour, args...)
}

// startIn starts it with more in its environment.
func startIn(t *testing.T, environment []string, behaviour string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	p := &process{Cmd: exec.CommandContext(ctx, os.Args[0], args...)}
	p.Env = append(append(os.Environ(), environment...), "BOOT_TEST_CHILD="+behaviour)
	p.Stderr = &p.stderr
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = &bufferedReader{out}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func (p *process) exit() int {
	_ = p.Wait() // the exit code says it
	return p.ProcessState.ExitCode()
}

func TestSignals(t *testing.T) {
	tests := []struct {
		command, behaviour string // the command with its flags
		signal             syscall.Signal
		code               int
		stderr             string
	}{
		{"work", "wait", syscall.SIGINT, 130, "error: stopped by SIGINT\n"},
		{"work", "wait", syscall.SIGTERM, 143, "error: stopped by SIGTERM\n"},
		{"resumable", "wait", syscall.SIGTERM, 143, "error: stopped by SIGTERM; run the same command with --resume to go on\n"},
		{"resumable --plan", "wait", syscall.SIGINT, 130, "error: stopped by SIGINT\n"},
		{"work", "finish", syscall.SIGINT, 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.command+" "+tt.behaviour+" "+tt.signal.String(), func(t *testing.T) {
			p := start(t, tt.behaviour, strings.Fields(tt.command)...)
			p.stdout.line(t)
			p.signal(t, tt.signal)
			if code := p.exit(); code != tt.code || p.stderr.String() != tt.stderr {
				t.Errorf("exit %d with %q, want %d with %q", code, p.stderr.String(), tt.code, tt.stderr)
			}
		})
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	p := start(t, "deaf", "work")
	p.stdout.line(t)
	p.signal(t, syscall.SIGTERM)
	p.stdout.line(t) // the first has arrived
	p.signal(t, syscall.SIGINT)
	if code := p.exit(); code != 143 {
		t.Errorf("exit %d, want that of the first signal, 143", code)
	}
}

func TestHardening(t *testing.T) {
	raiseCoreLimit(t)
	file := filepath.Join(t.TempDir(), "new")
	t.Setenv("BOOT_TEST_FILE", file)
	p := start(t, "state", "work")
	text, err := io.ReadAll(p.stdout)
	if err != nil {
		t.Fatal(err)
	}
	if code := p.exit(); code != 0 || string(text) != "core 0 0 dumpable 0 mode 600" {
		t.Errorf("exit %d, state %q, %s", code, text, p.stderr.String())
	}
}

// raiseCoreLimit lets the child inherit a core-file limit that is not 0, so
// that the test sees it lowered.
func raiseCoreLimit(t *testing.T) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &before); err != nil {
		t.Fatal(err)
	}
	raised := unix.Rlimit{Cur: max(before.Max, 4096), Max: max(before.Max, 4096)}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &raised); err != nil {
		t.Logf("the core-file limit cannot be raised here (%v), so that its lowering is not seen", err)
		return
	}
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_CORE, &before) })
}

// TestTheRuntimePrintsNoValue ends processes in ways that no code of theirs can
// recover from, and lets libraries print what they like.
func TestTheRuntimePrintsNoValue(t *testing.T) {
	const withheld = "error: internal failure, at which the process had to end at once "
	tests := []struct {
		behaviour string
		code      int
		stderr    string
	}{
		{"panic", 1, withheld + "(panic, its value withheld because it could hold data); please report it\n"},
		{"nested panic", 1, withheld + "(panic, its value withheld because it could hold data); please report it\n"},
		{"argument", 1, withheld + "(panic, its value withheld because it could hold data); please report it\n"},
		{"mutex", 1, withheld + "(fatal error: sync: unlock of unlocked mutex); please report it\n"},
		{"stack", 1, withheld + "(fatal error: stack overflow); please report it\n"},
		{"println", 0, ""},
		{"library", 0, ""},
	}
	for _, level := range []string{"none", "single", "crash"} { // of the environment, which nothing can lower
		for _, tt := range tests {
			t.Run(tt.behaviour+" "+level, func(t *testing.T) {
				t.Parallel()
				p := startIn(t, []string{"GOTRACEBACK=" + level}, tt.behaviour, "work")
				if code := p.exit(); code != tt.code || p.stderr.String() != tt.stderr {
					t.Errorf("exit %d with %q, want %d with %q", code, p.stderr.String(), tt.code, tt.stderr)
				}
			})
		}
	}
	// Control: without hardening the value is printed, at the lowest level.
	p := startIn(t, []string{"GOTRACEBACK=none"}, "bare", "work")
	if code := p.exit(); code == 0 || !strings.Contains(p.stderr.String(), planted) {
		t.Errorf("exit %d with %q: the search for the planted value is blind", code, p.stderr.String())
	}
}

func TestAHardenedProcessSaysSo(t *testing.T) {
	p := start(t, "finished", "work", "--log-level", "info")
	if code := p.exit(); code != 0 || !strings.Contains(p.stderr.String(), "the process is hardened") {
		t.Errorf("exit %d, %q", code, p.stderr.String())
	}
}

func TestMainReadsSourceDateEpoch(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "soon")
	p := start(t, "finish", "work")
	if code := p.exit(); code != 2 || !strings.Contains(p.stderr.String(), "SOURCE_DATE_EPOCH") {
		t.Errorf("exit %d, %q", code, p.stderr.String())
	}
}

// TestProgressOnATerminal gives the child a pseudo-terminal as its standard
// error; the silent case is TestProgressIsSilentWithoutATerminal.
func TestProgressOnATerminal(t *testing.T) {
	for _, kind := range []string{"xterm", "dumb"} {
		t.Run(kind, func(t *testing.T) {
			control, terminal := openTerminal(t)
			cmd := exec.Command(os.Args[0], "work")
			cmd.Env = append(os.Environ(), "BOOT_TEST_CHILD=progress", "TERM="+kind)
			cmd.Stderr = terminal
			if err := cmd.Run(); cmd.ProcessState.ExitCode() != 1 {
				t.Fatal(err)
			}
			terminal.Close()
			shown, _ := io.ReadAll(control) // ends with EIO once the last holder has closed
			text := string(shown)
			if kind == "dumb" {
				if strings.Contains(text, "encoding") || strings.Contains(text, "linking") {
					t.Errorf("a dumb terminal shows progress: %q", text)
				}
				return
			}
			for _, want := range []string{"encoding", "25%", "250/1000", "rows/s", ":", "linking"} {
				if !strings.Contains(text, want) {
					t.Errorf("the terminal shows %q, which lacks %q", text, want)
				}
			}
			// A message begins on a line of its own, whatever was shown there.
			for _, message := range []string{"time=", "error: internal failure"} {
				if before, _, found := strings.Cut(text, message); !found || !strings.HasSuffix(before, "\r") {
					t.Errorf("%q does not begin on a clear line: %q", message, text)
				}
			}
		})
	}
}

func openTerminal(t *testing.T) (control, terminal *os.File) {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal can be had here: %v", err)
	}
	t.Cleanup(func() { control.Close() })
	if err := unix.IoctlSetPointerInt(int(control.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(control.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(control.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 120}); err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal can be had here: %v", err)
	}
	return control, terminal
}

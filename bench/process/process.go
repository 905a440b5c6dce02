// Package process runs programs as services, in processes of their own: it waits
// until one says that it answers, keeps what it says, and ends it.
package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"tarn/keys/fault"
)

// Options say how a program is started.
type Options struct {
	Folder string // where it runs; empty is this process's
	// Until is what a line of its standard error holds when it answers.
	Until string
	// Within is how long it may take until then.
	Within time.Duration
	// Grace is how long it may take to stop once its context has ended; then it is
	// killed. 0 lets it take as long as it likes.
	Grace time.Duration
}

// Process is a program that was started. It is safe for concurrent use.
type Process struct {
	doing   string
	command *exec.Cmd
	ended   chan struct{} // closed once it has ended, and all that it said was read

	mu   sync.Mutex
	said strings.Builder
}

// Start starts a program and returns when it answers, with the line in which it says
// so. With an error of a program that was started comes the Process, too: it has
// ended, or was killed because it neither answered nor ended. A context that ends
// stops it with SIGTERM.
func Start(ctx context.Context, o Options, name string, args ...string) (p *Process, answer string, err error) {
	p = &Process{doing: "running " + filepath.Base(name), ended: make(chan struct{})}
	if len(args) > 0 {
		p.doing += " " + args[0]
	}
	p.command = exec.CommandContext(ctx, name, args...)
	p.command.Dir = o.Folder
	p.command.Cancel = func() error { return p.command.Process.Signal(syscall.SIGTERM) }
	p.command.WaitDelay = o.Grace
	stderr, err := p.command.StderrPipe()
	if err == nil {
		err = p.command.Start()
	}
	if err != nil {
		return nil, "", fault.Wrap(fault.Unavailable, p.doing, err, "give the path of a program that can be run")
	}
	answers := make(chan string, 1)
	go func() { // to its end, so that the service never waits for a reader
		defer close(p.ended)
		for lines := bufio.NewReader(stderr); ; {
			line, err := lines.ReadString('\n')
			p.mu.Lock()
			p.said.WriteString(line)
			p.mu.Unlock()
			if strings.Contains(line, o.Until) {
				select {
				case answers <- strings.TrimSuffix(line, "\n"):
				default:
				}
			}
			if err != nil {
				break
			}
		}
		_ = p.command.Wait() // how it ended is in its state
	}()
	late := time.NewTimer(o.Within)
	defer late.Stop()
	select {
	case answer = <-answers:
		return p, answer, nil
	case <-p.ended:
		return p, "", fault.New(fault.Internal, p.doing, "it ended before it answered: "+p.Said(), "")
	case <-late.C:
		_ = p.Kill() // that it did not answer is what is said
		return p, "", fault.New(fault.Internal, p.doing, fmt.Sprintf("it did not answer within %v: %s", o.Within, p.Said()), "")
	}
}

// Said returns what it has said on standard error so far.
func (p *Process) Said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.TrimSpace(p.said.String())
}

// Ended is closed once it has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// HasEnded reports whether it has.
func (p *Process) HasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// ID is the process's id.
func (p *Process) ID() int { return p.command.Process.Pid }

// ExitCode is the exit code of a process that has ended, and -1 of one that a signal
// has ended.
func (p *Process) ExitCode() int {
	<-p.ended
	return p.command.ProcessState.ExitCode()
}

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) error {
	if err := p.command.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fault.Wrap(fault.Internal, p.doing, err, "")
	}
	return nil
}

// Kill ends it at once, and returns when it has ended.
func (p *Process) Kill() error {
	err := p.Signal(os.Kill)
	<-p.ended
	return err
}

// Stop ends it with SIGTERM, and returns when it has ended: with an error if that was
// not what ended it.
func (p *Process) Stop() error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if code := p.ExitCode(); code != 0 && code != 128+int(syscall.SIGTERM) {
		return fault.New(fault.Internal, p.doing, fmt.Sprintf("it ended with exit code %d: %s", code, p.Said()), "")
	}
	return nil
}

// Beside returns the path of a program in the folder of this one.
func Beside(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(self), name)
}

// Find returns the path of a program that lies beside this one, or is on the PATH.
func Find(name string) (string, error) {
	if beside := Beside(name); filepath.IsAbs(beside) {
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			return beside, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fault.New(fault.Usage, "looking for "+name, "it lies neither beside tarn nor on the PATH", "build all binaries into one folder: make build")
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", fault.Wrap(fault.Internal, "looking for "+name, err, "")
	}
	return path, nil
}

// FreeAddress is a loopback address that nobody listens on.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fault.Wrap(fault.Internal, "looking for a free port", err, "")
	}
	return l.Addr().String(), l.Close()
}

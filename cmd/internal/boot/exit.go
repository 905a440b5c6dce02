package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"tarn/keys/fault"
)

// report prints what went wrong and returns the exit code. A command that
// finished its work in spite of a signal has finished: its code is 0.
func report(ctx context.Context, stderr io.Writer, command *cobra.Command, err error) int {
	if err == nil {
		return 0
	}
	var stopped interrupt
	if errors.As(context.Cause(ctx), &stopped) {
		next := ""
		if leavesWork(command) {
			next = "; run the same command with --resume to go on"
		}
		fmt.Fprintf(stderr, "error: stopped by %s%s\n", stopped.name(), next)
		return stopped.code()
	}
	fmt.Fprintf(stderr, "error: %s\n", Describe(err))
	return int(fault.KindOf(err))
}

// leavesWork reports whether a command that is stopped goes on with --resume:
// one that only plans has nothing to go on with.
func leavesWork(command *cobra.Command) bool {
	if command == nil || command.Flags().Lookup("resume") == nil {
		return false
	}
	plan := command.Flags().Lookup("plan")
	return plan == nil || plan.Value.String() != "true"
}

// Describe returns the text of an error as far as its type is known to hold
// no data value: faults, and the errors of the operating system and of
// contexts. Of a wrapped error it returns the known inside, of joined errors
// each. The text of any other error is withheld, and its type given instead.
func Describe(err error) string {
	switch e := err.(type) {
	case nil:
		return "none"
	case *fault.Error, *fs.PathError, *os.LinkError, *os.SyscallError, syscall.Errno, *net.OpError:
		return e.Error()
	case interface{ Unwrap() []error }:
		var texts []string
		for _, inner := range e.Unwrap() {
			texts = append(texts, Describe(inner))
		}
		return strings.Join(texts, "\nerror: ")
	}
	switch {
	case err == context.Canceled, err == context.DeadlineExceeded, err == io.ErrUnexpectedEOF, err == fs.ErrClosed:
		return err.Error()
	}
	if inner := errors.Unwrap(err); inner != nil {
		return Describe(inner)
	}
	return fmt.Sprintf("internal failure of type %T (its text is withheld, because it could hold data)", err)
}

// reportPanic prints where a panic happened and nothing of its value, which
// could hold data; the trace has no arguments for the same reason. Only the
// type of the value is named.
func reportPanic(stderr io.Writer, value any) int {
	fmt.Fprintf(stderr, "error: internal failure (panic with a value of type %T, withheld because it could hold data); please report the lines below\n", value)
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	for {
		frame, more := frames.Next()
		fmt.Fprintf(stderr, "  %s\n      %s:%d\n", frame.Function, frame.File, frame.Line)
		if !more {
			return int(fault.Internal)
		}
	}
}

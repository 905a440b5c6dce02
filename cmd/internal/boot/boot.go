// Package boot is what every Tarn binary does before and after its own work:
// it builds the environment a command runs in (streams, logger, clock,
// randomness, progress), stops it on a signal, and turns what it returns into
// a message on standard error and an exit code.
//
// It promises that nothing a command hands back can put a data value on the
// terminal or in a log by accident: an error's text is printed only when its
// type is known to hold none, a panic's value never, and a log attribute only
// when its key is on a written list.
//
// Only mains import it. A main is
//
//	func main() { os.Exit(boot.Main(command)) }
//
// where command builds the root cobra.Command from the environment.
package boot

import (
	"context"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
)

// Main runs a binary: it hardens the process, makes new files private,
// listens for signals and calls Run with the process's own arguments and
// streams. It returns the exit code.
func Main(command func(*Environment) *cobra.Command) int {
	hardened := &hardening{lacking: harden()}
	// What a library logs of its own accord may hold anything.
	slog.SetDefault(slog.New(slog.DiscardHandler))
	ctx, stop := withSignals(context.Background(), os.Exit)
	defer stop()
	return run(ctx, command, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, hardened)
}

// Run builds the environment and the command, executes it with args (without
// the program's name) and returns the exit code: 0, one of fault's kinds, or
// 130 or 143 when the context was cancelled by a signal. It changes nothing of
// the process, so tests may call it.
func Run(ctx context.Context, command func(*Environment) *cobra.Command, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	return run(ctx, command, args, stdin, stdout, stderr, nil)
}

func run(ctx context.Context, command func(*Environment) *cobra.Command, args []string, stdin io.Reader, stdout, stderr io.Writer, hardened *hardening) (code int) {
	env, err := newEnvironment(stdin, stdout, stderr, os.LookupEnv)
	if err != nil {
		return report(ctx, stderr, nil, err)
	}
	env.hardening = hardened
	defer func() {
		if value := recover(); value != nil {
			code = reportPanic(env.Stderr, value)
		}
	}()
	root := command(env)
	if args == nil {
		args = []string{} // nil would make cobra take the process's own
	}
	ran, err := execute(ctx, env, root, args)
	env.screen.close()
	return report(ctx, stderr, ran, err)
}

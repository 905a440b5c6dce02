package boot

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"strconv"
	"time"

	"tarn/keys"
	"tarn/keys/fault"
)

// Environment is everything a command takes from outside its arguments. A
// command uses nothing else of the process, which makes it testable.
type Environment struct {
	Stdin  io.Reader
	Stdout io.Writer // results only
	Stderr io.Writer // messages; takes a progress line away before it writes

	// Logger writes to Stderr, through the list of allowed keys (see
	// NewLogger). Its level and format are set by --log-level and
	// --log-format.
	Logger *slog.Logger

	// Clock gives the time that documents carry, in UTC. With
	// SOURCE_DATE_EPOCH set (whole seconds since 1970, the convention of
	// reproducible-builds.org) it stands still at that time, so that a run can
	// be repeated byte for byte.
	Clock func() time.Time

	// Wall gives the real time, in UTC, whatever SOURCE_DATE_EPOCH says. What
	// measures a duration or guards an expiry uses this one.
	Wall func() time.Time

	// Rand is the operating system's random source.
	Rand io.Reader

	hardening *hardening // nil where Main did not start this

	screen     *screen
	logOptions *logOptions
}

func newEnvironment(stdin io.Reader, stdout, stderr io.Writer, lookup func(string) (string, bool)) (*Environment, error) {
	clock, err := clockFrom(lookup)
	if err != nil {
		return nil, err
	}
	options := newLogOptions()
	shared := &screen{to: stderr}
	return &Environment{
		Stdin: stdin, Stdout: stdout, Stderr: shared,
		Logger:     slog.New(newSwitchHandler(shared, options)),
		Clock:      clock,
		Wall:       wall,
		Rand:       rand.Reader,
		screen:     shared,
		logOptions: options,
	}, nil
}

// hardening is how harden went.
type hardening struct {
	lacking []string
	said    bool
}

// Hardened reports whether the system refuses core files of this process and
// debuggers.
func (env *Environment) Hardened() bool {
	return env.hardening != nil && len(env.hardening.lacking) == 0
}

// SayHardened says, once, how the process was hardened: what a system does not allow,
// a container's policy say, its administrator is to know. Every command says it when it
// begins; one whose configuration sets the log's level calls it again.
func (env *Environment) SayHardened() {
	h := env.hardening
	if h == nil || h.said {
		return
	}
	if env.Hardened() {
		h.said = env.Logger.Enabled(context.Background(), slog.LevelInfo)
		env.Logger.Info("the process is hardened: no core file, no debugger, no value in what the runtime says")
		return
	}
	h.said = env.Logger.Enabled(context.Background(), slog.LevelWarn)
	for _, lacking := range h.lacking {
		env.Logger.Warn("the process is not hardened: what it has in memory could reach a disk or a debugger", "reason", lacking)
	}
}

// PrintJSON prints a document as a result.
func (env *Environment) PrintJSON(document any) error {
	b, err := keys.Encode(document)
	if err != nil {
		return err
	}
	_, err = env.Stdout.Write(b)
	return err
}

func wall() time.Time { return time.Now().UTC() }

// clockFrom returns the wall clock, or one that stands still at
// SOURCE_DATE_EPOCH.
func clockFrom(lookup func(string) (string, bool)) (func() time.Time, error) {
	text, set := lookup("SOURCE_DATE_EPOCH")
	if !set || text == "" {
		return wall, nil
	}
	const last = 253402300799 // 9999-12-31T23:59:59Z: later years do not fit RFC 3339
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 || seconds > last {
		return nil, fault.New(fault.Usage, "reading the environment",
			"SOURCE_DATE_EPOCH is not a whole number of seconds since 1970",
			"unset it, or set it to the output of: git log -1 --format=%ct")
	}
	fixed := time.Unix(seconds, 0).UTC()
	return func() time.Time { return fixed }, nil
}

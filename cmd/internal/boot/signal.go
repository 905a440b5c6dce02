package boot

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// interrupt is the cause of a context that a signal cancelled.
type interrupt struct{ signal syscall.Signal }

func (i interrupt) Error() string { return "stopped by " + i.name() }

func (i interrupt) name() string {
	if i.signal == syscall.SIGINT {
		return "SIGINT"
	}
	return "SIGTERM"
}

// code is the shell's convention: 128 and the signal's number.
func (i interrupt) code() int { return 128 + int(i.signal) }

// withSignals returns a context that the first SIGINT or SIGTERM cancels; the
// second ends the process at once through exit, for work that does not heed
// its context. Outputs appear under their names only when complete, so an
// abrupt end leaves no half-written one.
func withSignals(parent context.Context, exit func(int)) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	arrived := make(chan os.Signal, 2)
	signal.Notify(arrived, syscall.SIGINT, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		var first *interrupt
		for {
			select {
			case <-done:
				return
			case s := <-arrived:
				if first != nil {
					exit(first.code())
					return
				}
				first = &interrupt{s.(syscall.Signal)}
				cancel(*first)
			}
		}
	}()
	return ctx, func() {
		signal.Stop(arrived)
		close(done)
		cancel(nil)
	}
}

// Reloads returns a channel on which SIGHUP asks a service to read its configuration
// again, until stop. Of several that come at one time one is heard.
func Reloads() (asked <-chan struct{}, stop func()) {
	arrived, heard, done := make(chan os.Signal, 1), make(chan struct{}, 1), make(chan struct{})
	signal.Notify(arrived, syscall.SIGHUP)
	go func() {
		for {
			select {
			case <-done:
				return
			case <-arrived:
				select {
				case heard <- struct{}{}:
				default:
				}
			}
		}
	}()
	return heard, func() {
		signal.Stop(arrived)
		close(done)
	}
}

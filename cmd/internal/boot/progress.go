package boot

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Progress shows how far a job is, with its rate and the time left, where the
// messages go to a terminal; elsewhere it is silent. Its methods may be called
// from several goroutines. Domain packages take its Set as a plain
// func(done, total int64).
type Progress struct {
	screen *screen
	bar    *progressbar.ProgressBar // nil where silent
	total  int64
}

// Progress starts a progress line, such as ("encoding", "rows"). It takes the
// place of an earlier one.
func (e *Environment) Progress(label, unit string) *Progress {
	p := &Progress{screen: e.screen, total: -1}
	if !isTerminal(e.screen.to) {
		return p
	}
	p.bar = newBar(e.screen.to, label, unit)
	e.screen.mu.Lock()
	defer e.screen.mu.Unlock()
	e.screen.hide(e.screen.bar)
	e.screen.bar = p.bar
	return p
}

func newBar(w io.Writer, label, unit string) *progressbar.ProgressBar {
	return progressbar.NewOptions64(-1,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(label),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionSetItsString(unit),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetSpinnerChangeInterval(0), // else a goroutine draws, and races with Clear
		progressbar.OptionClearOnFinish(),
	)
}

// Set says that done of total units are finished. A total below 1 is unknown.
func (p *Progress) Set(done, total int64) {
	p.screen.mu.Lock()
	defer p.screen.mu.Unlock()
	if p.bar == nil || p.bar != p.screen.bar {
		return // silent, done, or another line has taken its place
	}
	if total < 1 {
		total = -1
	}
	if total != p.total {
		p.bar.ChangeMax64(total)
		p.total = total
	}
	_ = p.bar.Set64(done) // a terminal that cannot be written to is no reason to stop
}

// Done takes the line away. It may be called more than once.
func (p *Progress) Done() {
	p.screen.mu.Lock()
	defer p.screen.mu.Unlock()
	p.screen.hide(p.bar)
}

// isTerminal reports whether w is a terminal that understands line control.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

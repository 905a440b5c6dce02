package boot

import (
	"io"
	"sync"

	"github.com/schollz/progressbar/v3"
)

// screen is standard error as messages and a progress line share it: the line
// is taken away before a message is written, and drawn again when it moves.
type screen struct {
	mu  sync.Mutex
	to  io.Writer
	bar *progressbar.ProgressBar // the line that is shown; nil where none is
}

// Write writes a message.
func (s *screen) Write(message []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bar != nil {
		_ = s.bar.Clear() // a terminal that cannot be cleared may still take the message
	}
	return s.to.Write(message)
}

// close takes away a line that was left behind.
func (s *screen) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hide(s.bar)
}

// hide takes a line away, for good where it is the one shown.
func (s *screen) hide(bar *progressbar.ProgressBar) {
	if bar == nil || bar != s.bar {
		return
	}
	_ = bar.Clear() // see Write
	s.bar = nil
}

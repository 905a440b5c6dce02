package stream

import (
	"bytes"
	"errors"
	"io"
)

// Window is the part of a stream that is looked at: bytes are added at its end
// and taken from its front. It grows as long as nothing is taken.
type Window struct {
	in         io.Reader
	buffer     []byte
	start, end int
	err        error
	taken      int64
}

const firstWindow = 64 << 10

// NewWindow returns an empty window on a stream.
func NewWindow(in io.Reader) *Window { return &Window{in: in, buffer: make([]byte, firstWindow)} }

// Bytes returns what is in the window, valid until More is called.
func (w *Window) Bytes() []byte { return w.buffer[w.start:w.end] }

// Taken returns the number of bytes that were taken from the front so far.
func (w *Window) Taken() int64 { return w.taken }

// Take takes n bytes from the front.
func (w *Window) Take(n int) {
	w.start += n
	w.taken += int64(n)
}

// More adds at least one byte, or returns why it cannot: io.EOF at the end.
func (w *Window) More() error {
	if w.err != nil {
		return w.err
	}
	if w.end == len(w.buffer) {
		w.makeRoom()
	}
	for range 100 {
		n, err := w.in.Read(w.buffer[w.end:])
		w.end += n
		w.err = err
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	w.err = io.ErrNoProgress
	return w.err
}

func (w *Window) makeRoom() {
	unread := w.buffer[w.start:w.end]
	to := w.buffer
	if 2*len(unread) > len(w.buffer) {
		to = make([]byte, 2*len(w.buffer))
	}
	w.end = copy(to, unread)
	w.buffer, w.start = to, 0
}

// LineAt returns the end, behind its line feed, of the line that begins at
// from in the window, reading on as needed; at the end of the stream it is the
// end of what there is. ok is false where the line is longer than limit bytes:
// its end is then not looked for.
func (w *Window) LineAt(from, limit int) (end int, ok bool, err error) {
	for seen := from; ; {
		b := w.Bytes()
		if i := bytes.IndexByte(b[seen:], '\n'); i >= 0 {
			end = seen + i + 1
			return end, end-from <= limit, nil
		}
		if seen = len(b); seen-from > limit {
			return 0, false, nil
		}
		if err := w.More(); errors.Is(err, io.EOF) {
			return seen, true, nil
		} else if err != nil {
			return 0, false, err
		}
	}
}

// SkipLine takes what is left of the line at the front, its line feed
// included, without keeping it.
func (w *Window) SkipLine() error {
	for {
		b := w.Bytes()
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			w.Take(i + 1)
			return nil
		}
		w.Take(len(b))
		if err := w.More(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// SkipByteOrderMark takes the mark U+FEFF from the front where it is there.
// Nothing may have been taken before.
func (w *Window) SkipByteOrderMark() ([]byte, error) {
	mark := []byte("\ufeff")
	for len(w.Bytes()) < len(mark) {
		if err := w.More(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
	}
	if !bytes.HasPrefix(w.Bytes(), mark) {
		return nil, nil
	}
	w.Take(len(mark))
	return mark, nil
}

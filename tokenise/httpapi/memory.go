package httpapi

import (
	"bytes"
	"context"

	"golang.org/x/sync/semaphore"

	"tarn/keys/api"
)

// stage is what a request takes memory for. Each has a quarter of the whole. A request goes
// through them in this order and waits for its turn in each, so that of those that wait none
// waits for another that waits for it.
type stage int

const (
	reading   stage = iota // its body, as it is sent
	unpacking              // what that holds
	decoding               // its rows
	answering              // the answer, until it is written
	stages
)

// decodedSize is how much memory the texts of a body take, as a multiple of its bytes;
// smallest is what any request takes, in bytes.
const (
	decodedSize = 3
	smallest    = 16 << 10
)

// memory is what all requests together may take.
type memory struct {
	stages  [stages]*semaphore.Weighted
	each    int64         // bytes of a stage
	growing chan struct{} // has the one body that holds memory and waits for more
}

func newMemory(bytes int64) *memory {
	m := &memory{each: bytes / int64(stages), growing: make(chan struct{}, 1)}
	for i := range m.stages {
		m.stages[i] = semaphore.NewWeighted(m.each)
	}
	return m
}

// reservation is the part of the memory that is set aside for a request.
type reservation struct {
	memory *memory
	held   [stages]int64
}

// take sets aside so much for a stage, or all that it has, and waits for it.
func (r *reservation) take(ctx context.Context, at stage, bytes int64) error {
	bytes = min(bytes, r.memory.each)
	if r.memory.stages[at].Acquire(ctx, bytes) != nil {
		return busy()
	}
	r.held[at] += bytes
	return nil
}

// keep gives back what a stage turned out not to need.
func (r *reservation) keep(at stage, bytes int64) {
	if more := r.held[at] - bytes; more > 0 {
		r.memory.stages[at].Release(more)
		r.held[at] -= more
	}
}

// grow sets aside so much in all for a body, as it comes: one that says that it is long and
// comes slowly, or never, keeps nothing from others. One that has nothing yet waits for its
// turn. Of those that have some already only one waits at a time, since all could wait for
// each other; the others are refused, and come again.
func (r *reservation) grow(ctx context.Context, bytes int64) error {
	m := r.memory
	more := min(bytes, m.each) - r.held[reading]
	switch {
	case more <= 0:
		return nil
	case r.held[reading] == 0:
		return r.take(ctx, reading, more)
	case m.stages[reading].TryAcquire(more):
		r.held[reading] += more
		return nil
	}
	select {
	case m.growing <- struct{}{}:
		defer func() { <-m.growing }()
		return r.take(ctx, reading, more)
	default:
		return busy()
	}
}

// release gives back all that was set aside.
func (r *reservation) release() {
	for i := range r.held {
		r.keep(stage(i), 0)
	}
}

func busy() *problem {
	return refuse(api.CodeBusy, "requests that came before take all memory", "send it again with the same X-Request-ID, a little later").after(again)
}

// heldFrom is from how many bytes on an answer keeps its memory set aside until it is
// written: whoever reads slowly keeps it from others.
const heldFrom = 64 << 10

// What is used again of large answers' buffers: so many, of at most so many bytes.
const (
	keptAnswers = 16
	keptAnswer  = 4 << 20
)

// written is an answer on its way out.
type written struct {
	bytes.Reader
	server *Server
	answer []byte
	memory reservation
}

// Close gives back what the answer took: it is written, or nobody reads it.
func (w *written) Close() error {
	w.memory.release()
	w.server.keepAnswer(w.answer)
	w.answer = nil
	w.Reset(nil)
	return nil
}

// keepAnswer keeps the buffer of a large answer for the following one.
func (s *Server) keepAnswer(answer []byte) {
	if cap(answer) < heldFrom || cap(answer) > keptAnswer {
		return
	}
	select {
	case s.answers <- answer[:0]:
	default:
	}
}

// hold makes an answer the response's body, and has it keep the request's memory until it
// is written.
func (s *Server) hold(e *exchange, answer []byte, memory *reservation) {
	w := &written{server: s, answer: answer, memory: reservation{memory: s.memory}}
	w.memory.held[answering], memory.held[answering] = memory.held[answering], 0
	w.Reset(answer)
	e.ctx.Response.SetBodyStream(w, len(answer))
}

// takeAnswer returns a buffer for an answer of about so many bytes.
func (s *Server) takeAnswer(e *exchange, size int) []byte {
	if size >= heldFrom {
		select {
		case answer := <-s.answers:
			return answer
		default:
		}
	}
	return e.ctx.Response.SwapBody(nil)[:0]
}

package cmd_test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// harm is what a [cutter] does to a connection: always while the second batch of rows is
// under way on it, so that the connection has been good before.
type harm string

const (
	harmNone    harm = ""
	harmRefuse  harm = "closed at once"
	harmRequest harm = "cut in the middle of the request" // the only one that is not answered behind the cutter
	harmLost    harm = "cut when the request was answered, before the answer is through"
	harmMiddle  harm = "cut in the middle of the answer"
	harmReset   harm = "reset when the request was answered"
	harmStall   harm = "silent for ever when the request was answered"
)

// Sizes of what the tests send, in bytes as they are on the network: handshake and one batch
// are below secondBatch, with the whole of a second one above; an answer has more than
// partOfAnswer.
const (
	secondBatch  = 30_000
	partOfAnswer = 10_000
)

// cutter is a proxy before a service that harms connections, each in the order in which
// they come as it is told; all that come later pass. It knows nothing of TLS.
type cutter struct {
	socket net.Listener
	target string
	work   sync.WaitGroup

	mu      sync.Mutex
	harms   []harm
	seen    int           // connections
	open    []net.Conn    // to be closed at the end
	stalled chan struct{} // one for each answer that is held back
}

func newCutter(t *testing.T, target string, harms ...harm) *cutter {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c := &cutter{socket: socket, target: target, harms: harms, stalled: make(chan struct{}, len(harms))}
	c.work.Go(func() {
		for {
			connection, err := socket.Accept()
			if err != nil {
				return
			}
			c.work.Go(func() { c.connection(connection) })
		}
	})
	t.Cleanup(c.close)
	return c
}

func (c *cutter) url() string { return "https://" + c.socket.Addr().String() }

// left returns how many harms were not done.
func (c *cutter) left() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(0, len(c.harms)-c.seen)
}

func (c *cutter) close() {
	_ = c.socket.Close()
	c.mu.Lock()
	for _, connection := range c.open {
		_ = connection.Close() // most are closed
	}
	c.mu.Unlock()
	c.work.Wait()
}

func (c *cutter) connection(from net.Conn) {
	defer from.Close()
	c.mu.Lock()
	does := harmNone
	if c.seen < len(c.harms) {
		does = c.harms[c.seen]
	}
	c.seen++
	c.open = append(c.open, from)
	c.mu.Unlock()
	if does == harmRefuse {
		return
	}
	to, err := net.Dial("tcp", c.target)
	if err != nil {
		return
	}
	defer to.Close()
	second := make(chan struct{}) // closed when the second batch is under way
	over := make(chan struct{})
	go func() {
		defer close(over)
		c.sent(does, from, to, second)
	}()
	c.answered(does, from, to, second)
	_, _ = from.Close(), to.Close()
	<-over
}

// sent hands on what the client sends.
func (c *cutter) sent(does harm, from, to net.Conn, second chan<- struct{}) {
	buffer, sum := make([]byte, 4096), 0
	for {
		n, err := from.Read(buffer)
		if err != nil {
			_ = to.Close()
			return
		}
		if before := sum; before <= secondBatch && before+n > secondBatch {
			close(second)
			if does == harmRequest {
				_, _ = from.Close(), to.Close()
				return
			}
		}
		sum += n
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// answered hands on what the service answers, until harm is due.
func (c *cutter) answered(does harm, from, to net.Conn, second <-chan struct{}) {
	buffer, held := make([]byte, 4096), 0
	for {
		n, err := to.Read(buffer)
		if err != nil {
			return
		}
		due := false
		select {
		case <-second:
			due = does == harmLost || does == harmReset || does == harmStall || does == harmMiddle && held >= partOfAnswer/2
			held += n
		default:
		}
		if !due {
			if _, err := from.Write(buffer[:n]); err != nil {
				return
			}
			continue
		}
		if held < partOfAnswer {
			continue
		}
		switch does {
		case harmReset:
			_ = from.(*net.TCPConn).SetLinger(0) // it is reset then
		case harmStall:
			c.stalled <- struct{}{}
			_, _ = io.Copy(io.Discard, to) // until either side ends it
		}
		return
	}
}

// Package load sends requests to a tokenise service: over kept-alive connections, at a
// rate that does not wait for the answers (open loop), or one after another. Only an open
// loop tells how long answers take: who waits for an answer before the next question asks
// less while the service stalls.
package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"tarn/bench/measure"
)

// Target is a service, and who calls it.
type Target struct {
	Address string // host:port
	Path    string // with its query
	TLS     *tls.Config
}

// TLS reads who calls a service of whose authority.
func TLS(ca, cert, key string) (*tls.Config, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("load: the authority's file holds no certificate")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: []tls.Certificate{pair}, ServerName: "localhost"}, nil
}

// Request is what is sent again and again, each time under an id of its own.
type Request struct {
	Media  string
	Header map[string]string // more of it
	Body   []byte
	Rows   int
}

// Answer is what came.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // good until the connection's next request
}

// ErrShort says that an answer began and did not come to its end.
var ErrShort = errors.New("load: an answer ended before its end")

// Conn is a kept-alive connection. It is for one goroutine.
type Conn struct {
	target Target
	c      net.Conn
	r      *bufio.Reader
	head   bytes.Buffer
	body   bytes.Buffer
	random *rand.Rand
}

// NewConn makes a connection, which opens with its first request. Ids are drawn from the seed.
func NewConn(t Target, seed uint64) *Conn {
	return &Conn{target: t, random: rand.New(rand.NewPCG(seed, seed>>7))}
}

// ID returns a new request id.
func (c *Conn) ID() string {
	var b [16]byte
	for i := 0; i < 16; i += 8 {
		v := c.random.Uint64()
		for j := range 8 {
			b[i+j] = byte(v >> (8 * j))
		}
	}
	b[6], b[8] = b[6]&15|0x40, b[8]&63|0x80
	x := hex.EncodeToString(b[:])
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

// Close closes the connection. A later request opens it again.
func (c *Conn) Close() {
	if c.c != nil {
		_ = c.c.Close() // nothing is left to say
		c.c = nil
	}
}

// Do sends a request under an id and reads its answer. After an error the connection is
// closed.
func (c *Conn) Do(r *Request, id string, within time.Duration) (a Answer, err error) {
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if c.c == nil {
		dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: within}, Config: c.target.TLS}
		if c.c, err = dialer.Dial("tcp", c.target.Address); err != nil {
			return a, err
		}
		c.r = bufio.NewReaderSize(c.c, 64<<10)
	}
	if err := c.c.SetDeadline(time.Now().Add(within)); err != nil {
		return a, err
	}
	c.head.Reset()
	fmt.Fprintf(&c.head, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nX-Request-ID: %s\r\nContent-Length: %d\r\n", c.target.Path, r.Media, id, len(r.Body))
	for name, value := range r.Header {
		fmt.Fprintf(&c.head, "%s: %s\r\n", name, value)
	}
	c.head.WriteString("\r\n")
	c.head.Write(r.Body)
	if _, err := c.c.Write(c.head.Bytes()); err != nil {
		return a, err
	}
	answer, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return a, err
	}
	defer func() { _ = answer.Body.Close() }() // it is read to its end
	c.body.Reset()
	if _, err := io.Copy(&c.body, answer.Body); err != nil {
		return a, fmt.Errorf("%w: %w", ErrShort, err)
	}
	a = Answer{Status: answer.StatusCode, Header: answer.Header, Body: c.body.Bytes()}
	if answer.Close {
		c.Close()
	}
	return a, nil
}

// Result is what became of a load.
type Result struct {
	Answered int64
	Failed   int64 // without an answer, or with another than 200
	Rows     int64
	Took     time.Duration
	Latency  *hdrhistogram.Histogram // microseconds, from when a request was due
	CPU      float64                 // seconds of the server
}

// Closed sends requests over so many connections, each after the answer to the one before,
// for a time.
func Closed(ctx context.Context, t Target, r *Request, connections int, span time.Duration, pid int) (*Result, error) {
	return run(ctx, t, r, connections, pid, func(begun time.Time, ask func(due time.Time, c *Conn)) {
		var work sync.WaitGroup
		for i := range connections {
			work.Go(func() {
				c := NewConn(t, uint64(i)+uint64(begun.UnixNano()))
				defer c.Close()
				for time.Since(begun) < span && ctx.Err() == nil {
					ask(time.Now(), c)
				}
			})
		}
		work.Wait()
	})
}

// Open sends requests at a rate a second for a time, whatever the answers take, over so
// many connections.
func Open(ctx context.Context, t Target, r *Request, connections int, rate float64, span time.Duration, pid int) (*Result, error) {
	return run(ctx, t, r, connections, pid, func(begun time.Time, ask func(due time.Time, c *Conn)) {
		due := make(chan time.Time, int(rate*span.Seconds())+1)
		var work sync.WaitGroup
		for i := range connections {
			work.Go(func() {
				c := NewConn(t, uint64(i)+uint64(begun.UnixNano()))
				defer c.Close()
				for at := range due {
					ask(at, c)
				}
			})
		}
		for i := range int(rate * span.Seconds()) {
			at := begun.Add(time.Duration(float64(i) / rate * float64(time.Second)))
			if wait := time.Until(at); wait > 0 {
				time.Sleep(wait)
			}
			if ctx.Err() != nil {
				break
			}
			due <- at
		}
		close(due)
		work.Wait()
	})
}

// answerWithin is when an answer has failed to come.
const answerWithin = 30 * time.Second

func run(ctx context.Context, t Target, r *Request, connections, pid int, drive func(begun time.Time, ask func(due time.Time, c *Conn))) (*Result, error) {
	result := &Result{Latency: measure.NewHistogram()}
	var mu sync.Mutex
	var answered, failed, rows atomic.Int64
	before, err := CPUOf(pid)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	drive(begun, func(due time.Time, c *Conn) {
		a, err := c.Do(r, c.ID(), answerWithin)
		if err != nil || a.Status != http.StatusOK {
			failed.Add(1)
			return
		}
		answered.Add(1)
		rows.Add(int64(r.Rows))
		took := max(1, time.Since(due).Microseconds())
		mu.Lock()
		defer mu.Unlock()
		_ = result.Latency.RecordValue(took) // beyond a minute it has failed
	})
	result.Took = time.Since(begun)
	after, err := CPUOf(pid)
	if err != nil {
		return nil, err
	}
	result.CPU = after - before
	result.Answered, result.Failed, result.Rows = answered.Load(), failed.Load(), rows.Load()
	return result, ctx.Err()
}

// clockTicks is how many ticks of /proc/PID/stat make a second on Linux.
const clockTicks = 100

// CPUOf returns the processor time of a process, in seconds: what getrusage says of it.
func CPUOf(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return 0, errors.New("load: the system does not say what a process took")
	}
	user, err := strconv.ParseFloat(fields[11], 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseFloat(fields[12], 64)
	return (user + system) / clockTicks, err
}

// Get asks a service for a document, over a connection of its own.
func Get(ctx context.Context, t Target, path string) (body []byte, status int, err error) {
	c := &http.Client{Timeout: answerWithin, Transport: &http.Transport{TLSClientConfig: t.TLS, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+t.Address+path, nil)
	if err != nil {
		return nil, 0, err
	}
	answer, err := c.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = answer.Body.Close() }() // read to its end below
	body, err = io.ReadAll(io.LimitReader(answer.Body, mostRead))
	return body, answer.StatusCode, err
}

// mostRead bounds what Get reads.
const mostRead = 64 << 20

package faults

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tarn/bench/measure"
	"tarn/bench/tokeniser"
)

func asTimeout(err error, network *net.Error) bool { return errors.As(err, network) }

// slowTimeout is within what time a request must have come here.
const slowTimeout = 3 * time.Second

// second is the request that a smuggler hides in another.
const second = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"

// smuggled are requests of which two readers could think that they end in different places,
// each with another hidden behind it.
func smuggled(path string) map[string]string {
	head := "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Request-ID: 00000000-0000-4000-8000-00000000c0de\r\n"
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(`{"rows":[]}`), `{"rows":[]}`)
	return map[string]string{
		"length and chunks":             head + fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n", len(chunk)) + chunk + second,
		"length of nothing, and chunks": head + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second,
		"chunks and length":             head + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + second,
		"two lengths":                   head + "Content-Length: 0\r\nContent-Length: 40\r\n\r\n" + second,
		"two equal lengths":             head + "Content-Length: 11\r\nContent-Length: 11\r\n\r\n" + `{"rows":[]}` + second,
		"a list of lengths":             head + "Content-Length: 11, 11\r\n\r\n" + `{"rows":[]}` + second,
		"a length with a sign":          head + "Content-Length: +11\r\n\r\n" + `{"rows":[]}` + second,
		"a negative length":             head + "Content-Length: -1\r\n\r\n" + second,
		"a hexadecimal length":          head + "Content-Length: 0xb\r\n\r\n" + `{"rows":[]}` + second,
		"a length beyond 64 bits":       head + "Content-Length: 18446744073709551617\r\n\r\n" + second,
		"a space before the colon":      head + "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + second,
		"another coding":                head + "Transfer-Encoding: xchunked\r\n\r\n" + chunk + second,
		"two codings":                   head + "Transfer-Encoding: chunked, identity\r\n\r\n" + chunk + second,
		"a coding twice":                head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + chunk + second,
		"a folded header":               head + "Transfer-Encoding:\r\n chunked\r\n\r\n" + chunk + second,
		"a tab before the coding":       head + "Transfer-Encoding:\x0bchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + second,
		"a chunk that lies":             head + "Transfer-Encoding: chunked\r\n\r\n3\r\n" + `{"rows":[]}` + "\r\n0\r\n\r\n" + second,
		"a chunk beyond 64 bits":        head + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n" + second,
		"a chunk with a sign":           head + "Transfer-Encoding: chunked\r\n\r\n-1\r\n" + second,
		"a line feed alone":             strings.ReplaceAll(head, "\r\n", "\n") + "Content-Length: 0\nTransfer-Encoding: chunked\n\n0\r\n\r\n" + second,
		"a NUL in a header":             head + "X-A: b\x00c\r\nContent-Length: 11\r\n\r\n" + `{"rows":[]}` + second,
		"a length in a trailer":         head + "Transfer-Encoding: chunked\r\n\r\nb\r\n" + `{"rows":[]}` + "\r\n0\r\nContent-Length: 40\r\n\r\n" + second,
		"a body with a GET":             "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + fmt.Sprint(len(second)) + "\r\n\r\n" + second,
		"HTTP/1.0 and chunks":           strings.Replace(head, "HTTP/1.1", "HTTP/1.0", 1) + "Transfer-Encoding: chunked\r\n\r\n" + chunk + second,
		"HTTP/2 in the clear":           "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + second,
	}
}

// unambiguous are those of them that end in one place: the request behind is one of its own.
var unambiguous = map[string]bool{"a length in a trailer": true, "two equal lengths": false}

// abused is scenario 16.
func abused(t *Trial) error {
	s, err := t.trialService("abused", tokeniser.Options{Limits: fmt.Sprintf("timeout = %q\n", slowTimeout)})
	if err != nil {
		return err
	}
	path := "/v1/projects/" + s.project + "/tokenise"
	ask := func(text string) (statuses []int, closed bool, err error) {
		c, err := s.raw()
		if err != nil {
			return nil, false, err
		}
		defer func() { _ = c.Close() }() // the service may have closed it
		if _, err := c.Write([]byte(text)); err != nil {
			return nil, true, nil
		}
		statuses, closed = answersTo(c, time.Second)
		return statuses, closed, nil
	}
	t.note("smuggled requests")
	// Control: two requests that are two are answered twice.
	statuses, _, err := ask(strings.Repeat(second, 2))
	if err != nil {
		return err
	}
	t.control(len(statuses) == 2 && statuses[0] == 200 && statuses[1] == 200, "two well-formed requests, one behind the other, are answered with two answers", "%v", statuses)
	tried := 0
	for what, text := range smuggled(path) {
		statuses, closed, err := ask(text)
		if err != nil {
			return err
		}
		tried++
		most := 1
		if unambiguous[what] {
			most = 2
		}
		t.check(len(statuses) <= most && (closed || len(statuses) > 0) && !contains500(statuses), "a request that is two at once is answered once, or the connection is closed: "+what, "answers %v, closed %v", statuses, closed)
	}
	t.figure("smuggled", float64(tried))
	return t.slow(s, path)
}

func contains500(statuses []int) bool {
	for _, status := range statuses {
		if status >= 500 {
			return true
		}
	}
	return false
}

// slowly are ways to take one's time.
var slowly = []struct {
	name string
	head string // what is sent at once, of a path
	drip string // what is sent a second later, again and again
}{
	{"a header that never ends", "POST %s HTTP/1.1\r\nHost: localhost\r\n", "X-A: b\r\n"},
	{"a body that drips", "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Request-ID: 00000000-0000-4000-8000-00000000510e\r\nContent-Length: 4000\r\n\r\n{", " "},
	{"chunks that drip", "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Request-ID: 00000000-0000-4000-8000-00000000510f\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n"},
	{"no handshake", "", ""},
}

// slow opens many connections that take their time, and calls between them.
func (t *Trial) slow(s *served, path string) error {
	connections := t.times(200, 500)
	t.note("%d slow connections", connections)
	var work sync.WaitGroup
	var open, closed, answers, late atomic.Int64
	begun := time.Now()
	const patience = 5 * slowTimeout
	for i := range connections {
		how := slowly[i%len(slowly)]
		work.Go(func() {
			var c net.Conn
			var err error
			if how.head == "" {
				c, err = net.Dial("tcp", s.Address)
			} else {
				c, err = s.raw()
			}
			if err != nil {
				return
			}
			open.Add(1)
			defer func() { _ = c.Close() }() // the service may have closed it
			if how.head != "" {
				_, _ = fmt.Fprintf(c, how.head, path)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				got, ended := answersTo(c, patience)
				answers.Add(int64(len(got)))
				if len(got) > 1 {
					late.Add(1000) // more than one answer
				}
				if ended {
					closed.Add(1)
				} else {
					late.Add(1)
				}
			}()
			ticker := time.NewTicker(time.Second)
			defer ticker.Stop()
			for {
				select {
				case <-done:
					return
				case <-ticker.C:
					if how.drip != "" {
						_, _ = c.Write([]byte(how.drip)) // the service may have closed it
					}
				}
			}
		})
	}
	times := measure.NewHistogram()
	c, err := s.conn(caller, "")
	if err != nil {
		return err
	}
	defer c.Close()
	answered := 0
	for n := 0; time.Since(begun) < 2*slowTimeout; n++ {
		sent := time.Now()
		a, err := c.Do(one(n), idOf(n), 10*time.Second)
		if err == nil && a.Status == 200 {
			answered++
		}
		_ = times.RecordValue(max(1, time.Since(sent).Microseconds()))
		time.Sleep(20 * time.Millisecond)
	}
	work.Wait()
	took := time.Since(begun)
	t.check(int(open.Load()) > connections*9/10, "there were slow connections", "%d of %d", open.Load(), connections)
	t.check(late.Load() == 0 && closed.Load() == open.Load(), "every slow connection is closed, after one answer at most", "%d of %d were closed after %v, %d answers, %d too late", closed.Load(), open.Load(), took, answers.Load(), late.Load())
	t.control(answered > 10, "a well-formed request between them is answered", "%d were", answered)
	t.check(measure.MS(times, 99) < 2000, "others do not wait for them", "p99 %.0f ms", measure.MS(times, 99))
	t.figure("slow_connections", float64(open.Load()))
	t.figure("answered_beside_them_s", measure.MS(times, 99)/1000)
	t.check(!s.Process.HasEnded(), "the service goes on", "%.300q", s.Process.Said())
	return nil
}

package httpapi_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"tarn/keys/api"
)

// raw opens a connection as a client, for bytes that no library sends.
func (s *site) raw(name string) *tls.Conn {
	s.t.Helper()
	c, err := tls.Dial("tcp", s.address, s.tls(name))
	must(s.t, err)
	s.t.Cleanup(func() { _ = c.Close() })
	must(s.t, c.SetDeadline(time.Now().Add(30*time.Second)))
	return c
}

// answers sends bytes and returns the status of each answer that comes back until the
// connection is closed, or, where it stays open, until nothing more comes.
func (s *site) answers(text string) (statuses []int, closed bool) {
	s.t.Helper()
	c := s.raw("etl")
	_, err := io.WriteString(c, text)
	if err != nil {
		return nil, true
	}
	must(s.t, c.SetReadDeadline(time.Now().Add(time.Second)))
	r := bufio.NewReader(c)
	for {
		method, _, _ := strings.Cut(text, " ")
		response, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			timeout, ok := err.(net.Error)
			return statuses, !(ok && timeout.Timeout())
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return statuses, true
		}
		if response.StatusCode != http.StatusContinue {
			statuses = append(statuses, response.StatusCode)
		}
	}
}

// head is a request without its end.
func head(more ...string) string {
	return "POST /v1/projects/study/tokenise HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Request-ID: " + uuid.NewString() + "\r\n" + strings.Join(append(more, ""), "\r\n")
}

// TestOneAnswerARequest: whatever a request says of where it ends, there is one answer, or
// none; and where it says two things nothing that follows is taken for a request. The
// controls are those that say one thing.
func TestOneAnswerARequest(t *testing.T) {
	s := newSite(t)
	body := string(rowsOf("a", 1))
	n := len(body)
	length := fmt.Sprintf("Content-Length: %d", n)
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", n, body)
	next := "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, x := range map[string]struct {
		text string
		want []int
		open bool
	}{
		"control: a length":                   {head(length) + "\r\n" + body + next, []int{200, 200}, true},
		"control: chunks":                     {head("Transfer-Encoding: chunked") + "\r\n" + chunked + next, []int{200, 200}, true},
		"control: chunks in pieces":           {head("Transfer-Encoding: chunked") + "\r\n" + fmt.Sprintf("1\r\n%s\r\n%X;x=y\r\n%s\r\n0\r\n\r\n", body[:1], n-1, body[1:]) + next, []int{200, 200}, true},
		"length, then chunks":                 {head(length, "Transfer-Encoding: chunked") + "\r\n" + chunked + next, []int{400}, false},
		"chunks, then length":                 {head("Transfer-Encoding: chunked", length) + "\r\n" + chunked + next, []int{400}, false},
		"chunks, then a length of nothing":    {head("Transfer-Encoding: chunked", "Content-Length: 0") + "\r\n" + next, []int{400}, false},
		"chunks twice":                        {head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + "\r\n" + chunked + next, []int{400}, false},
		"identity, then a length":             {head("Transfer-Encoding: identity", length) + "\r\n" + body + next, []int{400}, false},
		"identity, and what follows":          {head("Transfer-Encoding: identity") + "\r\n" + next, []int{400}, false},
		"other codings":                       {head("Transfer-Encoding: gzip, chunked") + "\r\n" + chunked + next, []int{400}, false},
		"chunks and a tab":                    {head("Transfer-Encoding:\tchunked", length) + "\r\n" + chunked + next, []int{400}, false},
		"chunks and a blank before the colon": {head("Transfer-Encoding : chunked", length) + "\r\n" + chunked + next, []int{400}, false},
		"two lengths that agree":              {head(length, length) + "\r\n" + body + next, []int{400}, false},
		"two lengths that differ":             {head(length, "Content-Length: 1") + "\r\n" + body + next, []int{400}, false},
		"two lengths in one":                  {head(length+fmt.Sprintf(", %d", n)) + "\r\n" + body + next, []int{400}, false},
		"a length with a sign":                {head(fmt.Sprintf("Content-Length: +%d", n)) + "\r\n" + body + next, []int{400}, false},
		"a length below nothing":              {head("Content-Length: -1") + "\r\n" + body + next, []int{400}, false},
		"a length in hex":                     {head(fmt.Sprintf("Content-Length: 0x%x", n)) + "\r\n" + body + next, []int{400}, false},
		"a length beyond all numbers":         {head("Content-Length: 99999999999999999999999999") + "\r\n" + body + next, []int{400}, false},
		"a folded header":                     {head("X-Correlation-ID: a\r\n b", length) + "\r\n" + body + next, []int{400}, false},
		"a length that is folded in":          {head("X-Correlation-ID: a\r\n Content-Length: 1", length) + "\r\n" + body + next, []int{400}, false},
		"a name with a blank":                 {head("X Correlation: a", length) + "\r\n" + body + next, []int{400}, false},
		"a line without a colon":              {head("Correlation", length) + "\r\n" + body + next, []int{400}, false},
		"a chunk that is longer than it says": {head("Transfer-Encoding: chunked") + "\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", n-5, body) + next, []int{400}, false},
		"a chunk without a size":              {head("Transfer-Encoding: chunked") + "\r\n\r\n" + body + next, []int{400}, false},
		"a chunk of hostile size":             {head("Transfer-Encoding: chunked") + "\r\nffffffffffffffffff\r\n" + body + next, []int{400}, false},
		"a body that nobody reads":            {"GET /livez HTTP/1.1\r\nHost: x\r\n" + length + "\r\n\r\n" + body + next, []int{200, 200}, true},
		"a refused request, then another":     {strings.Replace(head(length), "application/json", "text/plain", 1) + "\r\n" + body + next, []int{415, 200}, true},
		"pipelined":                           {strings.Repeat(next, 20), repeated(200, 20), true},
		"HTTP/1.0":                            {"GET /livez HTTP/1.0\r\n\r\n" + next, []int{200}, false},
		"HTTP/1.0 with chunks":                {strings.Replace(head("Transfer-Encoding: chunked"), "HTTP/1.1", "HTTP/1.0", 1) + "\r\n" + chunked + next, []int{400}, false},
		"HTTP/2":                              {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{404}, false},
		"HTTP/0.9":                            {"GET /livez\r\n\r\n", []int{400}, false},
		"HEAD":                                {"HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n" + strings.Replace(next, "GET", "HEAD", 1), []int{405, 405}, true},
		"two hosts":                           {"GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" + next, []int{400}, false},
		"close":                               {"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + next, []int{200}, false},
		"no lines, but feeds":                 {"GET /livez HTTP/1.1\nHost: x\n\n" + next, []int{200, 200}, true},
		"nothing but blanks":                  {strings.Repeat("\r\n", 5) + next, []int{200}, true},
		"bytes":                               {"\x16\x03\x01\x00\xff\r\n\r\n", []int{400}, false},
		"a header of nothing but zeros":       {"GET /livez HTTP/1.1\r\nHost: \x00\r\n\r\n", []int{400}, false},
		"huge headers":                        {"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 20<<10) + "\r\n\r\n" + next, []int{431}, false},
		"many headers":                        {"GET /livez HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: y\r\n", 4000) + "\r\n" + next, []int{431}, false},
		"a huge address":                      {"GET /livez?" + strings.Repeat("x", 20<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n" + next, []int{431}, false},
		"continue":                            {head(length, "Expect: 100-continue") + "\r\n" + body + next, []int{200, 200}, true},
		"continue with two lengths":           {head(length, "Transfer-Encoding: chunked", "Expect: 100-continue") + "\r\n" + body + next, []int{400}, false},
		"continue, and too long":              {head("Content-Length: 99999999", "Expect: 100-continue") + "\r\n", []int{413}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			statuses, closed := s.answers(x.text)
			if fmt.Sprint(statuses) != fmt.Sprint(x.want) || closed == x.open {
				t.Errorf("answers %v, closed %v; and not %v, %v", statuses, closed, x.want, !x.open)
			}
		})
	}
}

func repeated(status, n int) (all []int) {
	for range n {
		all = append(all, status)
	}
	return all
}

// TestContinueIsRefusedWithReason: who asks before sending a body, and may not send it, is
// told why as everybody else is.
func TestContinueIsRefusedWithReason(t *testing.T) {
	s := newSite(t)
	for name, x := range map[string]struct {
		as, head string
		status   int
		code     api.Code
	}{
		"nobody":       {"", head("Content-Length: 10"), 401, api.CodeNoCertificate},
		"no client":    {"stranger", head("Content-Length: 10"), 403, api.CodeForbidden},
		"too long":     {"etl", head("Content-Length: 99999999"), 413, api.CodeTooLarge},
		"no id":        {"etl", strings.Replace(head("Content-Length: 10"), "X-Request-ID", "X-Id", 1), 400, api.CodeRequestID},
		"no such path": {"etl", strings.Replace(head("Content-Length: 10"), "/tokenise", "/x", 1), 404, api.CodeNotFound},
	} {
		c := s.raw(x.as)
		_, err := io.WriteString(c, x.head+"Expect: 100-continue\r\n\r\n")
		must(t, err)
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b, err := io.ReadAll(response.Body)
		must(t, err)
		s.problem(answer{response.StatusCode, response.Header, b}, x.status, x.code)
	}
	if n := strings.Count(s.log.String(), "msg=answered"); n != 5 {
		t.Errorf("%d lines in the log: %s", n, s.log)
	}
}

// TestTooLong: a body that is longer than one may be is refused, and its sender, who sends
// all of it first, is told so; chunks that never end are cut off.
func TestTooLong(t *testing.T) {
	s := newSite(t, func(s *site) { s.options.Limits.MaxBody = 1 << 20 })
	fits := append([]byte(`{"rows":[]}`), bytes.Repeat([]byte(" "), 1<<20-11)...)
	if a := s.call(call{body: fits}); a.status != 200 {
		t.Errorf("%d", a.status)
	}
	for range 10 {
		s.problem(s.call(call{body: append(fits, ' ')}), 413, api.CodeTooLarge)
		s.problem(s.call(call{body: bytes.Repeat(fits, 4)}), 413, api.CodeTooLarge)
	}
	c := s.raw("etl")
	_, err := io.WriteString(c, head(fmt.Sprintf("Content-Length: %d", 4*len(fits)))+"\r\n"+strings.Repeat(" ", 4*len(fits)))
	must(t, err) // all of it is taken
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	b, err := io.ReadAll(response.Body)
	must(t, err)
	s.problem(answer{response.StatusCode, response.Header, b}, 413, api.CodeTooLarge)
	c = s.raw("etl")
	_, err = io.WriteString(c, head("Transfer-Encoding: chunked")+"\r\n")
	must(t, err)
	chunk := fmt.Sprintf("4000\r\n%s\r\n", strings.Repeat(" ", 1<<14))
	sent := 0
	for ; sent < 64<<20; sent += len(chunk) {
		if _, err := io.WriteString(c, chunk); err != nil {
			break
		}
	}
	if sent >= 64<<20 {
		t.Error("64 MiB were taken")
	}
}

// TestTooManyRows: as many as may be, and one more, which is charged nothing.
func TestTooManyRows(t *testing.T) {
	s := newSite(t)
	if a := s.call(call{body: rowsOf("a", 1000)}); a.status != 200 || s.left("etl") != plenty-1000 {
		t.Errorf("%d %s", a.status, a.body)
	}
	s.problem(s.call(call{body: rowsOf("a", 1001)}), 413, "too_many_rows")
	if s.left("etl") != plenty-1000 {
		t.Error("what was refused is charged")
	}
}

// TestSlowCallersAreCutOff, scenario 16: five hundred connections that send their header, or
// their body, a byte at a time, or nothing, are each closed within the time of a request,
// while good requests are answered as if nobody were there. Those with bodies say that they
// are as long as may be: what they do not send keeps nothing from others.
func TestSlowCallersAreCutOff(t *testing.T) {
	const slow = 500
	timeout := 2 * time.Second
	s := newSite(t, func(s *site) {
		s.options.Limits.Timeout = timeout
		s.options.Limits.MaxMemory = 4 * int64(s.options.Limits.MaxBody)
	})
	whole := head(fmt.Sprintf("Content-Length: %d", s.options.Limits.MaxBody)) + "\r\n"
	conns := make([]*tls.Conn, slow)
	var dials sync.WaitGroup
	limit := make(chan struct{}, 16)
	for i := range conns {
		dials.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			name := "etl"
			if i%4 == 0 {
				name = "" // who it is is not known before the header is there
			}
			c, err := tls.Dial("tcp", s.address, s.tls(name))
			if err != nil {
				t.Error(err)
				return
			}
			conns[i] = c
		})
	}
	dials.Wait()
	if t.Failed() {
		t.FailNow()
	}
	ended := make(chan time.Duration, slow)
	for i, c := range conns {
		go func() {
			begun := time.Now()
			text := whole
			if i%4 != 0 && i%2 == 0 { // the body
				// So much that it is not the library that waits for it, but we.
				if _, err := io.WriteString(c, whole+strings.Repeat(" ", 12<<10)); err == nil {
					text = strings.Repeat(" ", 1000)
				}
			}
			go func() {
				for k := 0; k < len(text) && i%10 != 1; k++ {
					if _, err := c.Write([]byte{text[k]}); err != nil {
						return
					}
					time.Sleep(100 * time.Millisecond)
				}
			}()
			_ = c.SetReadDeadline(time.Now().Add(10 * timeout))
			_, err := io.Copy(io.Discard, c)
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
				ended <- time.Hour
				return
			}
			ended <- time.Since(begun)
		}()
	}
	good := 0
	for left := slow; left > 0; {
		a := s.call(call{body: rowsOf("good", 10)})
		if a.status != 200 {
			t.Fatalf("a good request: %d %s", a.status, a.body)
		}
		good++
		for more := true; more && left > 0; {
			select {
			case took := <-ended:
				left--
				if took > 4*timeout { // twice for each, and the machine is shared
					t.Errorf("a slow connection stayed for %v", took)
				}
			default:
				more = false
			}
		}
	}
	if good < 20 {
		t.Errorf("%d good requests were answered meanwhile", good)
	}
	t.Logf("%d good requests beside %d slow connections", good, slow)
}

// TestMemoryIsBounded: bodies and answers that together are larger than the memory may be
// are answered one after another, or refused for a while; none is answered wrongly, and all
// memory is given back.
func TestMemoryIsBounded(t *testing.T) {
	s := newSite(t, func(s *site) {
		s.options.Limits.MaxBody = 1 << 20
		s.options.Limits.MaxMemory = 6 << 20
	})
	var body bytes.Buffer
	body.WriteString(`{"rows":[`)
	for i := range 300 {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"unique_id":"%d","given_name":"Anne","family_name":"Smith","date_of_birth":"1973-10-22","gp_practice_code":"%s"}`, i, strings.Repeat("x", 100))
	}
	body.WriteString("]}")
	want := s.call(call{body: body.Bytes()})
	s.document(want)
	var wait sync.WaitGroup
	var mu sync.Mutex
	counts := map[int]int{}
	for range 40 {
		wait.Go(func() {
			a, err := s.try(call{body: body.Bytes()})
			mu.Lock()
			defer mu.Unlock()
			counts[a.status]++
			switch {
			case err != nil:
				t.Error(err)
			case a.status == 200 && !bytes.Equal(a.body, want.body):
				t.Error("an answer is another")
			case a.status != 200:
				s.problem(a, 503, api.CodeBusy)
				if a.header.Get("Retry-After") == "" {
					t.Error("it does not say when")
				}
			}
		})
	}
	wait.Wait()
	if counts[200] < 10 || counts[200]+counts[503] != 40 {
		t.Errorf("%v", counts)
	}
	// All of it is there again: the largest request is answered.
	if a := s.call(call{body: append(body.Bytes(), bytes.Repeat([]byte(" "), 1<<20-body.Len())...)}); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	t.Logf("%v", counts)
}

// TestMemoryOfSmallRowsIsBounded: a row of two bytes takes the memory of a row. Many bodies of
// such rows wait for each other before they are rows.
func TestMemoryOfSmallRowsIsBounded(t *testing.T) {
	const most = 8 << 20
	charged, goOn := make(chan struct{}, 100), make(chan struct{})
	s := newSite(t, func(s *site) {
		s.options.Limits.MaxRows, s.options.Limits.MaxMemory, s.options.Limits.Timeout = 10_000, most, time.Minute
		s.options.Trace = func(_, stage string, _ time.Time) {
			if stage == "charged" {
				charged <- struct{}{}
				<-goOn
			}
		}
	})
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	body := []byte(`{"return":["token"],"rows":[` + strings.Repeat("1,", 9_999) + `1]}`)
	before := heap()
	var wait sync.WaitGroup
	for range 60 {
		wait.Go(func() {
			if a, err := s.try(call{body: body}); err != nil || a.status != 200 && a.status != 503 {
				t.Errorf("%d %v", a.status, err)
			}
		})
	}
	<-charged
	time.Sleep(500 * time.Millisecond) // the others come as far as they can
	if more := heap() - before; more > 3*most {
		t.Errorf("%d MiB are taken, and not about %d", more>>20, most>>20)
	}
	close(goOn)
	wait.Wait()
}

// TestSlowReadersAreCutOff: whoever does not read its answer is closed, and gives back the
// memory that it kept until then.
func TestSlowReadersAreCutOff(t *testing.T) {
	s := newSite(t, func(s *site) {
		s.options.Limits.Timeout = time.Second
		if raced {
			s.options.Limits.Timeout = 4 * time.Second
		}
		s.options.Limits.MaxRows, s.options.Limits.MaxBody, s.options.Limits.MaxMemory = 10_000, 8<<20, 32<<20
	})
	var body bytes.Buffer
	body.WriteString(`{"return":["token"],"rows":[`)
	for i := range 7000 {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"unique_id":"%s","nhs_number":"%s"}`, strings.Repeat("x", 1000), number(i))
	}
	body.WriteString("]}")
	readers := make([]*tls.Conn, 4)
	for i := range readers {
		readers[i] = s.raw("etl")
		must(t, readers[i].NetConn().(*net.TCPConn).SetReadBuffer(4<<10))
		_, err := io.WriteString(readers[i], head(fmt.Sprintf("Content-Length: %d", body.Len()))+"\r\n"+body.String())
		must(t, err)
	}
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		a := s.call(call{body: body.Bytes()})
		if a.status == 200 {
			break
		}
		if a.status != 503 { // busy, or not in its time
			t.Fatalf("%d %s", a.status, a.body)
		}
		if time.Now().After(until) {
			t.Fatal("the memory of slow readers is not given back")
		}
	}
	time.Sleep(2 * s.options.Limits.Timeout)
	whole := 0
	for _, c := range readers {
		must(t, c.SetReadDeadline(time.Now().Add(time.Second)))
		n, _ := io.Copy(io.Discard, c) // an error where it was cut off
		if n > int64(body.Len()) {
			whole++
		}
	}
	if whole > 0 {
		t.Errorf("%d answers were kept for who did not read them", whole)
	}
}

// TestConnectionsAreBounded: beyond the limit they wait, and come in when others end.
func TestConnectionsAreBounded(t *testing.T) {
	s := newSite(t, func(s *site) { s.options.Limits.MaxConnections = 3 })
	held := []*tls.Conn{s.raw("etl"), s.raw("etl"), s.raw("etl")}
	fourth, err := net.Dial("tcp", s.address)
	must(t, err)
	c := tls.Client(fourth, s.tls("etl"))
	must(t, c.SetDeadline(time.Now().Add(300*time.Millisecond)))
	if err := c.Handshake(); err == nil {
		t.Fatal("a fourth connection was taken")
	}
	must(t, fourth.Close())
	must(t, held[0].Close())
	if a := s.call(call{method: "GET", path: "/livez", id: "-"}); a.status != 200 {
		t.Errorf("%d", a.status)
	}
}

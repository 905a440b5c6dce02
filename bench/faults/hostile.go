package faults

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/csv"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"tarn/bench/load"
	"tarn/bench/tokeniser"
	"tarn/keys/fault"
	"tarn/tokenise/online/wire"
)

// The service's limits here, and what its memory may come to: what it has when nobody calls,
// and twice what its requests may take, since the collector lets garbage grow to what lives.
const (
	hostileLimits = "max_memory = \"64MiB\"\nmax_body = \"8MiB\"\ntimeout = \"5s\"\n"
	hostileMemory = 400 << 20
)

// valid are requests that are well, in every form, of which the hostile ones are made.
func valid() (all []*load.Request, err error) {
	header := []string{"unique_id", "nhs_number", "given_name", "family_name", "date_of_birth", "sex", "postcode"}
	var rows [][]string
	for n := range 20 {
		rows = append(rows, []string{fmt.Sprintf("r%d", n), "9434765919", fmt.Sprintf("Given%d", n), fmt.Sprintf("Family%d", n), "1950-01-02", "1", "LS1 1AA"})
	}
	for _, f := range wire.Formats {
		body, err := load.Body(f, header, rows)
		if err != nil {
			return nil, err
		}
		all = append(all, &load.Request{Media: f.MediaType(), Body: body, Rows: len(rows)})
	}
	return all, nil
}

// nasty are texts that readers have been confounded by.
var nasty = []string{"\x00", "\xff\xfe", "\xed\xa0\x80", "\u202e\u2066", "NaN", "-0", "1e999", "Infinity", "=cmd|'/c calc'!A1", "@SUM(1)", "{", "[", "]", "}", "\"", "\\u0000", "\\ud800", ",", "\r\n", "\n", "''", "null",
	"9434765919", "2999-12-31", strings.Repeat("A", 5000), strings.Repeat("[", 20_000), strings.Repeat(`{"rows":`, 5000), "\xef\xbb\xbf", "\x1f\x8b", "ARROW1", "\xff\xff\xff\xff\xff\xff\xff\x7f"}

// mutated returns a request with some of its bytes changed.
func mutated(r *load.Request, random *rand.Rand) *load.Request {
	b := bytes.Clone(r.Body)
	for range 1 + random.IntN(8) {
		at := random.IntN(len(b) + 1)
		switch random.IntN(6) {
		case 0:
			b = b[:at]
		case 1:
			text := nasty[random.IntN(len(nasty))]
			b = append(append(bytes.Clone(b[:at]), text...), b[at:]...)
		case 2:
			end := min(len(b), at+random.IntN(64))
			b = append(bytes.Clone(b[:end]), b[at:]...) // a part of it twice
		case 3:
			end := min(len(b), at+random.IntN(64))
			b = append(bytes.Clone(b[:at]), b[end:]...)
		default:
			if at < len(b) {
				b[at] ^= 1 << random.IntN(8)
			}
		}
		if len(b) == 0 {
			break
		}
	}
	m := &load.Request{Media: r.Media, Body: b}
	if random.IntN(5) == 0 {
		m.Media = wire.Formats[random.IntN(len(wire.Formats))].MediaType()
	}
	if random.IntN(10) == 0 {
		m.Header = map[string]string{"Content-Encoding": []string{"gzip", "zstd", "br", "identity"}[random.IntN(4)]}
	}
	return m
}

// bombs are small requests that are large when they are read, and large ones.
func bombs() (all []*load.Request, err error) {
	row := func(value string) string { return `{"rows":[{"unique_id":"r1","family_name":"` + value + `"}]}` }
	large := row(strings.Repeat("A", 100<<20))
	var g, z bytes.Buffer
	zipped := gzip.NewWriter(&g)
	squeezed, err := zstd.NewWriter(&z, zstd.WithWindowSize(8<<20))
	if err == nil {
		_, err = io.WriteString(zipped, large)
	}
	if err == nil {
		err = zipped.Close()
	}
	if err == nil {
		_, err = io.WriteString(squeezed, large)
	}
	if err == nil {
		err = squeezed.Close()
	}
	if err != nil {
		return nil, fault.New(fault.Internal, "making hostile requests", "they cannot be packed", "")
	}
	packed := func(b []byte, how string) *load.Request {
		return &load.Request{Media: "application/json", Body: b, Header: map[string]string{"Content-Encoding": how}}
	}
	plain := func(media, body string) *load.Request { return &load.Request{Media: media, Body: []byte(body)} }
	return []*load.Request{
		packed(g.Bytes(), "gzip"), packed(z.Bytes(), "zstd"),
		plain("application/json", large[:8<<20]), plain("application/json", strings.Repeat("[", 8<<20)), plain("application/json", `{"rows":[`+strings.Repeat("{},", 2<<20)+`{}]}`),
		plain("application/x-ndjson", strings.Repeat("{}\n", 2<<20)), plain("application/x-ndjson", strings.Repeat("\n", 8<<20)),
		plain("text/csv", "unique_id,family_name\n"+strings.Repeat("r,\n", 2<<20)), plain("text/csv", "unique_id,family_name\n\""+strings.Repeat("A", 8<<20-64)),
		plain("text/csv", strings.Repeat("a,", 4<<20)), plain("text/csv", large),
	}, nil
}

// hostile is scenario 13.
func hostile(t *Trial) error {
	s, err := t.trialService("hostile", tokeniser.Options{Limits: hostileLimits})
	if err != nil {
		return err
	}
	well, err := valid()
	if err != nil {
		return err
	}
	all, err := bombs()
	if err != nil {
		return err
	}
	for _, r := range well {
		c, err := s.conn(caller, "")
		if err != nil {
			return err
		}
		a, err := c.Do(r, c.ID(), time.Minute)
		t.control(err == nil && a.Status == 200, "what the hostile requests are made of is answered", "%s: status %d%s", r.Media, a.Status, wrong(err))
		c.Close()
	}
	span := time.Duration(t.times(10, 60)) * time.Second
	t.note("hostile requests for %v", span)
	statuses, sent, err := s.besieged(well, all, span)
	if err != nil {
		return err
	}
	t.figure("requests", float64(sent))
	t.check(sent > 100, "there were hostile requests", "%d", sent)
	for status, n := range statuses {
		t.check(status < 500 || status == 503 || status == 507, "no hostile request is answered with a failure", "%d were answered with %d: %.300q", n, status, s.Process.Said())
	}
	t.check(statuses[200] > 0 && statuses[400]+statuses[413]+statuses[422] > 0, "some are answered and some refused", "%v", statuses)
	t.check(!s.Process.HasEnded() && !strings.Contains(s.Process.Said(), "panic"), "the service does not end, and nothing panics", "%.300q", s.Process.Said())
	most, err := mostMemory(s.Process.ID())
	if err != nil {
		return err
	}
	t.figure("memory_mb", float64(most)/1e6)
	t.check(most <= hostileMemory, "memory is bounded", "%d MB of %d", most/1e6, hostileMemory/1_000_000)
	if err := t.inert(s); err != nil {
		return err
	}
	// The control: a service that is let read what it is sent.
	open, err := t.trialService("unlimited", tokeniser.Options{Limits: "max_memory = \"16GiB\"\nmax_body = \"1GiB\"\nmax_rows = 1000000\ntimeout = \"30s\"\n"})
	if err != nil {
		return err
	}
	var work sync.WaitGroup
	for _, r := range []*load.Request{all[0], all[1], all[0], all[1]} {
		work.Go(func() {
			if c, err := open.conn(caller, ""); err == nil {
				_, _ = c.Do(r, c.ID(), time.Minute) // what it takes is looked at
				c.Close()
			}
		})
	}
	work.Wait()
	if most, err = mostMemory(open.Process.ID()); err != nil {
		return err
	}
	t.control(most > hostileMemory, "without limits the same requests take more memory than that", "%d MB", most/1e6)
	return open.Kill()
}

// besieged sends hostile requests over some connections for a time, and returns how often
// each status was answered; 0 is a connection that closed.
func (s *served) besieged(well, bombs []*load.Request, span time.Duration) (statuses map[int]int, sent int, err error) {
	statuses = map[int]int{}
	var mu sync.Mutex
	var work sync.WaitGroup
	begun := time.Now()
	for i := range 8 {
		c, err := s.conn(caller, "")
		if err != nil {
			return nil, 0, err
		}
		work.Go(func() {
			defer c.Close()
			random := rand.New(rand.NewPCG(13, uint64(i)))
			for n := 0; time.Since(begun) < span && !s.Process.HasEnded(); n++ {
				r := mutated(well[random.IntN(len(well))], random)
				if n%40 == i {
					r = bombs[random.IntN(len(bombs))]
				}
				a, err := c.Do(r, c.ID(), time.Minute)
				mu.Lock()
				if sent++; err != nil {
					a.Status = 0
				}
				statuses[a.Status]++
				mu.Unlock()
			}
		})
	}
	work.Wait()
	return statuses, sent, nil
}

// mostMemory is the most that a process has had in memory.
func mostMemory(pid int) (bytes int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fault.Wrap(fault.Internal, "looking at a process's memory", err, "")
	}
	_, after, _ := strings.Cut(string(b), "VmHWM:")
	var kB int64
	_, err = fmt.Sscan(after, &kB)
	return kB << 10, err
}

// inert checks that ids which are formulas, or try to be more than one cell, come back as
// they were sent, in one cell of one row, and that nothing else of a caller's is echoed.
func (t *Trial) inert(s *served) error {
	ids := []string{"=cmd|'/c calc'!A1", "+1+1", "-1", "@SUM(1)", "a,b", "a\"b", "a;b", "tab\there", "\u202egnp.exe", "<script>alert(1)</script>"}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	rows := [][]string{{"unique_id", "family_name"}}
	for _, id := range ids {
		rows = append(rows, []string{id, "=HYPERLINK(1)"})
	}
	if err := w.WriteAll(rows); err != nil {
		return err
	}
	c, err := s.conn(caller, "?return=token")
	if err != nil {
		return err
	}
	defer c.Close()
	a, err := c.Do(&load.Request{Media: "text/csv", Body: b.Bytes()}, c.ID(), time.Minute)
	if err != nil {
		return err
	}
	got, err := csv.NewReader(bytes.NewReader(a.Body)).ReadAll()
	same := err == nil && len(got) == len(ids)+1
	for i := 0; same && i < len(ids); i++ {
		same = got[i+1][0] == ids[i] && len(got[i+1]) == len(got[0])
	}
	t.check(a.Status == 200 && same && !bytes.Contains(a.Body, []byte("HYPERLINK")), "an id comes back in its cell as it was sent, and nothing else of a row", "status %d, %d rows%s", a.Status, len(got), wrong(err))
	t.check(a.Header.Get("X-Content-Type-Options") == "nosniff" && strings.HasPrefix(a.Header.Get("Content-Type"), "text/csv"), "an answer is shown as nothing but what it is", "%q", a.Header.Get("Content-Type"))
	return nil
}

// raw opens a connection on which anything may be sent.
func (s *served) raw() (*tls.Conn, error) {
	target, err := s.Target(s.project, caller, "")
	if err != nil {
		return nil, err
	}
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 20 * time.Second}, Config: target.TLS}
	c, err := dialer.DialContext(s.t.ctx, "tcp", target.Address)
	if err != nil {
		return nil, err
	}
	return c.(*tls.Conn), nil
}

// answersTo counts the answers that come on a connection until it is closed, or until
// nothing has come for a time.
func answersTo(c net.Conn, quiet time.Duration) (statuses []int, closed bool) {
	for r := bufio.NewReader(c); ; {
		_ = c.SetReadDeadline(time.Now().Add(quiet))
		a, err := http.ReadResponse(r, nil)
		if err != nil {
			var network net.Error
			return statuses, !(asTimeout(err, &network) && network.Timeout())
		}
		statuses = append(statuses, a.StatusCode)
		if _, err := io.Copy(io.Discard, a.Body); err != nil {
			return statuses, true
		}
		_ = a.Body.Close() // it was read to its end
	}
}

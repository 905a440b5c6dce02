// Package enumerate has what it takes to show that trying every number is stopped and
// heard of: a table of numbers, one after another, and somebody who hears alarms.
package enumerate

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
)

// HeardWithin is how soon an alarm must be heard.
const HeardWithin = 10 * time.Second

// first is the first nine digits of the numbers: from here on none is issued.
const first = 900_000_000

// Numbers returns a table of so many NHS numbers that nobody has, one after another, with
// right check digits, in the column nhs_number.
func Numbers(count int) string {
	var b strings.Builder
	b.WriteString("nhs_number\n")
	for i, n := first, 0; n < count; i++ {
		digits := [9]byte([]byte(fmt.Sprintf("%09d", i)))
		if check, ok := nhsnumber.CheckDigit(digits); ok {
			b.Write(digits[:])
			b.WriteByte(check)
			b.WriteByte('\n')
			n++
		}
	}
	return b.String()
}

// Duty hears a key holder's alarms.
type Duty struct {
	URL    string // for [alerts] url
	server *http.Server
	heard  chan string
}

// NewDuty listens on this machine until Close.
func NewDuty() (*Duty, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "listening for alarms", err, "")
	}
	d := &Duty{URL: "http://" + listener.Addr().String() + "/alarms", heard: make(chan string, 64)}
	d.server = &http.Server{ReadHeaderTimeout: HeardWithin, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var alert struct {
			Rule string `json:"rule"`
		}
		b, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
		if err == nil && json.Unmarshal(b, &alert) == nil {
			select {
			case d.heard <- alert.Rule:
			default: // more than anybody waits for
			}
		}
	})}
	go func() { _ = d.server.Serve(listener) }() // until it is closed
	return d, nil
}

// Wait waits for an alarm of a rule, and reports whether it was heard in time.
func (d *Duty) Wait(rule string) bool {
	timer := time.NewTimer(HeardWithin)
	defer timer.Stop()
	for {
		select {
		case heard := <-d.heard:
			if heard == rule {
				return true
			}
		case <-timer.C:
			return false
		}
	}
}

// Close ends listening.
func (d *Duty) Close() error { return d.server.Close() }

package demo

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
)

// What somebody has who tries every number.
const (
	numbersFile   = "numbers.csv"
	enumerated    = "enumerated.csv" // what would have come of it
	enumeration   = 1_000_000        // numbers that are tried
	budgetPeople  = 5                // times the people of a party is the budget of its client
	leastBudget   = 20_000           // rows; small runs encode more than once
	alarmTimeout  = 10 * time.Second
	firstOfNobody = 900_000_000 // nine digits: numbers from here on are not issued
)

// duty hears the key holder's alarms.
type duty struct {
	server *http.Server
	url    string
	heard  chan string
}

func newDuty() (*duty, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "listening for alarms", err, "")
	}
	d := &duty{url: "http://" + listener.Addr().String() + "/alarms", heard: make(chan string, 64)}
	d.server = &http.Server{ReadHeaderTimeout: alarmTimeout, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
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

// wait waits for an alarm of a rule.
func (d *duty) wait(rule string) bool {
	timer := time.NewTimer(alarmTimeout)
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

// enumerate has the first region's tokeniser try a million numbers, one after another,
// as somebody would who wants to know whose each token is. The key holder stops it at
// its budget.
func (d *demo) enumerate() (string, error) {
	const doing = "trying every number"
	if err := d.numbers(); err != nil {
		return "", err
	}
	party := d.parties[0]
	from := d.Wall()
	_, stopped := d.run("tokeniser", "column", "--project", projectFile, "--as", d.credentials(party), "--in", numbersFile, "--column", "nhs_number", "--out", enumerated)
	heard := d.duty.wait(audit.RuleBudgetExhausted)
	after := d.Wall().Sub(from).Seconds()
	var budgets []api.Budget
	if err := d.runInto(&budgets, "keyholder", "budget", "list", "--as", d.credentials(operator)); err != nil {
		return "", err
	}
	e := &Enumeration{Numbers: enumeration, Alarm: audit.RuleBudgetExhausted, AlarmAfterS: after}
	for _, b := range budgets {
		if b.Client == party && b.Use == api.UseToken {
			e.Budget = b.Rows
		}
	}
	switch _, err := os.Stat(filepath.Join(d.Folder, enumerated)); {
	case stopped == nil || err == nil:
		return "", fault.New(fault.Internal, doing, "nothing stopped it", "")
	case !strings.Contains(stopped.Error(), "budget"):
		return "", stopped
	case !heard:
		return "", fault.New(fault.Internal, doing, "it was stopped, and nobody heard of it", "")
	case e.Budget >= enumeration:
		return "", fault.New(fault.Internal, doing, "the budget is larger than what was tried", "give fewer people")
	}
	d.document.Enumeration = e
	return fmt.Sprintf("%d numbers were tried one after another; the key holder stopped it at its budget of %d rows, and its alarm was heard %.1f s after the first", e.Numbers, e.Budget, after), nil
}

// numbers writes a table of numbers that nobody has, with right check digits.
func (d *demo) numbers() error {
	var b strings.Builder
	b.WriteString("nhs_number\n")
	for i, n := firstOfNobody, 0; n < enumeration; i++ {
		first := [9]byte([]byte(fmt.Sprintf("%09d", i)))
		if digit, ok := nhsnumber.CheckDigit(first); ok {
			b.Write(first[:])
			b.WriteByte(digit)
			b.WriteByte('\n')
			n++
		}
	}
	return d.write(numbersFile, b.String())
}

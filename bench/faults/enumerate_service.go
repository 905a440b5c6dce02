package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"tarn/bench/enumerate"
	"tarn/bench/keyholder"
	"tarn/bench/load"
	"tarn/bench/tokeniser"
	"tarn/keys/audit"
)

// What the service's clients may use, and the service itself: the first client is stopped
// by the service, the second by the key holder.
const (
	localBudget  = 100_000
	holderBudget = 150_000
	rowsAtOnce   = 10_000
)

// numbered are requests for the tokens of numbers, one after another.
func numbered(count int) (requests []*load.Request) {
	var b bytes.Buffer
	n := 0
	for line := range strings.Lines(enumerate.Numbers(count)) {
		number := strings.TrimSpace(line)
		if number == "nhs_number" {
			continue
		}
		if n == 0 {
			b.WriteString("unique_id,nhs_number\n")
		}
		fmt.Fprintf(&b, "r%d,%s\n", n, number)
		if n++; n == rowsAtOnce {
			requests = append(requests, &load.Request{Media: "text/csv", Body: bytes.Clone(b.Bytes()), Rows: n})
			b.Reset()
			n = 0
		}
	}
	return requests
}

// tried is what became of enumerating.
type tried struct {
	answered int64 // rows
	refused  int   // requests, with 429 and Retry-After
	other    int   // anything else
	code     string
	retry    int // seconds, of the last refusal
}

// tries sends requests one after another, all of them, whatever is answered.
func (s *served) tries(client string, requests []*load.Request, first int) (r tried, err error) {
	c, err := s.conn(client, "?return=token")
	if err != nil {
		return r, err
	}
	defer c.Close()
	for n, request := range requests {
		a, err := c.Do(request, idOf(first+n), time.Minute)
		if err != nil {
			return r, err
		}
		retry, _ := strconv.Atoi(a.Header.Get("Retry-After"))
		switch {
		case a.Status == 200:
			r.answered += int64(request.Rows)
		case a.Status == 429 && retry > 0:
			r.refused++
			r.code, r.retry = codeOf(a.Body), retry
		default:
			r.other++
			r.code = fmt.Sprintf("%d %s", a.Status, codeOf(a.Body))
		}
	}
	return r, nil
}

func codeOf(body []byte) string {
	var problem struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(body, &problem) // of another document it stays empty
	return problem.Code
}

// refusing starts a service that the key holder leases no keys, and returns when it knows.
func (s *served) refusing(client string, request *load.Request) error {
	if err := s.Configure(); err != nil {
		return err
	}
	if err := s.Start(s.t.ctx); err != nil {
		return err
	}
	c, err := s.conn(client, "?return=token")
	if err != nil {
		return err
	}
	defer c.Close()
	_, _, err = until(time.Minute, func() (bool, error) {
		a, err := c.Do(request, c.ID(), time.Minute)
		return err == nil && a.Status != 503, err
	})
	return err
}

// enumeratedThroughService is scenario 9 for whoever may call the tokenise service.
func enumeratedThroughService(t *Trial) error {
	duty, err := enumerate.NewDuty()
	if err != nil {
		return err
	}
	t.later(duty.Close)
	folder, err := t.sub("service-site")
	if err != nil {
		return err
	}
	k, err := t.keyHolder(keyholder.Options{Folder: folder, BudgetRows: holderBudget, AlertsURL: duty.URL})
	if err == nil {
		err = t.populate(k)
	}
	if err != nil {
		return err
	}
	const other = "nightly"
	s, err := t.service(k, "service", tokeniser.Options{Clients: []string{caller, other}, Projects: []tokeniser.Project{{BudgetRows: localBudget}}})
	if err != nil {
		return err
	}
	requests := numbered(t.times(300_000, 1_000_000))
	stopped := func(r tried, most int64, what string) {
		t.check(r.answered <= most && r.refused > 0 && r.other == 0 && r.code == "budget_exhausted", what, "%d rows answered, %d requests refused with 429 and Retry-After %d s, %d otherwise; %s", r.answered, r.refused, r.retry, r.other, r.code)
	}
	t.note("%d numbers through the service", len(requests)*rowsAtOnce)
	// Killed in the middle: what was used is not forgotten.
	r, err := s.tries(caller, requests[:localBudget/rowsAtOnce/2], 0)
	if err != nil {
		return err
	}
	t.control(r.answered == localBudget/2 && r.refused+r.other == 0, "a client of the service inside its budget is not stopped", "%d rows, %s", r.answered, r.code)
	answered := r.answered
	if err := s.Kill(); err != nil {
		return err
	}
	if err := s.up(); err != nil {
		return err
	}
	if r, err = s.tries(caller, requests[localBudget/rowsAtOnce/2:], localBudget/rowsAtOnce/2); err != nil {
		return err
	}
	answered += r.answered
	t.figure("service_rows_answered", float64(answered))
	stopped(tried{answered: answered, refused: r.refused, other: r.other, code: r.code, retry: r.retry}, localBudget, "the service stops a client at its budget, over a kill, with 429")
	t.check(answered >= localBudget-2*rowsAtOnce, "the service gives a client its budget", "%d rows of %d", answered, localBudget)
	left, err := s.remaining(caller)
	t.check(err == nil && left < rowsAtOnce, "the metric says that the budget is used up", "%d rows are left%s", left, wrong(err))
	for round, end := range []func() error{s.Stop, s.Kill, s.Kill} {
		if err := end(); err != nil {
			return err
		}
		if err := s.up(); err != nil {
			return err
		}
		if r, err = s.tries(caller, requests[:3], 10_000*(round+1)); err != nil {
			return err
		}
		stopped(r, 0, "the service still refuses after it was stopped and killed")
	}
	begun := time.Now()
	if r, err = s.tries(other, requests, 1_000_000); err != nil {
		return err
	}
	stopped(r, holderBudget-answered+rowsAtOnce, "the key holder stops the service at the service's budget, and the client is told with 429")
	t.check(r.answered < localBudget, "it is the key holder that stops the other client", "%d rows were answered of the %d that the service allows", r.answered, localBudget)
	t.check(duty.Wait(audit.RuleBudgetExhausted), "the alarm over a service is heard within 10 s", "")
	t.figure("service_heard_after_s", time.Since(begun).Seconds())
	used, err := t.budgetUsed(k)
	if err != nil {
		return err
	}
	t.check(used <= holderBudget && answered+r.answered <= used, "no more rows were answered than the key holder granted", "%d and %d rows answered, %d granted", answered, r.answered, used)
	for round := range t.times(1, 3) {
		if err := s.Kill(); err != nil {
			return err
		}
		if err := s.refusing(other, requests[0]); err != nil {
			return err
		}
		again, err := s.tries(other, requests[:2], 2_000_000+10*round)
		if err != nil {
			return err
		}
		t.check(again.answered == 0 && again.refused == 2, "the key holder's budget holds over kills of the service", "%d rows, %d refused, %d otherwise: %s", again.answered, again.refused, again.other, again.code)
	}
	if err := s.Kill(); err != nil {
		return err
	}
	free, err := t.trialService("unbounded", tokeniser.Options{})
	if err != nil {
		return err
	}
	r, err = free.tries(caller, requests, 0)
	t.control(err == nil && r.answered == int64(len(requests)*rowsAtOnce), "without a budget every number is answered", "%d rows, %d refused, %s%s", r.answered, r.refused, r.code, wrong(err))
	return free.Kill()
}

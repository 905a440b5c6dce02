package holder

import (
	"context"
	"crypto/tls"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"tarn/keys/audit"
	"tarn/keys/holder/internal/alerts"
	"tarn/keys/holder/internal/keyring"
)

// alerting tells somebody of alarms. Every alarm is an entry of the log; those of a
// log that cannot be written are told at once.
type alerting struct {
	spool *alerts.Spool // nil where nobody is to hear of them
	given chan struct{} // an alarm has been recorded

	mu    sync.Mutex
	tries map[string]time.Time // when too many tries of a method were told last
}

// triesAlarmEvery is how often too many tries are an alarm.
const triesAlarmEvery = time.Hour

func newAlerting(h *Holder) (a *alerting, err error) {
	a = &alerting{given: make(chan struct{}, 1), tries: map[string]time.Time{}}
	o := &h.options
	if o.AlertsURL == "" {
		return a, nil
	}
	client := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.AlertsCA}, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	folder := o.AlertsSpool
	if folder == "" {
		folder = filepath.Join(o.Dir, "alerts")
	}
	a.spool, err = alerts.Open(alerts.Options{Folder: folder, URL: o.AlertsURL, HTTP: client, Meter: o.Meter})
	return a, err
}

func (a *alerting) work(ctx context.Context) {
	if a.spool != nil {
		a.spool.Work(ctx)
	}
}

// AlertsWaiting is how many alerts nobody has heard yet.
func (h *Holder) AlertsWaiting() int {
	if h.alerts.spool == nil {
		return 0
	}
	return h.alerts.spool.Waiting()
}

// Budgets returns what clients have left; nothing while sealed.
func (h *Holder) Budgets(each func(project, client string, left int64)) {
	ring, err := h.keyring()
	if err != nil {
		return
	}
	all := ring.Budgets()
	for i := 0; i < len(all); {
		// What is left of a client's budget is what is left for the use of which there is
		// least.
		b, left := all[i], all[i].Left
		for ; i < len(all) && all[i].Project == b.Project && all[i].Client == b.Client; i++ {
			left = min(left, all[i].Left)
		}
		each(b.Project, b.Client, left)
	}
}

// alarmed is called when an alarm is in the log.
func (h *Holder) alarmed(rule string) {
	h.options.Meter.Alarmed(rule)
	h.options.Logger.Warn("an alarm was recorded", "rule", rule)
	select {
	case h.alerts.given <- struct{}{}:
	default:
	}
}

// takeAlerts takes alarms from the store to the spool.
func (h *Holder) takeAlerts(ctx context.Context) {
	ring, err := h.keyring()
	if err != nil || h.alerts.spool == nil {
		return
	}
	h.mu.RLock()
	origin := h.log.origin()
	h.mu.RUnlock()
	var taken []keyring.Alert
	for _, a := range ring.Alerts() {
		if err := h.alerts.spool.Put(document(a, origin)); err != nil {
			h.options.Logger.Error("an alert could not be kept", "rule", a.Leaf.Rule, "error", faultOnly(err))
			break // in order, and later
		}
		taken = append(taken, a)
	}
	if len(taken) == 0 {
		return
	}
	if err := ring.AlertsTaken(ctx, taken); err != nil && ctx.Err() == nil {
		h.options.Logger.Warn("alerts that are in the spool could not be taken out of the store, and will be put there again", "error", faultOnly(err)) // under the same id
	}
}

// document is an alarm as it is told.
func document(a keyring.Alert, origin string) alerts.Alert {
	at, _ := time.Parse(audit.TimeLayout, a.Leaf.Time) // it was decoded, or written by this program
	return alerts.Alert{
		ID: alerts.ID(origin, strconv.FormatUint(a.Index, 10)), Time: at, Holder: a.Leaf.Holder, Rule: a.Leaf.Rule, Text: audit.RuleText(a.Leaf.Rule), Entry: &a.Index,
		Client: a.Leaf.Actor.Subject, Organisation: a.Leaf.Actor.Organisation, Project: a.Leaf.Project, Use: a.Leaf.Purpose, Count: a.Leaf.Count,
	}
}

// alertAtOnce tells of an alarm that cannot be in the log.
func (h *Holder) alertAtOnce(rule string) {
	if h.alerts.spool == nil {
		return
	}
	now := h.options.Clock().UTC()
	err := h.alerts.spool.Put(alerts.Alert{
		ID: alerts.ID(h.options.Name, rule, now.Format(time.RFC3339Nano)), Time: now, Holder: h.options.Name, Rule: rule, Text: audit.RuleText(rule),
	})
	if err != nil {
		h.options.Logger.Error("an alert could not be kept", "rule", rule, "error", faultOnly(err))
	}
}

// tooManyTries gives the alarm of guessing, once in a while. While sealed it cannot be
// in the log, and is told at once; how many tries failed is recorded at the opening.
func (h *Holder) tooManyTries(ring *keyring.Keyring, method string) {
	now := h.options.Clock()
	h.alerts.mu.Lock()
	last, told := h.alerts.tries[method]
	if told = told && now.Sub(last) < triesAlarmEvery; !told {
		h.alerts.tries[method] = now
	}
	h.alerts.mu.Unlock()
	if told {
		return
	}
	if ring == nil {
		h.options.Meter.Alarmed(audit.RuleTooManyTries)
		go h.alertAtOnce(audit.RuleTooManyTries)
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), logCloseTime)
		defer cancel()
		if err := ring.Alarm(ctx, audit.RuleTooManyTries, method); err != nil {
			h.options.Logger.Error("the alarm could not be recorded", "rule", audit.RuleTooManyTries, "error", faultOnly(err))
		}
	}()
}

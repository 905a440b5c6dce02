package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Keyholder is what a key holder counts. Labels are names from its allow-list
// and codes; of budgets, the names of projects and clients.
type Keyholder struct {
	duration *prometheus.HistogramVec
	leases   *prometheus.CounterVec
	elements prometheus.Counter
	refusals *prometheus.CounterVec
	appended prometheus.Histogram
	failing  prometheus.Gauge
	alarms   *prometheus.CounterVec
	heard    prometheus.Counter
	unheard  prometheus.Counter
	asked    *prometheus.CounterVec
}

// KeyholderState is what is looked up when metrics are read.
type KeyholderState struct {
	Sealed            func() bool
	FreeBytes         func() float64
	CertificateExpiry func() time.Time // of the server's own certificate
	Records           func() float64
	TreeSize          func() float64 // entries of the log
	AlertsWaiting     func() float64
	Rules             []string // of alarms
	// Pending is how many requests for re-identification wait for approval, Unreviewed how
	// many times break-glass was used and nobody has reviewed it.
	Pending, Unreviewed func() float64
	// Sessions is how many people have signed in to the console.
	Sessions func() float64
	// Decisions are the purposes, outcomes and rules of requests for re-identification that
	// are counted from 0: others are counted from when there is one.
	Decisions []Decision
	// Budgets gives how many rows each client has left of a project's budget.
	Budgets func(each func(project, client string, left int64))
}

// Decision is what is decided on a request for re-identification.
type Decision struct{ Purpose, Outcome, Rule string }

// budgets looks up what clients have left, or may have, when metrics are read.
type budgets struct {
	left *prometheus.Desc
	each func(func(project, client string, left int64))
}

// Describe implements [prometheus.Collector].
func (b *budgets) Describe(to chan<- *prometheus.Desc) { to <- b.left }

// Collect implements [prometheus.Collector].
func (b *budgets) Collect(to chan<- prometheus.Metric) {
	b.each(func(project, client string, left int64) {
		to <- prometheus.MustNewConstMetric(b.left, prometheus.GaugeValue, float64(left), project, client)
	})
}

// NewKeyholder registers a key holder's metrics.
func NewKeyholder(registry *prometheus.Registry, state KeyholderState) *Keyholder {
	k := &Keyholder{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tarn_request_duration_seconds", Help: "How long requests took, by method of the allow-list and HTTP status.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route", "status"}),
		leases: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tarn_keyholder_leases_total", Help: "Keys leased, by use."}, []string{"use"}),
		appended: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tarn_audit_append_duration_seconds", Help: "How long entries took until they were in the log.", Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		failing:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "tarn_audit_unavailable", Help: "1 while the log cannot be written and no key is used."}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tarn_keyholder_refusals_total", Help: "Requests refused, by method and code."}, []string{"route", "code"}),
	}
	gauge := func(name, help string, value func() float64) {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("tarn_keyholder_sealed", "1 while the key holder is sealed and answers nothing but its health.", func() float64 {
		if state.Sealed() {
			return 1
		}
		return 0
	})
	gauge("tarn_store_free_bytes", "Free bytes on the filesystem of the store.", state.FreeBytes)
	gauge("tarn_keyholder_records", "Records in the store.", state.Records)
	gauge("tarn_certificate_expiry_timestamp_seconds", "When the server's certificate ends.", func() float64 { return float64(state.CertificateExpiry().Unix()) })
	gauge("tarn_audit_tree_size", "Entries of the log.", state.TreeSize)
	gauge("tarn_alerts_waiting", "Alerts that nobody has heard yet.", state.AlertsWaiting)
	k.alarms = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tarn_alarms_total", Help: "Alarms, by the rule that gave them."}, []string{"rule"})
	for _, rule := range state.Rules {
		k.alarms.WithLabelValues(rule) // a count that begins at 1 has never risen
	}
	k.heard = prometheus.NewCounter(prometheus.CounterOpts{Name: "tarn_alerts_delivered_total", Help: "Alerts that were sent and heard."})
	k.unheard = prometheus.NewCounter(prometheus.CounterOpts{Name: "tarn_alerts_failed_total", Help: "Tries of sending an alert that failed; they are repeated."})
	gauge("tarn_reidentification_pending", "Requests for re-identification that wait for approval.", state.Pending)
	gauge("tarn_console_sessions", "Sessions of people in the console, those included whose time is up.", state.Sessions)
	gauge("tarn_break_glass_unreviewed", "Openings by break-glass that nobody has reviewed.", state.Unreviewed)
	k.asked = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tarn_reidentification_requests_total", Help: "Requests for re-identification that were decided, by purpose, outcome and rule.",
	}, []string{"purpose", "outcome", "rule"})
	for _, d := range state.Decisions {
		k.asked.WithLabelValues(d.Purpose, d.Outcome, d.Rule)
	}
	k.elements = prometheus.NewCounter(prometheus.CounterOpts{Name: "tarn_keyholder_evaluations_total", Help: "Blinded numbers that were evaluated."})
	registry.MustRegister(k.elements, k.duration, k.leases, k.refusals, k.appended, k.failing, k.alarms, k.heard, k.unheard, k.asked, &budgets{
		left: prometheus.NewDesc("tarn_budget_remaining_rows", "Rows that a client may still use a project's keys for in this period, for the use of which it has least.", []string{"project", "client"}, nil),
		each: state.Budgets,
	})
	return k
}

// Request counts an answered request.
func (k *Keyholder) Request(method string, status int, took time.Duration) {
	k.duration.WithLabelValues(method, strconv.Itoa(status)).Observe(took.Seconds())
}

// Leased counts a lease.
func (k *Keyholder) Leased(use string) { k.leases.WithLabelValues(use).Inc() }

// Evaluated counts elements.
func (k *Keyholder) Evaluated(elements int) { k.elements.Add(float64(elements)) }

// Refused counts a refusal.
func (k *Keyholder) Refused(method, code string) { k.refusals.WithLabelValues(method, code).Inc() }

// Appended measures how long entries took until they were in the log.
func (k *Keyholder) Appended(_ int, took time.Duration) { k.appended.Observe(took.Seconds()) }

// Alarmed counts an alarm.
func (k *Keyholder) Alarmed(rule string) { k.alarms.WithLabelValues(rule).Inc() }

// AlertDelivered counts an alert that was heard.
func (k *Keyholder) AlertDelivered() { k.heard.Inc() }

// AlertFailed counts a try that failed.
func (k *Keyholder) AlertFailed() { k.unheard.Inc() }

// Reidentified counts what became of a request for re-identification.
func (k *Keyholder) Reidentified(purpose, outcome, rule string) {
	k.asked.WithLabelValues(purpose, outcome, rule).Inc()
}

// LogFailing says whether the log cannot be written.
func (k *Keyholder) LogFailing(failing bool) {
	k.failing.Set(0)
	if failing {
		k.failing.Set(1)
	}
}

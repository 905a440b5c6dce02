package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Tokeniser is what the tokenise service counts. Labels are routes, statuses and codes of
// its own lists, and the names of configured projects and clients.
type Tokeniser struct {
	rows     *prometheus.CounterVec
	refusals *prometheus.CounterVec
	warnings *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// TokeniserState is what is looked up when metrics are read.
type TokeniserState struct {
	Budgets           func(each func(project, client string, left int64))
	Allowed           func(each func(project, client string, rows int64))             // of a whole period
	Projects          func(each func(project string, ready bool, leaseEnd time.Time)) // the zero time where nothing is leased
	HasKeyholder      bool                                                            // else nothing is said of one: that it is away would be an alarm
	KeyholderSealed   func() bool
	KeyholderUp       func() bool
	CertificateExpiry func() time.Time // of the service's own certificate
	FreeBytes         func() float64
}

// NewTokeniser registers the metrics of a tokenise service.
func NewTokeniser(registry *prometheus.Registry, state TokeniserState) *Tokeniser {
	t := &Tokeniser{
		rows:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tarn_tokenise_rows_total", Help: "Rows answered, by what became of them: ok or refused."}, []string{"project", "outcome"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tarn_tokenise_refusals_total", Help: "Reasons for which rows were refused."}, []string{"code"}),
		warnings: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tarn_tokenise_warnings_total", Help: "Fields of rows that were not used, by reason."}, []string{"code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tarn_request_duration_seconds", Help: "How long requests took to be answered, by route and status.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10},
		}, []string{"route", "status"}),
	}
	gauge := func(name, help string, value func() float64) {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	if state.HasKeyholder {
		gauge("tarn_keyholder_sealed", "1 while the key holder says that it is sealed.", func() float64 { return truth(state.KeyholderSealed()) })
		gauge("tarn_keyholder_up", "1 while the key holder answers.", func() float64 { return truth(state.KeyholderUp()) })
	}
	// A count that begins at 1 has never risen: what can be counted is there from the start.
	state.Projects(func(project string, _ bool, _ time.Time) { t.Rows(project, 0, 0) })
	gauge("tarn_certificate_expiry_timestamp_seconds", "When the service's certificate ends.", func() float64 { return float64(state.CertificateExpiry().Unix()) })
	gauge("tarn_store_free_bytes", "Free bytes on the filesystem of the store.", state.FreeBytes)
	registry.MustRegister(t.rows, t.refusals, t.warnings, t.duration, &budgets{
		left: prometheus.NewDesc("tarn_budget_remaining_rows", "Rows that a client may still have answered in this period.", []string{"project", "client"}, nil),
		each: state.Budgets,
	}, &budgets{
		left: prometheus.NewDesc("tarn_budget_rows", "Rows that a client may have answered in a whole period.", []string{"project", "client"}, nil),
		each: state.Allowed,
	}, &projects{
		ready: prometheus.NewDesc("tarn_project_ready", "1 while the project's rows can be answered.", []string{"project"}, nil),
		lease: prometheus.NewDesc("tarn_lease_expiry_timestamp_seconds", "When the first of the project's leases ends, unless it is renewed.", []string{"project"}, nil),
		each:  state.Projects,
	})
	return t
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// projects collects what is so of each project.
type projects struct {
	ready, lease *prometheus.Desc
	each         func(func(project string, ready bool, leaseEnd time.Time))
}

// Describe implements [prometheus.Collector].
func (p *projects) Describe(to chan<- *prometheus.Desc) {
	to <- p.ready
	to <- p.lease
}

// Collect implements [prometheus.Collector].
func (p *projects) Collect(to chan<- prometheus.Metric) {
	p.each(func(project string, ready bool, leaseEnd time.Time) {
		to <- prometheus.MustNewConstMetric(p.ready, prometheus.GaugeValue, truth(ready), project)
		if !leaseEnd.IsZero() {
			to <- prometheus.MustNewConstMetric(p.lease, prometheus.GaugeValue, float64(leaseEnd.Unix()), project)
		}
	})
}

// Relationships is what the answering of the key holder's questions counts, in the same
// registry.
type Relationships struct {
	*Tokeniser
	routed    prometheus.Counter
	strangers prometheus.Counter
}

// NewRelationships registers the metrics of the key holder's questions.
func NewRelationships(registry *prometheus.Registry, t *Tokeniser) *Relationships {
	r := &Relationships{
		Tokeniser: t,
		routed:    prometheus.NewCounter(prometheus.CounterOpts{Name: "tarn_relationships_routed_total", Help: "Patients of worklists whose practice the key holder was told."}),
		strangers: prometheus.NewCounter(prometheus.CounterOpts{Name: "tarn_relationships_strangers_total", Help: "Connections that were refused: without a certificate, or with one of another authority."}),
	}
	registry.MustRegister(r.routed, r.strangers)
	return r
}

// Routed counts patients of worklists.
func (r *Relationships) Routed(patients int) { r.routed.Add(float64(patients)) }

// Stranger counts a connection that was refused.
func (r *Relationships) Stranger() { r.strangers.Inc() }

// Request counts an answered request.
func (t *Tokeniser) Request(route string, status int, took time.Duration) {
	t.duration.WithLabelValues(route, strconv.Itoa(status)).Observe(took.Seconds())
}

// Rows counts answered rows of a project.
func (t *Tokeniser) Rows(project string, ok, refused int) {
	t.rows.WithLabelValues(project, "ok").Add(float64(ok))
	t.rows.WithLabelValues(project, "refused").Add(float64(refused))
}

// Code counts a reason: of a refused row, or of a field that was not used.
func (t *Tokeniser) Code(code string, refused bool) {
	if refused {
		t.refusals.WithLabelValues(code).Inc()
		return
	}
	t.warnings.WithLabelValues(code).Inc()
}

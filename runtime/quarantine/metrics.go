package quarantine

import (
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// Metrics are those of a [Controller]. They are a [prometheus.Collector].
type Metrics struct {
	leader      prometheus.Gauge
	steps       *prometheus.HistogramVec
	refusals    *prometheus.CounterVec
	breakerOpen prometheus.Gauge
	latency     prometheus.Histogram
	reverts     *prometheus.CounterVec
	changes     *prometheus.CounterVec
	quarantines *prometheus.Desc

	mu    sync.Mutex
	count func() map[counted]int // of whoever leads
}

// counted is what quarantines are counted by.
type counted struct{ phase, verdict string }

// NewMetrics makes them.
func NewMetrics() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "portcullis_quarantine_" + name, Help: help}, labels)
	}
	return &Metrics{
		leader: prometheus.NewGauge(prometheus.GaugeOpts{Name: "portcullis_quarantine_leader", Help: "1 where this replica acts."}),
		steps: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "portcullis_quarantine_step_seconds", Help: "From the first attempt at a step until its last: by step and state (Done, Failed).",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60, 300},
		}, []string{"step", "state"}),
		refusals:    counter("refusals_total", "Quarantines over a limit, by limit.", "limit"),
		breakerOpen: prometheus.NewGauge(prometheus.GaugeOpts{Name: "portcullis_quarantine_breaker_open", Help: "1 while the circuit breaker lets nothing act."}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "portcullis_quarantine_isolation_seconds", Help: "From the receipt of the event until its pod was isolated.",
			Buckets: []float64{.025, .05, .1, .25, .5, .75, 1, 2, 5, 15, 60},
		}),
		reverts:     counter("reverts_total", "Steps that somebody has undone, and that were done again.", "step"),
		changes:     counter("verdict_changes_total", "Proofs that came to something else than before.", "from", "to"),
		quarantines: prometheus.NewDesc("portcullis_quarantines", "Quarantines that there are, by phase and verdict.", []string{"phase", "verdict"}, nil),
	}
}

func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.leader, m.steps, m.refusals, m.breakerOpen, m.latency, m.reverts, m.changes}
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(to)
	}
	to <- m.quarantines
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(to)
	}
	m.mu.Lock()
	count := m.count
	m.mu.Unlock()
	if count == nil {
		return
	}
	for by, n := range count() {
		to <- prometheus.MustNewConstMetric(m.quarantines, prometheus.GaugeValue, float64(n), by.phase, by.verdict)
	}
}

func (m *Metrics) leads(is bool) {
	m.leader.Set(0)
	if is {
		m.leader.Set(1)
		return
	}
	m.counts(nil)
}

// counts says how quarantines are counted, nil where others do that.
func (m *Metrics) counts(count func() map[counted]int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count = count
}

func (m *Metrics) step(s *v1alpha1.Step) {
	if s != nil && s.Started != nil && s.Finished != nil {
		m.steps.WithLabelValues(s.Name, string(s.State)).Observe(s.Finished.Sub(s.Started.Time).Seconds())
	}
}

// limitNamed is where a reason names the setting that is reached.
var limitNamed = regexp.MustCompile(`\((limits\.\w+|cooldown)`)

// refused counts a refusal by its limit.
func (m *Metrics) refused(reason string) {
	limit := "other"
	if found := limitNamed.FindStringSubmatch(reason); found != nil {
		limit = strings.TrimPrefix(found[1], "limits.")
	}
	m.refusals.WithLabelValues(limit).Inc()
}

func (m *Metrics) breaker(open bool) {
	m.breakerOpen.Set(0)
	if open {
		m.breakerOpen.Set(1)
	}
}

// isolated measures from the receipt of the newest event to now: a quarantine that was merged into is not measured from its beginning.
func (m *Metrics) isolated(q *v1alpha1.Quarantine, now time.Time) {
	if t := q.Spec.Triggers[len(q.Spec.Triggers)-1]; t.Received != nil {
		m.latency.Observe(now.Sub(t.Received.Time).Seconds())
	}
}

func (m *Metrics) reverted(step string) { m.reverts.WithLabelValues(step).Inc() }

func (m *Metrics) changed(from, to string) { m.changes.WithLabelValues(from, to).Inc() }

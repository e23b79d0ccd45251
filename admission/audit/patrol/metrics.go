package patrol

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/portcullis-dev/portcullis/admission/audit"
)

// maxSeries bounds the series of violations: policies are named by bundles, which are the cluster's own, and not by requests.
const maxSeries = 2000

// overflow stands for the policies beyond maxSeries.
const overflow = "other"

// Metrics are what Prometheus sees of a Patrol.
type Metrics struct {
	objects, violations, incomplete *prometheus.Desc
	duration                        *prometheus.HistogramVec
	last                            prometheus.Gauge

	mu   sync.Mutex
	seen func() observation
}

// observation is how things are.
type observation struct {
	objects int
	cells   map[audit.Cell]int
	gaps    int
}

// NewMetrics makes the metrics of a Patrol.
func NewMetrics() *Metrics {
	return &Metrics{
		objects:    prometheus.NewDesc("portcullis_audit_objects", "Objects of the cluster that this replica audits.", nil, nil),
		violations: prometheus.NewDesc("portcullis_audit_violations", "Findings of objects that exist, by what the bundle makes of them: deny, warn, audit, or excepted.", []string{"policy", "severity", "enforcement"}, nil),
		incomplete: prometheus.NewDesc("portcullis_audit_incomplete", "Kinds, or other things, that the audit could not look at. The log names them.", nil, nil),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "portcullis_audit_duration_seconds", Help: "How long passes took: over everything (full), or over what a change touched.",
			Buckets: []float64{0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200},
		}, []string{"pass"}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{Name: "portcullis_audit_last_run_timestamp_seconds", Help: "When the last pass over everything ended; 0 before the first."}),
	}
}

func (m *Metrics) observe(seen func() observation) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = seen
}

func (m *Metrics) ran(full bool, took time.Duration, at time.Time) {
	pass := "touched"
	if full {
		pass = "full"
		m.last.Set(float64(at.UnixMilli()) / 1000)
	}
	m.duration.WithLabelValues(pass).Observe(took.Seconds())
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(into chan<- *prometheus.Desc) {
	into <- m.objects
	into <- m.violations
	into <- m.incomplete
	m.duration.Describe(into)
	m.last.Describe(into)
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(into chan<- prometheus.Metric) {
	m.duration.Collect(into)
	m.last.Collect(into)
	m.mu.Lock()
	seen := m.seen
	m.mu.Unlock()
	if seen == nil {
		return
	}
	now := seen()
	into <- prometheus.MustNewConstMetric(m.objects, prometheus.GaugeValue, float64(now.objects))
	into <- prometheus.MustNewConstMetric(m.incomplete, prometheus.GaugeValue, float64(now.gaps))
	type series struct{ policy, severity, enforcement string }
	counts := map[series]int{}
	for cell, n := range now.cells {
		s := series{cell.Policy, cell.Severity, cell.Enforcement.String()}
		if cell.Excepted {
			s.enforcement = "excepted"
		}
		if _, known := counts[s]; !known && len(counts) >= maxSeries {
			s.policy = overflow
		}
		counts[s] += n
	}
	for s, n := range counts {
		into <- prometheus.MustNewConstMetric(m.violations, prometheus.GaugeValue, float64(n), s.policy, s.severity, s.enforcement)
	}
}

func (p *Patrol) observation() observation {
	cells, objects := p.ledger.Counts()
	return observation{objects: objects, cells: cells, gaps: len(p.Gaps())}
}

package webhook

import (
	"net/http"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// outcome is how a request ended.
type outcome string

const (
	outcomeAdmitted  outcome = "admitted"
	outcomeDenied    outcome = "denied"
	outcomeFault     outcome = "fault"     // denied because it could not be judged
	outcomeUnmatched outcome = "unmatched" // admitted since no policy is about it
	outcomeRejected  outcome = "rejected"  // unreadable
	outcomeRefused   outcome = "refused"   // the caller is not answered
	outcomeShed      outcome = "shed"      // denied for want of room
)

var outcomes = []outcome{outcomeAdmitted, outcomeDenied, outcomeFault, outcomeUnmatched, outcomeRejected, outcomeRefused, outcomeShed}

// Metrics count reviews. Labels take values of the bundle only, never of a request,
// so that no caller can make them grow.
type Metrics struct {
	registry  *prometheus.Registry
	requests  map[door]map[outcome]prometheus.Counter
	durations map[door]prometheus.Observer
	findings  *prometheus.CounterVec
	faults    *prometheus.CounterVec
}

// NewMetrics makes metrics with a registry of their own.
func NewMetrics() *Metrics {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "portcullis_webhook_requests_total",
		Help: "AdmissionReview requests by webhook and outcome.",
	}, []string{"webhook", "outcome"})
	durations := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "portcullis_webhook_request_duration_seconds",
		Help: "Time from the request's headers to its answer.",
		// From an unmatched request to the API server's longest timeout.
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"webhook"})
	metrics := &Metrics{
		registry:  prometheus.NewRegistry(),
		requests:  map[door]map[outcome]prometheus.Counter{},
		durations: map[door]prometheus.Observer{},
		findings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portcullis_webhook_findings_total",
			Help: "Findings by policy, effect and enforcement, waived ones left out.",
		}, []string{"policy", "effect", "enforcement"}),
		faults: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portcullis_webhook_faults_total",
			Help: "Failures to judge by policy (empty for all) and kind.",
		}, []string{"policy", "kind"}),
	}
	for _, door := range []door{"", doorValidate, doorMutate} {
		metrics.requests[door] = map[outcome]prometheus.Counter{}
		metrics.durations[door] = durations.WithLabelValues(string(door))
		for _, outcome := range outcomes {
			metrics.requests[door][outcome] = requests.WithLabelValues(string(door), string(outcome))
		}
	}
	metrics.registry.MustRegister(requests, durations, metrics.findings, metrics.faults,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return metrics
}

// Register adds what others count.
func (m *Metrics) Register(collector prometheus.Collector) { m.registry.MustRegister(collector) }

// Gauge adds a value that is asked for when metrics are read.
func (m *Metrics) Gauge(name, help string, value func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}

// Gauges adds a family of values, by one label, that are asked for when metrics are
// read.
func (m *Metrics) Gauges(name, help, label string, values func() map[string]float64) {
	m.registry.MustRegister(&gauges{prometheus.NewDesc(name, help, []string{label}, nil), values})
}

type gauges struct {
	desc   *prometheus.Desc
	values func() map[string]float64
}

func (g *gauges) Describe(descs chan<- *prometheus.Desc) { descs <- g.desc }

func (g *gauges) Collect(metrics chan<- prometheus.Metric) {
	for label, value := range g.values() {
		metrics <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, value, label)
	}
}

// Handler serves the metrics in Prometheus' text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func (m *Metrics) observe(door door, outcome outcome, took time.Duration) {
	m.requests[door][outcome].Inc()
	m.durations[door].Observe(took.Seconds())
}

func (m *Metrics) verdict(verdict admission.Verdict) {
	for _, finding := range verdict.Findings {
		if finding.ExceptedBy == "" {
			m.findings.WithLabelValues(label(finding.Bundle, finding.Policy), string(finding.Effect), finding.Enforcement.String()).Inc()
		}
	}
	for _, fault := range verdict.Faults {
		m.faults.WithLabelValues(label(fault.Bundle, fault.Policy), string(fault.Kind)).Inc()
	}
}

// label tells policies of several bundles apart.
func label(bundle, policy string) string {
	if bundle == "" {
		return policy
	}
	return bundle + ":" + policy
}

package webhook

import (
	"sync/atomic"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/prometheus/client_golang/prometheus"
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
// so that no caller can make them grow. It is a [prometheus.Collector].
type Metrics struct {
	requests    map[door]map[outcome]prometheus.Counter
	durations   map[door]prometheus.Observer
	evaluations map[door]prometheus.Observer
	findings    *prometheus.CounterVec
	faults      *prometheus.CounterVec
	failedOpen  *prometheus.CounterVec
	vectors     []prometheus.Collector

	limiter atomic.Pointer[limiter] // nil until a handler counts here
}

// NewMetrics makes counters at zero, for one handler.
func NewMetrics() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "portcullis_webhook_" + name, Help: help}, labels)
	}
	seconds := func(name, help string, buckets ...float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "portcullis_webhook_" + name, Help: help, Buckets: buckets}, []string{"webhook"})
	}
	m := &Metrics{
		requests: map[door]map[outcome]prometheus.Counter{}, durations: map[door]prometheus.Observer{}, evaluations: map[door]prometheus.Observer{},
		findings:   counter("findings_total", "Findings by policy, effect and enforcement, waived ones left out.", "policy", "effect", "enforcement"),
		faults:     counter("faults_total", "Failures to judge by policy (empty for all) and kind.", "policy", "kind"),
		failedOpen: counter("failed_open_total", "Failures to judge of policies that enforce and fail open, in requests that were admitted: what was not judged was let in. By policy and kind.", "policy", "kind"),
	}
	running := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "portcullis_webhook_reviews_running", Help: "Reviews that are under way."},
		m.places((*limiter).runningNow))
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "portcullis_webhook_reviews_waiting", Help: "Reviews that wait for a place."},
		m.places((*limiter).waitingNow))
	requests := counter("requests_total", "AdmissionReview requests by webhook and outcome.", "webhook", "outcome")
	// From an unmatched request to the API server's longest timeout.
	durations := seconds("request_duration_seconds", "Time from the request's headers to its answer.",
		.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30)
	evaluations := seconds("evaluation_duration_seconds", "Time that the policies of one bundle took to judge a request, facts gathered and queue left out.",
		.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .5, 1, 10)
	for _, door := range []door{"", doorValidate, doorMutate} {
		m.requests[door] = map[outcome]prometheus.Counter{}
		m.durations[door] = durations.WithLabelValues(string(door))
		if door != "" {
			m.evaluations[door] = evaluations.WithLabelValues(string(door))
		}
		for _, outcome := range outcomes {
			m.requests[door][outcome] = requests.WithLabelValues(string(door), string(outcome))
		}
	}
	m.vectors = []prometheus.Collector{requests, durations, evaluations, m.findings, m.faults, m.failedOpen, running, waiting}
	return m
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	for _, c := range m.vectors {
		c.Describe(to)
	}
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	for _, c := range m.vectors {
		c.Collect(to)
	}
}

// places asks the limiter for a number.
func (m *Metrics) places(number func(*limiter) int) func() float64 {
	return func() float64 {
		if l := m.limiter.Load(); l != nil {
			return float64(number(l))
		}
		return 0
	}
}

// observe counts an answer. traceID is that of its trace, "" for none: dashboards lead from a slow answer to what took so long.
func (m *Metrics) observe(door door, outcome outcome, took time.Duration, traceID string) {
	m.requests[door][outcome].Inc()
	observer := m.durations[door]
	if with, ok := observer.(prometheus.ExemplarObserver); ok && traceID != "" {
		with.ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": traceID})
		return
	}
	observer.Observe(took.Seconds())
}

func (m *Metrics) verdict(door door, verdict admission.Verdict) {
	for n := range verdict.Parts {
		m.evaluations[door].Observe(verdict.Parts[n].Took.Seconds())
	}
	for _, finding := range verdict.Findings {
		if finding.ExceptedBy == "" {
			m.findings.WithLabelValues(label(finding.Bundle, finding.Policy), string(finding.Effect), finding.Enforcement.String()).Inc()
		}
	}
	for _, fault := range verdict.Faults {
		policy, kind := label(fault.Bundle, fault.Policy), string(fault.Kind)
		m.faults.WithLabelValues(policy, kind).Inc()
		if verdict.Admitted && fault.FailMode == policies.FailOpen && fault.Enforcement == policies.EnforceDeny {
			m.failedOpen.WithLabelValues(policy, kind).Inc()
		}
	}
}

// label tells policies of several bundles apart.
func label(bundle, policy string) string {
	if bundle == "" {
		return policy
	}
	return bundle + ":" + policy
}

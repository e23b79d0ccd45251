package responder

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/portcullis-dev/portcullis/runtime/response"
)

// outcome is what became of an event.
type outcome string

const (
	outcomeProposed   outcome = "proposed"   // its plan was written down
	outcomeRepeated   outcome = "repeated"   // the same plan was written down a moment ago
	outcomeTold       outcome = "told"       // it is about the node itself: people were told
	outcomeIgnored    outcome = "ignored"    // policies asked for nothing
	outcomeUnmatched  outcome = "unmatched"  // no policy is about it
	outcomeNoPod      outcome = "no_pod"     // it names no pod
	outcomeUnresolved outcome = "unresolved" // its pod was not found
	outcomeWrongNode  outcome = "wrong_node" // its sender is another node than the pod's
	outcomeRefused    outcome = "refused"    // the API server will never take its Quarantine
	outcomeFault      outcome = "fault"      // it could not be judged
)

var outcomes = []outcome{outcomeProposed, outcomeRepeated, outcomeTold, outcomeIgnored, outcomeUnmatched, outcomeNoPod, outcomeUnresolved, outcomeWrongNode, outcomeRefused, outcomeFault}

// Metrics count events by what became of them. Labels take values of bundles only, never of an event. It is a [prometheus.Collector].
type Metrics struct {
	events   map[outcome]prometheus.Counter
	all      *prometheus.CounterVec
	asks     *prometheus.CounterVec
	faults   *prometheus.CounterVec
	retries  prometheus.Counter
	duration prometheus.Histogram
	held     prometheus.Gauge
	parked   prometheus.Gauge
}

// NewMetrics makes counters at zero.
func NewMetrics() *Metrics {
	m := &Metrics{
		events: map[outcome]prometheus.Counter{},
		all: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portcullis_responder_events_total", Help: "Events by what became of them.",
		}, []string{"outcome"}),
		asks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portcullis_responder_asks_total", Help: "Actions that policies asked for, by policy, action and mode.",
		}, []string{"policy", "action", "mode"}),
		faults: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portcullis_responder_faults_total", Help: "Failures to judge by policy (empty for all) and kind.",
		}, []string{"policy", "kind"}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "portcullis_responder_retries_total", Help: "Events put back because the API server, or facts that a policy reads, did not answer, or because many of the same pod wait.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "portcullis_responder_event_duration_seconds", Help: "Time from the receipt of an event to its Quarantine being written.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
		held: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "portcullis_responder_events_under_way", Help: "Events that are being judged or wait for another one of their pod.",
		}),
		parked: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "portcullis_responder_events_unresolved", Help: "Events whose pod is not known yet.",
		}),
	}
	for _, o := range outcomes {
		m.events[o] = m.all.WithLabelValues(string(o))
	}
	return m
}

func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.all, m.asks, m.faults, m.retries, m.duration, m.held, m.parked}
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(into chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(into)
	}
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(into chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(into)
	}
}

func (m *Metrics) count(o outcome) { m.events[o].Inc() }

func (m *Metrics) asked(asks []response.Ask) {
	for _, ask := range asks {
		m.asks.WithLabelValues(ask.Policy, string(ask.Action), string(ask.Mode)).Inc()
	}
}

func (m *Metrics) took(d time.Duration) { m.duration.Observe(d.Seconds()) }

package notify

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are those of a [Dispatcher]. They are a [prometheus.Collector].
type Metrics struct {
	sentTotal   *prometheus.CounterVec
	failedTotal *prometheus.CounterVec
	lostTotal   *prometheus.CounterVec
	waitingNow  *prometheus.GaugeVec
	delay       *prometheus.HistogramVec
}

// NewMetrics makes them.
func NewMetrics() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "portcullis_notify_" + name, Help: help}, labels)
	}
	return &Metrics{
		sentTotal:   counter("sent_total", "Notifications that a receiver has taken.", "receiver"),
		failedTotal: counter("failures_total", "Attempts to tell a receiver that failed, and are made again.", "receiver"),
		lostTotal:   counter("lost_total", "Notifications that a receiver was not told: queue (too many wait), refused, expired or closed.", "receiver", "reason"),
		waitingNow:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "portcullis_notify_waiting", Help: "Notifications that wait for a receiver."}, []string{"receiver"}),
		delay: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "portcullis_notify_delay_seconds", Help: "From when there was something to tell until the receiver had taken it.",
			Buckets: []float64{.01, .05, .1, .5, 1, 5, 15, 60, 300, 1800},
		}, []string{"receiver"}),
	}
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(descriptions)
	}
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(metrics chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(metrics)
	}
}

func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.sentTotal, m.failedTotal, m.lostTotal, m.waitingNow, m.delay}
}

// begin shows a receiver with zeros, so that an alert on a loss sees the first one.
func (m *Metrics) begin(receiver string) {
	m.sentTotal.WithLabelValues(receiver)
	m.failedTotal.WithLabelValues(receiver)
	for _, reason := range []string{lostQueue, lostRefused, lostExpired, lostClosed} {
		m.lostTotal.WithLabelValues(receiver, reason)
	}
	m.wait(receiver, 0)
}

func (m *Metrics) sent(receiver string, after time.Duration) {
	m.sentTotal.WithLabelValues(receiver).Inc()
	m.delay.WithLabelValues(receiver).Observe(after.Seconds())
}

func (m *Metrics) failed(receiver string) { m.failedTotal.WithLabelValues(receiver).Inc() }

func (m *Metrics) lost(receiver, reason string) { m.lostTotal.WithLabelValues(receiver, reason).Inc() }

func (m *Metrics) wait(receiver string, messages int) {
	m.waitingNow.WithLabelValues(receiver).Set(float64(messages))
}

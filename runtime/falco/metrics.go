package falco

import (
	"math"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/prometheus/client_golang/prometheus"
)

// maxSensors is how many sensors have metrics of their own: one runs on each node. Those beyond are counted as "other",
// since who may send could make names up.
const maxSensors = 5000

// Metrics count events by what becomes of them, and what sensors say of themselves. It is a [prometheus.Collector], and
// for one queue.
type Metrics struct {
	kept       *prometheus.CounterVec
	dropped    *prometheus.CounterVec
	duplicates prometheus.Counter
	replayed   prometheus.Counter
	refused    *prometheus.CounterVec
	answered   prometheus.Histogram
	synced     prometheus.Histogram
	failures   *prometheus.CounterVec
	lost       *prometheus.CounterVec

	sensorEvents *prometheus.CounterVec
	sensorDrops  *prometheus.CounterVec
	sensorTotals *prometheus.GaugeVec
	sensorSeen   *prometheus.GaugeVec

	depth, held, age, bytes *prometheus.Desc

	mu      sync.Mutex
	queue   *Queue
	sensors map[string]bool
}

// NewMetrics makes counters at zero.
func NewMetrics() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "portcullis_falco_" + name, Help: help}, labels)
	}
	seconds := func(name, help string, buckets ...float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "portcullis_falco_" + name, Help: help, Buckets: buckets})
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("portcullis_falco_"+name, help, labels, nil)
	}
	m := &Metrics{
		kept:       counter("events_total", "Events kept, by priority.", "priority"),
		dropped:    counter("events_dropped_total", "Events lost, by reason (shed: too many waited; evicted: made room for graver ones; full: no room on disk and in memory; busy: the disk did not answer; unreadable: the log was damaged) and priority.", "reason", "priority"),
		duplicates: prometheus.NewCounter(prometheus.CounterOpts{Name: "portcullis_falco_duplicates_total", Help: "Events that came again and were kept already."}),
		replayed:   prometheus.NewCounter(prometheus.CounterOpts{Name: "portcullis_falco_replayed_total", Help: "Events that an earlier process had not done."}),
		refused:    counter("refused_total", "Requests that were refused for what they are, by reason.", "reason"),
		answered:   seconds("acknowledgement_seconds", "Time from a request's head to its answer, of events that were kept.", .0001, .0002, .0005, .001, .002, .005, .01, .05, .1, .5),
		synced:     seconds("spool_sync_seconds", "Time that the disk took for a group of events.", .0005, .001, .005, .01, .05, .1, .5, 1, 5),
		failures:   counter("spool_failures_total", "Failures of the log, by operation: write, sync, read, done.", "operation"),
		lost:       counter("spool_lost_total", "What was found damaged at the start: torn_bytes of a write that was interrupted, damaged_records.", "kind"),

		sensorEvents: counter("sensor_health_events_total", "Events of Falco about itself, by kind: drop, metrics, other.", "kind"),
		sensorDrops:  counter("sensor_kernel_drops_total", "Events of the kernel that a Falco has said to have dropped.", "sensor"),
		sensorTotals: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "portcullis_falco_sensor_dropped",
			Help: "Events dropped since a Falco started, as it last said, by where: kernel, or outputs for alerts."}, []string{"sensor", "where"}),
		sensorSeen: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "portcullis_falco_sensor_last_seen_timestamp_seconds",
			Help: "When a Falco last said something of itself."}, []string{"sensor"}),

		depth:   desc("queue_depth", "Events that wait, by lane: urgent (Critical and above) or ordinary.", "lane"),
		held:    desc("queue_held", "Events that are being dealt with, or will be tried again."),
		age:     desc("queue_age_seconds", "How long the oldest event has waited, by lane.", "lane"),
		bytes:   desc("spool_bytes", "Bytes on disk, by lane.", "lane"),
		sensors: map[string]bool{},
	}
	for _, reason := range []string{dropShed, dropEvicted, dropFull, dropBusy, dropUnreadable} {
		for p := response.Emergency; p <= response.Debug; p++ {
			m.dropped.WithLabelValues(reason, p.String()) // at zero, so that the first one is an increase
		}
	}
	return m
}

func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.kept, m.dropped, m.duplicates, m.replayed, m.refused, m.answered, m.synced, m.failures, m.lost,
		m.sensorEvents, m.sensorDrops, m.sensorTotals, m.sensorSeen}
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(out)
	}
	for _, d := range []*prometheus.Desc{m.depth, m.held, m.age, m.bytes} {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(out)
	}
	m.mu.Lock()
	queue := m.queue
	m.mu.Unlock()
	if queue == nil {
		return
	}
	status := queue.Status()
	for lane, s := range status.Lanes {
		out <- prometheus.MustNewConstMetric(m.depth, prometheus.GaugeValue, float64(s.Waiting), lane)
		out <- prometheus.MustNewConstMetric(m.age, prometheus.GaugeValue, s.Age.Seconds(), lane)
		out <- prometheus.MustNewConstMetric(m.bytes, prometheus.GaugeValue, float64(s.Bytes), lane)
	}
	out <- prometheus.MustNewConstMetric(m.held, prometheus.GaugeValue, float64(status.Held))
}

// watch has the state of a queue among the metrics.
func (m *Metrics) watch(q *Queue) {
	m.mu.Lock()
	m.queue = q
	m.mu.Unlock()
}

func (m *Metrics) drop(reason string, p response.Priority, count int) {
	m.dropped.WithLabelValues(reason, p.String()).Add(float64(count))
}

// sensor is the label of a sensor.
func (m *Metrics) sensor(h *Health) string {
	name := h.Sender
	if name == "" {
		name = h.Hostname
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.sensors[name] {
		if len(m.sensors) >= maxSensors {
			return "other"
		}
		m.sensors[name] = true
	}
	return name
}

// health counts what a sensor says of itself.
func (m *Metrics) health(h *Health, now time.Time) {
	sensor := m.sensor(h)
	m.sensorSeen.WithLabelValues(sensor).Set(float64(now.Unix()))
	switch kind := healthKind(h.Rule); kind {
	case "drop":
		m.sensorEvents.WithLabelValues(kind).Inc()
		// The event of dropped system calls counts since the one before (falco, syscall_evt_drop_mgr.cpp).
		if dropped, ok := amount(h, "n_drops"); ok {
			m.sensorDrops.WithLabelValues(sensor).Add(dropped)
		}
	default:
		m.sensorEvents.WithLabelValues(kind).Inc()
		if dropped, ok := amount(h, "scap.n_drops"); ok {
			m.sensorTotals.WithLabelValues(sensor, "kernel").Set(dropped)
		}
		if dropped, ok := amount(h, "falco.outputs_queue_num_drops"); ok {
			m.sensorTotals.WithLabelValues(sensor, "outputs").Set(dropped)
		}
	}
}

func healthKind(rule string) string {
	switch {
	case strings.Contains(rule, "drop"):
		return "drop"
	case strings.Contains(rule, "metrics"):
		return "metrics"
	}
	return "other"
}

// amount is a number that counts something.
func amount(h *Health, name string) (float64, bool) {
	value, err := h.Numbers[name].Float64()
	return value, err == nil && value >= 0 && !math.IsInf(value, 0)
}

package queue

import (
	"time"

	"github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what becomes of scans. It is a [prometheus.Collector].
type Metrics struct {
	objects *prometheus.GaugeVec
	scans   *prometheus.CounterVec
	seconds prometheus.Histogram
	expired prometheus.Counter
}

// NewMetrics makes counters at zero.
func NewMetrics() *Metrics {
	return &Metrics{
		objects: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "portcullis_scan_queue_objects", Help: "ImageScan objects by phase."}, []string{"phase"}),
		scans: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portcullis_scans_total", Help: "Scans by how they ended: complete, unscannable, error, failed, interrupted, lost, unwritten."}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "portcullis_scan_duration_seconds", Help: "Time of a scan with its pull.", Buckets: []float64{.1, .3, 1, 3, 10, 30, 100, 300, 1000}}),
		expired: prometheus.NewCounter(prometheus.CounterOpts{Name: "portcullis_scan_queue_expired_total", Help: "ImageScan objects deleted because nobody asked any longer."}),
	}
}

func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.objects, m.scans, m.seconds, m.expired}
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(out)
	}
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(out)
	}
}

// queue counts the objects.
func (m *Metrics) queue(all []*v1alpha1.ImageScan) {
	counts := map[v1alpha1.Phase]int{}
	for _, scan := range all {
		counts[scan.Status.Phase]++
	}
	counts[v1alpha1.PhaseQueued] += counts[""]
	for _, phase := range []v1alpha1.Phase{v1alpha1.PhaseQueued, v1alpha1.PhaseRunning, v1alpha1.PhaseDone, v1alpha1.PhaseFailed} {
		m.objects.WithLabelValues(string(phase)).Set(float64(counts[phase]))
	}
}

func (m *Metrics) count(result string, took time.Duration) {
	m.scans.WithLabelValues(result).Inc()
	m.seconds.Observe(took.Seconds())
}

package rescan

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what Prometheus sees of a Rescan. It is a [prometheus.Collector].
type Metrics struct {
	images   *prometheus.GaugeVec
	asked    prometheus.Counter
	database prometheus.Gauge
}

// NewMetrics makes metrics at zero.
func NewMetrics() *Metrics {
	return &Metrics{
		images: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "portcullis_audit_images", Help: "Images that run in this replica's share, by their last scan: current, outdated (made with an older database), waiting, failed, none."}, []string{"scan"}),
		asked:    prometheus.NewCounter(prometheus.CounterOpts{Name: "portcullis_audit_rescans_total", Help: "Scans of images that run that this replica has asked for."}),
		database: prometheus.NewGauge(prometheus.GaugeOpts{Name: "portcullis_audit_database_timestamp_seconds", Help: "When the newest vulnerability database was made that a scan tells of; 0 where none does."}),
	}
}

func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.images, m.asked, m.database}
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

func (m *Metrics) saw(images map[state]int, database time.Time) {
	for _, is := range []state{stateCurrent, stateOutdated, stateWaiting, stateFailed, stateNone} {
		m.images.WithLabelValues(string(is)).Set(float64(images[is]))
	}
	if database.IsZero() {
		m.database.Set(0)
		return
	}
	m.database.Set(float64(database.Unix()))
}

// lost takes back what was seen: the queue is not known any more.
func (m *Metrics) lost() {
	m.images.Reset()
	m.database.Set(0)
}

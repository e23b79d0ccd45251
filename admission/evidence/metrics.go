package evidence

import (
	"time"

	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/prometheus/client_golang/prometheus"
)

// look is how something was found.
type look string

const (
	lookHit     look = "hit"     // it was remembered
	lookMiss    look = "miss"    // it had to be found out
	lookJoined  look = "joined"  // somebody was finding it out already
	lookRefresh look = "refresh" // it was remembered, and is found out anew in the background
	lookDisk    look = "disk"    // it was verified from what is kept on disk
)

// Metrics count what is found out about images. Labels take values of this package only.
type Metrics struct {
	looks     *prometheus.CounterVec
	hits      map[part]prometheus.Counter // of looks: what happens all the time
	faults    *prometheus.CounterVec
	durations *prometheus.HistogramVec
	gathering prometheus.Histogram
	held      func() (entries, bytes int)
	entries   *prometheus.Desc
	bytes     *prometheus.Desc
}

// NewMetrics makes metrics for one [Facts]. They are a [prometheus.Collector].
func NewMetrics() *Metrics {
	// From memory to the API server's longest timeout.
	buckets := []float64{.00005, .0005, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	m := &Metrics{
		hits: map[part]prometheus.Counter{},
		looks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portcullis_evidence_lookups_total",
			Help: "Questions about images by part (digest, evidence, statements, configs, queue, owner) and how they were answered.",
		}, []string{"part", "outcome"}),
		faults: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portcullis_evidence_faults_total",
			Help: "What could not be found out about images, by part and kind of fault.",
		}, []string{"part", "kind"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "portcullis_evidence_fetch_duration_seconds",
			Help:    "Time to find something out, by part; evidence is one verification.",
			Buckets: buckets,
		}, []string{"part"}),
		gathering: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "portcullis_evidence_gather_duration_seconds",
			Help:    "Time that requests waited for what policies read of their images.",
			Buckets: buckets,
		}),
		held:    func() (int, int) { return 0, 0 },
		entries: prometheus.NewDesc("portcullis_evidence_cache_entries", "Images whose evidence is in memory.", nil, nil),
		bytes:   prometheus.NewDesc("portcullis_evidence_cache_bytes", "Estimated memory of that evidence.", nil, nil),
	}
	for _, p := range []part{partResolved, partEvidence, partStatements, partConfigs, partQueue, partOwner} {
		m.hits[p] = m.looks.WithLabelValues(string(p), string(lookHit))
	}
	return m
}

// watch says where to ask for the size of the cache, before anything is collected.
func (m *Metrics) watch(held func() (entries, bytes int)) { m.held = held }

// Describe and Collect make it a [prometheus.Collector].
func (m *Metrics) Describe(descs chan<- *prometheus.Desc) {
	m.looks.Describe(descs)
	m.faults.Describe(descs)
	m.durations.Describe(descs)
	m.gathering.Describe(descs)
	descs <- m.entries
	descs <- m.bytes
}

// Collect: see Describe.
func (m *Metrics) Collect(metrics chan<- prometheus.Metric) {
	m.looks.Collect(metrics)
	m.faults.Collect(metrics)
	m.durations.Collect(metrics)
	m.gathering.Collect(metrics)
	entries, bytes := m.held()
	metrics <- prometheus.MustNewConstMetric(m.entries, prometheus.GaugeValue, float64(entries))
	metrics <- prometheus.MustNewConstMetric(m.bytes, prometheus.GaugeValue, float64(bytes))
}

func (m *Metrics) looked(p part, how look) {
	if how == lookHit {
		m.hits[p].Inc()
		return
	}
	m.looks.WithLabelValues(string(p), string(how)).Inc()
}

// landed counts the end of a flight.
func (m *Metrics) landed(p part, took time.Duration, err error) {
	m.durations.WithLabelValues(string(p)).Observe(took.Seconds())
	if err != nil {
		m.faults.WithLabelValues(string(p), faultKind(err)).Inc()
	}
}

func (m *Metrics) gathered(took time.Duration) { m.gathering.Observe(took.Seconds()) }

// faultKind is the registry's kind or one of this package's own.
func faultKind(err error) string {
	if kind := registry.KindOf(err); kind != "" {
		return string(kind)
	}
	return "other"
}

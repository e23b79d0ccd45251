// Package metrics is where a program of Portcullis keeps what it counts, and how Prometheus reads it.
//
// A [Registry] refuses metrics that break the conventions when they are registered, so that a program with one does not
// start, and leaves out series beyond a limit when metrics are read, so that no label can make Prometheus grow without end. What it
// leaves out it counts in portcullis_metrics_dropped_series_total.
package metrics

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"

	"github.com/portcullis-dev/portcullis/cmd/internal/version"
)

// Registry is a [prometheus.Registerer] and a [prometheus.Gatherer]. Make one with [NewRegistry].
type Registry struct {
	registered *prometheus.Registry
	guard      guard

	mu      sync.Mutex
	catalog map[string]Description
}

// NewRegistry makes the registry of a program ("portcullis-webhook"), which has what every program has: which build it is, and
// the state of the process and of Go's runtime.
func NewRegistry(program string) *Registry {
	dropped := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "portcullis_metrics_dropped_series_total",
		Help: "Series that were left out, by metric, counted each time that metrics are read: counters are added up in a series whose labels are other.",
	}, []string{"metric"})
	r := &Registry{
		registered: prometheus.NewRegistry(),
		guard:      guard{samples: DefaultSamples, families: map[string]*family{}, dropped: dropped},
		catalog:    map[string]Description{},
	}
	r.limit(DefaultSeries)
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "portcullis_build_info", Help: "1, with the program, its version, the commit that it was built from and the version of Go.",
	}, []string{"program", "version", "revision", "go_version"})
	build.WithLabelValues(program, version.String(), version.Commit(), runtime.Version()).Set(1)
	r.MustRegister(build, dropped, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// limit sets how many series a metric has where nothing else is said of it.
func (r *Registry) limit(series int) {
	r.guard.most = func(name string) int { return mostOf(name, series) }
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, d := range r.catalog {
		d.Series = r.guard.most(name)
		r.catalog[name] = d
	}
}

// Register implements [prometheus.Registerer]. It is an error to register a metric that breaks a rule of [Description.Check], and a
// collector that does not say what it collects.
func (r *Registry) Register(collector prometheus.Collector) error {
	described, err := describe(collector)
	if err != nil {
		return err
	}
	for _, d := range described {
		if err := d.Check(); err != nil {
			return fmt.Errorf("registering the metric %s: %w", d.Name, err)
		}
	}
	if err := r.registered.Register(collector); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range described {
		d.Series = r.guard.most(d.Name)
		r.catalog[d.Name] = d
	}
	return nil
}

// MustRegister implements [prometheus.Registerer]: it panics where Register has an error.
func (r *Registry) MustRegister(all ...prometheus.Collector) {
	for _, collector := range all {
		if err := r.Register(collector); err != nil {
			panic(err)
		}
	}
}

// Unregister implements [prometheus.Registerer].
func (r *Registry) Unregister(collector prometheus.Collector) bool {
	return r.registered.Unregister(collector)
}

// Gauge adds a value that is asked for when metrics are read.
func (r *Registry) Gauge(name, help string, value func() float64) {
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}

// Gauges adds a family of values, by one label, that are asked for when metrics are read.
func (r *Registry) Gauges(name, help, label string, values func() map[string]float64) {
	r.MustRegister(&gauges{prometheus.NewDesc(name, help, []string{label}, nil), values})
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

// Gather implements [prometheus.Gatherer]: what is there, within the limits.
func (r *Registry) Gather() ([]*dto.MetricFamily, error) {
	families, err := r.registered.Gather()
	return r.guard.limit(families), err
}

// Catalog describes every metric that is registered, by name, whether or not it has values yet.
func (r *Registry) Catalog() []Description {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Description, 0, len(r.catalog))
	for _, d := range r.catalog {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b Description) int { return strings.Compare(a.Name, b.Name) })
	return all
}

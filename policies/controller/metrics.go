package controller

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// Results of a look at a source, as the metric has them.
const (
	resultNew       = "new"
	resultUnchanged = "unchanged"
	resultRefused   = "refused"
	resultError     = "error"
)

// phases are all that a bundle may be in.
var phases = []v1alpha1.Phase{v1alpha1.PhaseActive, v1alpha1.PhaseShadow, v1alpha1.PhaseCanary, v1alpha1.PhaseStandby, v1alpha1.PhaseRolledBack}

// Metrics are those of a controller. They are a [prometheus.Collector].
type Metrics struct {
	leader      prometheus.Gauge
	info        *prometheus.GaugeVec
	serial      *prometheus.GaugeVec
	since       *prometheus.GaugeVec
	phase       *prometheus.GaugeVec
	accepted    *prometheus.GaugeVec
	denials     *prometheus.GaugeVec
	compared    *prometheus.GaugeVec
	shed        *prometheus.GaugeVec
	replicas    *prometheus.GaugeVec
	fetches     *prometheus.CounterVec
	lastFetch   *prometheus.GaugeVec
	transitions *prometheus.CounterVec
	expiries    *prometheus.GaugeVec
	expiringAll prometheus.Gauge
}

// NewMetrics makes them.
func NewMetrics() *Metrics {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "portcullis_" + name, Help: help}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "portcullis_" + name, Help: help}, labels)
	}
	return &Metrics{
		leader:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "portcullis_controller_leader", Help: "1 where this replica leads."}),
		info:        gauge("bundle_info", "1 for the active revision of a bundle, and for the one on trial.", "bundle", "role", "revision"),
		serial:      gauge("bundle_serial", "Serial of the active revision.", "bundle"),
		since:       gauge("bundle_active_since_timestamp_seconds", "When the active revision became active.", "bundle"),
		phase:       gauge("bundle_phase", "1 for the phase that a bundle is in, 0 for all others.", "bundle", "phase"),
		accepted:    gauge("bundle_accepted", "1 where what the source has may be active, 0 where it is refused.", "bundle"),
		denials:     gauge("bundle_new_denials", "Requests that the revision on trial denies and the active one admits.", "bundle"),
		compared:    gauge("bundle_compared", "Requests that both have judged.", "bundle"),
		shed:        gauge("bundle_comparisons_shed", "Requests that were not compared, for want of time.", "bundle"),
		replicas:    gauge("bundle_replicas", "Replicas that have reported within a minute, and those of them that have loaded what they are to load.", "bundle", "state"),
		fetches:     counter("bundle_fetches_total", "Looks at a source: new, unchanged, refused (not activated) or error.", "bundle", "result"),
		lastFetch:   gauge("bundle_last_fetch_timestamp_seconds", "When the source was last reached.", "bundle"),
		transitions: counter("bundle_transitions_total", "Steps of rollouts.", "bundle", "step"),
		expiries:    gauge("exception_expiry_timestamp_seconds", "When an exception of the cluster ends, for those that do within 7 days.", "namespace", "name"),
		expiringAll: prometheus.NewGauge(prometheus.GaugeOpts{Name: "portcullis_exceptions_expiring", Help: "Exceptions of the cluster that end within 7 days."}),
	}
}

func (m *Metrics) byBundle() []*prometheus.MetricVec {
	return []*prometheus.MetricVec{
		m.info.MetricVec, m.serial.MetricVec, m.since.MetricVec, m.phase.MetricVec, m.accepted.MetricVec, m.denials.MetricVec, m.compared.MetricVec,
		m.shed.MetricVec, m.replicas.MetricVec, m.fetches.MetricVec, m.lastFetch.MetricVec, m.transitions.MetricVec,
	}
}

func (m *Metrics) collectors() []prometheus.Collector {
	all := []prometheus.Collector{m.leader, m.expiries, m.expiringAll}
	for _, v := range m.byBundle() {
		all = append(all, v)
	}
	return all
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(to)
	}
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(to)
	}
}

func (m *Metrics) leads(is bool) {
	m.leader.Set(0)
	if is {
		m.leader.Set(1)
		return
	}
	for _, v := range m.byBundle() { // they are for whoever leads to say
		v.Reset()
	}
	m.expiries.Reset()
}

// forget takes out a bundle that is gone.
func (m *Metrics) forget(bundle string) {
	for _, v := range m.byBundle() {
		v.DeletePartialMatch(prometheus.Labels{"bundle": bundle})
	}
}

// fetched counts a look at a source.
func (m *Metrics) fetched(bundle string, found *findings, err error) {
	result := resultNew
	switch {
	case errors.Is(err, source.ErrUnchanged):
		result = resultUnchanged
	case err != nil:
		result = resultError
	case found.refused != nil:
		result = resultRefused
	}
	m.fetches.WithLabelValues(bundle, result).Inc()
	if result != resultError {
		m.lastFetch.WithLabelValues(bundle).Set(seconds(found.looked))
	}
}

func (m *Metrics) transition(bundle, step string) {
	m.transitions.WithLabelValues(bundle, step).Inc()
}

// describe says what the status of a bundle says.
func (m *Metrics) describe(b *v1alpha1.PolicyBundle) {
	of := prometheus.Labels{"bundle": b.Name}
	m.info.DeletePartialMatch(of)
	for role, r := range map[string]*v1alpha1.RevisionStatus{"active": b.Status.Active, "candidate": b.Status.Candidate} {
		if r != nil {
			m.info.WithLabelValues(b.Name, role, r.Digest).Set(1)
		}
	}
	if active := b.Status.Active; active != nil {
		m.serial.With(of).Set(float64(active.Serial))
		m.since.With(of).Set(seconds(active.Since.Time))
	}
	for _, phase := range phases {
		m.phase.WithLabelValues(b.Name, string(phase)).Set(0)
	}
	if b.Status.Phase != "" {
		m.phase.WithLabelValues(b.Name, string(b.Status.Phase)).Set(1)
	}
	m.accepted.With(of).Set(1)
	for _, c := range b.Status.Conditions {
		if c.Type == v1alpha1.ConditionAccepted && c.Status == "False" {
			m.accepted.With(of).Set(0)
		}
	}
	comparison := b.Status.Comparison
	if comparison == nil {
		comparison = &v1alpha1.Comparison{}
	}
	m.denials.With(of).Set(float64(comparison.NewDenials))
	m.compared.With(of).Set(float64(comparison.Compared))
	m.shed.With(of).Set(float64(comparison.Shed))
	m.replicas.WithLabelValues(b.Name, "live").Set(float64(b.Status.Replicas))
	m.replicas.WithLabelValues(b.Name, "ready").Set(float64(b.Status.ReadyReplicas))
}

// expiry is when an exception ends.
type expiry struct {
	namespace, name string
	at              time.Time
}

// expiring says which exceptions end soon, and how many do, those that have no metric of their own among them.
func (m *Metrics) expiring(soon []expiry, all int) {
	m.expiries.Reset()
	for _, e := range soon {
		m.expiries.WithLabelValues(e.namespace, e.name).Set(seconds(e.at))
	}
	m.expiringAll.Set(float64(all))
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

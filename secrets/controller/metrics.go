package controller

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// metrics count. Their labels are engines, reasons and classes only: there are few of those, however many objects there are.
type metrics struct {
	c *Controller

	leader    prometheus.Gauge
	syncs     *prometheus.CounterVec
	durations *prometheus.HistogramVec
	writes    *prometheus.CounterVec
	leases    *prometheus.CounterVec
	denials   *prometheus.CounterVec
	restarts  prometheus.Counter
	last      prometheus.Gauge

	objects, age, unsynced, expiry, depth, up, sealed *prometheus.Desc
}

func newMetrics(c *Controller, registerer prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "portcullis_secrets_" + name, Help: help}, labels)
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("portcullis_secrets_"+name, help, labels, nil)
	}
	m := &metrics{
		c:      c,
		leader: prometheus.NewGauge(prometheus.GaugeOpts{Name: "portcullis_secrets_leader", Help: "1 where this replica acts."}),
		syncs:  counter("sync_total", "Passes over VaultSecrets that wrote or failed, by engine and reason (Synced for none).", "engine", "reason"),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "portcullis_secrets_sync_duration_seconds", Help: "How long passes over VaultSecrets took, by engine.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60},
		}, []string{"engine"}),
		writes:   counter("writes_total", "Secrets and ConfigMaps that were created or changed, by engine.", "engine"),
		leases:   counter("leases_total", "What became of leases, certificates and secret ids, by engine: issued, renewed, resumed, lost.", "engine", "event"),
		denials:  counter("denied_total", "Syncs that policies denied, or could not decide, by engine and reason.", "engine", "reason"),
		restarts: prometheus.NewCounter(prometheus.CounterOpts{Name: "portcullis_secrets_restarts_total", Help: "Workloads that were restarted."}),
		last:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "portcullis_secrets_last_sync_success_timestamp_seconds", Help: "When a VaultSecret was last synced."}),
		objects:  desc("objects", "VaultSecrets that there are, by engine and reason (Synced where that is so).", "engine", "reason"),
		age:      desc("secret_age_seconds", "Age of the oldest version that is in use, by engine.", "engine"),
		unsynced: desc("sync_age_seconds", "Time since the VaultSecret that has waited longest was known to hold what Vault gives, or was made where it never has, by engine; those that are suspended left out.", "engine"),
		expiry:   desc("lease_expiry_seconds", "Time until the first lease, certificate or secret id ends, by engine; negative where it has.", "engine"),
		depth:    desc("queue_depth", "Objects that are due, by class (renewal, people, refresh), and those that wait for their time (waiting).", "class"),
		up:       prometheus.NewDesc("portcullis_vault_up", "1 where a Vault answers and is unsealed, 0 where it does not or is not, by VaultConnection.", []string{"connection"}, nil),
		sealed:   prometheus.NewDesc("portcullis_vault_sealed", "1 where a Vault is known to be sealed, by VaultConnection.", []string{"connection"}, nil),
	}
	if registerer != nil {
		registerer.MustRegister(m)
	}
	return m
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.leader, m.syncs, m.durations, m.writes, m.leases, m.denials, m.restarts, m.last}
}

// Describe implements [prometheus.Collector].
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	for _, one := range m.collectors() {
		one.Describe(to)
	}
	for _, one := range []*prometheus.Desc{m.objects, m.age, m.unsynced, m.expiry, m.depth, m.up, m.sealed} {
		to <- one
	}
}

// Collect implements [prometheus.Collector].
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	for _, one := range m.collectors() {
		one.Collect(to)
	}
	if !m.c.Leads() {
		return
	}
	m.c.mu.Lock()
	objects, queue := m.c.objects, m.c.queue
	m.c.mu.Unlock()
	now := m.c.o.Clock.Now()
	type counted struct{ engine, reason string }
	numbers, ages, unsynced, expiries := map[counted]int{}, map[string]time.Duration{}, map[string]time.Duration{}, map[string]time.Duration{}
	for _, object := range objects.List() {
		secret, ok := object.(*v1alpha1.VaultSecret)
		if !ok {
			continue
		}
		engine, reason := engineWord(secret.Spec.Source.Engine()), "Pending"
		if synced := condition(secret.Status.Conditions, v1alpha1.ConditionSynced); synced != nil {
			reason = synced.Reason
		}
		numbers[counted{engine, reason}]++
		if created := statusTime(secret.Status.Created); !created.IsZero() {
			ages[engine] = max(ages[engine], now.Sub(created))
		}
		last := secret.CreationTimestamp
		if synced := secret.Status.LastSync; synced != nil {
			last = *synced
		}
		if !secret.Spec.Suspend {
			unsynced[engine] = max(unsynced[engine], now.Sub(last.Time))
		}
		if lease := secret.Status.Lease; lease != nil {
			left := lease.Expires.Sub(now)
			if known, ok := expiries[engine]; !ok || left < known {
				expiries[engine] = left
			}
		}
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	for by, n := range numbers {
		gauge(m.objects, float64(n), by.engine, by.reason)
	}
	for engine, age := range ages {
		gauge(m.age, age.Seconds(), engine)
	}
	for engine, waited := range unsynced {
		gauge(m.unsynced, waited.Seconds(), engine)
	}
	for engine, left := range expiries {
		gauge(m.expiry, left.Seconds(), engine)
	}
	ready, waiting := queue.Length()
	for class, name := range [classes]string{"renewal", "people", "refresh"} {
		gauge(m.depth, float64(ready[class]), name)
	}
	gauge(m.depth, float64(waiting), "waiting")
	for _, connection := range m.c.connectionsNow() {
		if ready := condition(connection.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
			gauge(m.up, one(ready.Status == metav1.ConditionTrue), connection.Name)
		}
		if sealed := connection.Status.Sealed; sealed != nil {
			gauge(m.sealed, one(*sealed), connection.Name)
		}
	}
}

// one is 1 where something is so.
func one(so bool) float64 {
	if so {
		return 1
	}
	return 0
}

func engineWord(engine string) string {
	if engine == "" {
		return "none"
	}
	return engine
}

func (m *metrics) leads(leads bool) {
	m.leader.Set(one(leads))
}

// passed counts a pass; those that found nothing to do count for the duration only.
func (m *metrics) passed(engine string, reason secrets.Reason, took time.Duration, counts bool) {
	engine = engineWord(engine)
	m.durations.WithLabelValues(engine).Observe(took.Seconds())
	if reason == "" {
		m.last.Set(float64(m.c.o.Clock.Now().Unix()))
		reason = "Synced"
	}
	if counts {
		m.syncs.WithLabelValues(engine, string(reason)).Inc()
	}
}

func (m *metrics) wrote(engine string)   { m.writes.WithLabelValues(engine).Inc() }
func (m *metrics) issued(engine string)  { m.leases.WithLabelValues(engine, "issued").Inc() }
func (m *metrics) renewed(engine string) { m.leases.WithLabelValues(engine, "renewed").Inc() }
func (m *metrics) resumed(engine string) { m.leases.WithLabelValues(engine, "resumed").Inc() }
func (m *metrics) lost(engine string)    { m.leases.WithLabelValues(engine, "lost").Inc() }
func (m *metrics) restarted()            { m.restarts.Inc() }
func (m *metrics) denied(engine string, reason secrets.Reason) {
	m.denials.WithLabelValues(engineWord(engine), string(reason)).Inc()
}

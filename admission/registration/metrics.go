package registration

import (
	"crypto/x509"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Reasons why nothing is registered, as the metric has them.
const (
	waitUninstalled = "uninstalled" // portcullis-controller uninstall was run
	waitPolicies    = "policies"    // no policies are known, or they match nothing
	waitService     = "service"     // the webhook's Service does not exist
	waitEndpoints   = "endpoints"   // no replica of the webhook is ready
	waitForeign     = "foreign"     // somebody else has configurations or Secrets of that name
)

var waits = []string{waitUninstalled, waitPolicies, waitService, waitEndpoints, waitForeign}

// Results of a write, as the metric has them.
const (
	wroteCreated = "created"
	wroteUpdated = "updated"
	wroteHealed  = "healed" // what somebody else has changed was put back
	wroteDeleted = "deleted"
	wroteFailed  = "failed"
)

// Metrics are those of a registration. They are a [prometheus.Collector]. What only the leader knows is there only where it leads.
type Metrics struct {
	expiry     *prometheus.GaugeVec
	registered *prometheus.GaugeVec
	waiting    *prometheus.GaugeVec
	writes     *prometheus.CounterVec
	endpoints  *prometheus.GaugeVec
	turn       *prometheus.GaugeVec
	turns      *prometheus.CounterVec
	active     *prometheus.GaugeVec
	glassEnd   *prometheus.GaugeVec
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
		expiry:     gauge("registration_certificate_expiry_timestamp_seconds", "When the webhook's certificates end: authority or leaf.", "certificate"),
		registered: gauge("registration_registered", "1 where the API server has the webhook configuration, by door: validating or mutating.", "door"),
		waiting:    gauge("registration_waiting", "1 for the reason why nothing is registered: uninstalled, policies, service, endpoints or foreign.", "reason"),
		writes:     counter("registration_writes_total", "Writes of what is kept (validating, mutating, authority, leaf), by result: created, updated, healed after somebody else had changed it, deleted or failed.", "object", "result"),
		endpoints:  gauge("registration_endpoints_ready", "Endpoints of the webhook that are ready."),
		turn:       gauge("registration_last_success_timestamp_seconds", "When everything was last found, or made, as it has to be."),
		turns:      counter("registration_turns_total", "Looks at what is registered, by result: ok or failed.", "result"),
		active:     gauge("break_glass_active", "1 while admission fails open, by whatever way."),
		glassEnd:   gauge("break_glass_expiry_timestamp_seconds", "When admission fails closed again, 0 where it does."),
	}
}

func (m *Metrics) gauges() []*prometheus.GaugeVec {
	return []*prometheus.GaugeVec{m.expiry, m.registered, m.waiting, m.endpoints, m.turn, m.active, m.glassEnd}
}

func (m *Metrics) collectors() []prometheus.Collector {
	all := []prometheus.Collector{m.writes, m.turns}
	for _, g := range m.gauges() {
		all = append(all, g)
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

// reset takes out what is for whoever leads to say.
func (m *Metrics) reset() {
	for _, g := range m.gauges() {
		g.Reset()
	}
}

func (m *Metrics) waits(reason string) {
	for _, one := range waits {
		value := 0.0
		if one == reason {
			value = 1
		}
		m.waiting.WithLabelValues(one).Set(value)
	}
}

func (m *Metrics) wrote(object, result string) { m.writes.WithLabelValues(object, result).Inc() }

func (m *Metrics) expires(authority, leaf *x509.Certificate) {
	for name, one := range map[string]*x509.Certificate{"authority": authority, "leaf": leaf} {
		if one == nil {
			m.expiry.DeleteLabelValues(name)
			continue
		}
		m.expiry.WithLabelValues(name).Set(seconds(one.NotAfter))
	}
}

func (m *Metrics) glass(open []Opening) {
	_, last := ends(open)
	active, end := 0.0, 0.0
	if len(open) > 0 {
		active, end = 1, seconds(last)
	}
	m.active.WithLabelValues().Set(active)
	m.glassEnd.WithLabelValues().Set(end)
}

func (m *Metrics) has(seen map[door]*configured) {
	for _, d := range doors {
		value := 0.0
		if seen[d] != nil {
			value = 1
		}
		m.registered.WithLabelValues(string(d)).Set(value)
	}
}

func (m *Metrics) turned(now time.Time, err error) {
	if err != nil {
		m.turns.WithLabelValues("failed").Inc()
		return
	}
	m.turns.WithLabelValues("ok").Inc()
	m.turn.WithLabelValues().Set(seconds(now))
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

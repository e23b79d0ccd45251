package vault

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/portcullis-dev/portcullis/secrets"
)

// metrics count what was asked. Labels are names of VaultConnections, and words that are known beforehand.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	logins   *prometheus.CounterVec
	turns    *prometheus.HistogramVec
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portcullis_vault_requests_total", Help: "Requests to Vault, by VaultConnection, operation and reason of failure (none: ok).",
		}, []string{"connection", "operation", "reason"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "portcullis_vault_request_duration_seconds", Help: "How long requests to Vault took, the wait for their turn included.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"connection", "operation"}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portcullis_vault_logins_total", Help: "Logins at Vault, by VaultConnection, method and reason of failure (none: ok).",
		}, []string{"connection", "method", "reason"}),
		turns: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "portcullis_vault_wait_seconds", Help: "How long requests to Vault waited for their turn (requestsPerSecond of the VaultConnection).",
			Buckets: []float64{.001, .01, .1, .5, 1, 5, 10, 30, 60},
		}, []string{"connection"}),
	}
	if registerer != nil {
		registerer.MustRegister(m.requests, m.duration, m.logins, m.turns)
	}
	return m
}

func (m *metrics) asked(connection, operation string, reason secrets.Reason, took time.Duration) {
	m.requests.WithLabelValues(connection, operation, wordOf(reason)).Inc()
	m.duration.WithLabelValues(connection, operation).Observe(took.Seconds())
}

func (m *metrics) loggedIn(connection, method string, reason secrets.Reason) {
	m.logins.WithLabelValues(connection, method, wordOf(reason)).Inc()
}

func (m *metrics) waited(connection string, waited time.Duration) {
	m.turns.WithLabelValues(connection).Observe(waited.Seconds())
}

func (m *metrics) forget(connection string) {
	of := prometheus.Labels{"connection": connection}
	m.requests.DeletePartialMatch(of)
	m.duration.DeletePartialMatch(of)
	m.logins.DeletePartialMatch(of)
	m.turns.DeletePartialMatch(of)
}

func wordOf(reason secrets.Reason) string {
	if reason == "" {
		return "ok"
	}
	return string(reason)
}

// expiries are the tokens' as a collector of Prometheus: for each VaultConnection the time until the first of its tokens ends.
type expiries struct {
	pool *Pool
	desc *prometheus.Desc
}

func newExpiries(pool *Pool) expiries {
	return expiries{pool, prometheus.NewDesc("portcullis_vault_token_expiry_seconds",
		"Time until the token that ends first does, by VaultConnection; negative where it has ended.", []string{"connection"}, nil)}
}

func (e expiries) Describe(to chan<- *prometheus.Desc) { to <- e.desc }

func (e expiries) Collect(to chan<- prometheus.Metric) {
	first := map[string]time.Time{}
	for _, client := range e.pool.all() {
		if at := client.expires(); !at.IsZero() && (first[client.conn.name].IsZero() || at.Before(first[client.conn.name])) {
			first[client.conn.name] = at
		}
	}
	for connection, at := range first {
		to <- prometheus.MustNewConstMetric(e.desc, prometheus.GaugeValue, at.Sub(e.pool.clock.Now()).Seconds(), connection)
	}
}

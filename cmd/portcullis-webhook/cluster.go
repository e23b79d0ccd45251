package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/shadow"
	"github.com/portcullis-dev/portcullis/admission/webhook"
	"github.com/portcullis-dev/portcullis/cmd/internal/metrics"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/cluster"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
)

// podLabel names the pod of a replica in its PolicyReplica.
const podLabel = "policy.portcullis.dev/pod"

// expiringSoon is when an exception counts as expiring.
const expiringSoon = 7 * 24 * time.Hour

// watchCluster has the bundles of the cluster judge from when they are loaded.
func (f *flags) watchCluster(config *rest.Config, images *images, follow func(context.Context, []policies.Read) error, reviewer *recent, compared *shadow.Shadow, logger *slog.Logger, registry *metrics.Registry, tasks *background) (webhook.Check, error) {
	name, labels := replicaName()
	watch, err := cluster.New(config, cluster.Options{
		Verifier: images.bundleVerifier(), Included: []policies.Included{builtIn()}, Accepts: images.accepts,
		Directory: f.bundleCache, Name: name, Labels: labels, Logger: logger,
		Install: func(lineup *admission.Lineup) {
			compared.Follow(lineup) // first, so that nothing that is offered is unknown to it
			install(reviewer, lineup, logger)
		},
		Follow: follow, Seen: compared.Snapshot,
	})
	if err != nil {
		return webhook.Check{}, correct("--bundle-cache", err)
	}
	*tasks = append(*tasks, watch.Run, compared.Run)
	registry.MustRegister(bundleMetrics{watch, compared})
	return webhook.Check{Name: "bundles", Check: watch.Check, Notes: watch.Notes}, nil
}

// replicaName is that of this process's PolicyReplica: the pod's, which a restarted container shares, and chance.
func replicaName() (name string, labels map[string]string) {
	const bits, longest = 40, validation.DNS1123LabelMaxLength - 11
	suffix := make([]byte, bits/8)
	_, _ = rand.Read(suffix) // it never fails (crypto/rand)
	host, err := os.Hostname()
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	if err != nil || len(validation.IsDNS1123Label(host)) > 0 {
		host = "webhook"
	}
	short := strings.TrimRight(host[:min(len(host), longest)], "-")
	return short + "-" + hex.EncodeToString(suffix), map[string]string{podLabel: host}
}

// bundleMetrics are what is judged by, and how far what is on trial was compared.
type bundleMetrics struct {
	watch  *cluster.Watch
	shadow *shadow.Shadow
}

var (
	bundleInfo = prometheus.NewDesc("portcullis_webhook_bundle_info", "Revisions that are loaded, by bundle and role: active or candidate.",
		[]string{"bundle", "role", "revision"}, nil)
	bundleProblem = prometheus.NewDesc("portcullis_webhook_bundle_outdated", "Whether a bundle is not as its PolicyBundle says: 1 where the last good revision goes on.",
		[]string{"bundle"}, nil)
	shadowTotal = prometheus.NewDesc("portcullis_webhook_compared_total", "Requests that were to be compared with a revision on trial, by result: compared or shed.",
		[]string{"result"}, nil)
	exceptionsDesc = prometheus.NewDesc("portcullis_webhook_exceptions", "Exceptions of the cluster by state: valid, expiring within 7 days, expired.",
		[]string{"state"}, nil)
)

// Describe implements [prometheus.Collector].
func (bundleMetrics) Describe(into chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{bundleInfo, bundleProblem, shadowTotal, exceptionsDesc} {
		into <- desc
	}
}

// Collect implements [prometheus.Collector].
func (m bundleMetrics) Collect(into chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		into <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	for _, bundle := range m.watch.Report() {
		if bundle.Active != "" {
			gauge(bundleInfo, 1, bundle.Name, "active", bundle.Active)
		}
		if bundle.Candidate != "" {
			gauge(bundleInfo, 1, bundle.Name, "candidate", bundle.Candidate)
		}
		gauge(bundleProblem, float64(min(len(bundle.Error), 1)), bundle.Name)
	}
	compared, shed := m.shadow.Counts()
	into <- prometheus.MustNewConstMetric(shadowTotal, prometheus.CounterValue, float64(compared), "compared")
	into <- prometheus.MustNewConstMetric(shadowTotal, prometheus.CounterValue, float64(shed), "shed")
	for state, count := range countExceptions(m.watch.Exceptions(), time.Now()) {
		gauge(exceptionsDesc, float64(count), state)
	}
}

// countExceptions counts them by state; one that expires soon is valid, too.
func countExceptions(exceptions []policies.Exception, now time.Time) map[string]int {
	counts := map[string]int{"valid": 0, "expiring": 0, "expired": 0}
	for n := range exceptions {
		switch left := exceptions[n].ExpiresAt().Sub(now); {
		case left <= 0:
			counts["expired"]++
		default:
			counts["valid"]++
			if left <= expiringSoon {
				counts["expiring"]++
			}
		}
	}
	return counts
}

// writerName is what the journal calls this process.
func writerName() string {
	host, _ := os.Hostname()
	return "portcullis-webhook/" + cmp.Or(host, "unknown")
}

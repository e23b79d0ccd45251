package evidence

import (
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

func counterValue(t testing.TB, counter prometheus.Counter) float64 {
	t.Helper()
	var metric dto.Metric
	if err := counter.Write(&metric); err != nil {
		t.Fatal(err)
	}
	return metric.GetCounter().GetValue()
}

func TestMetrics(t *testing.T) {
	metrics := NewMetrics()
	all := prometheus.NewRegistry()
	all.MustRegister(metrics)
	facts := start(t, Options{Verifier: signedBy("release"), Metrics: metrics, Registry: down()})
	needs := needing(t, evidenceOnly, "ghcr.io/acme/app@"+digestOf("app"))
	gatherOne(t, facts, needs)
	gatherOne(t, facts, needs)
	gatherOne(t, facts, needing(t, evidenceOnly, "ghcr.io/acme/app:1"))
	families, err := all.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			line := strings.TrimPrefix(family.GetName(), "portcullis_evidence_")
			for _, label := range metric.GetLabel() {
				line += " " + label.GetValue()
			}
			got = append(got, line)
		}
	}
	all2 := strings.Join(got, "\n") + "\n"
	for _, want := range []string{"cache_bytes", "cache_entries", "gather_duration_seconds", "fetch_duration_seconds evidence", "lookups_total hit evidence", "lookups_total miss evidence", "faults_total " + string(registry.Unreachable) + " digest"} {
		if !strings.Contains(all2, want+"\n") {
			t.Errorf("the metrics are\n%swant %q", all2, want)
		}
	}
}

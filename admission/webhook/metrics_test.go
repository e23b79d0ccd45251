package webhook

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// exposed is what Prometheus reads, as OpenMetrics.
func exposed(t *testing.T, metrics *Metrics) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics)
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(answer, request)
	return answer.Body.String()
}

func TestFailuresThatLetInAreCounted(t *testing.T) {
	fault := func(policy string, mode policies.FailMode, enforcement policies.Enforcement) policies.Fault {
		return policies.Fault{Policy: policy, Kind: policies.FaultFacts, FailMode: mode, Enforcement: enforcement}
	}
	open := fault("images/trust", policies.FailOpen, policies.EnforceDeny)
	for name, test := range map[string]struct {
		verdict admission.Verdict
		want    bool
	}{
		"a policy that enforces and fails open":    {admission.Verdict{Admitted: true, Faults: []policies.Fault{open}}, true},
		"one that only warns":                      {admission.Verdict{Admitted: true, Faults: []policies.Fault{fault("images/trust", policies.FailOpen, policies.EnforceWarn)}}, false},
		"a request that is denied all the same":    {admission.Verdict{Faults: []policies.Fault{open}}, false},
		"one that fails closed":                    {admission.Verdict{Faults: []policies.Fault{fault("images/trust", policies.FailClosed, policies.EnforceDeny)}}, false},
		"one of several bundles, by its full name": {admission.Verdict{Admitted: true, Faults: []policies.Fault{{Bundle: "acme", Policy: "x", Kind: policies.FaultFacts, FailMode: policies.FailOpen}}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			metrics := NewMetrics()
			metrics.verdict(doorValidate, test.verdict)
			text := exposed(t, metrics)
			if got := strings.Contains(text, "portcullis_webhook_failed_open_total{"); got != test.want {
				t.Errorf("got counted %v, want %v:\n%s", got, test.want, text)
			}
			if !strings.Contains(text, "portcullis_webhook_faults_total{") {
				t.Errorf("the fault is not counted:\n%s", text)
			}
		})
	}
}

func TestEachBundlesEvaluationIsTimed(t *testing.T) {
	metrics := NewMetrics()
	metrics.verdict(doorMutate, admission.Verdict{Parts: []admission.Part{{Took: time.Millisecond}, {Took: 2 * time.Second}}})
	text := exposed(t, metrics)
	for _, want := range []string{
		`portcullis_webhook_evaluation_duration_seconds_count{webhook="mutate"} 2`, `portcullis_webhook_evaluation_duration_seconds_bucket{webhook="mutate",le="0.001"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s in\n%s", want, text)
		}
	}
}

// The header is that of KEP-647 and W3C Trace Context.
func TestASlowAnswerLeadsToItsTrace(t *testing.T) {
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	metrics := NewMetrics()
	metrics.observe(doorValidate, outcomeAdmitted, 20*time.Millisecond, id)
	metrics.observe(doorValidate, outcomeAdmitted, 3*time.Second, "")
	text := exposed(t, metrics)
	if !strings.Contains(text, `le="0.025"} 1 # {trace_id="`+id+`"} 0.02`) {
		t.Errorf("there is no exemplar in\n%s", text)
	}
	if strings.Count(text, "trace_id") != 1 {
		t.Errorf("the answer without a trace has one:\n%s", text)
	}
}

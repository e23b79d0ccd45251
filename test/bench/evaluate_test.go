// Package bench measures Portcullis against a webhook that only decodes and
// answers and against the same checks written in CEL.
package bench

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// parameters configure the policies that refuse everything until configured.
var parameters = map[string]map[string]any{
	"pods/image-registries": {"allowed": []any{"ghcr.io/acme", "docker.io/envoyproxy", "quay.io/prometheus"}},
}

// podPolicies makes an engine of n policies that judge any workload.
func podPolicies(tb testing.TB, n int) *policies.Engine {
	tb.Helper()
	bundle, err := policies.Load(library.FS())
	if err != nil {
		tb.Fatal(err)
	}
	var ids []string
	for id, policy := range bundle.Policies {
		if policy.Subject.Workload == "any" && len(policy.Reads) == 0 && slices.Contains(policy.Effects, policies.EffectDeny) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	if len(ids) < n {
		tb.Logf("only %d policies", len(ids))
	} else {
		ids = ids[:n]
	}
	bundle.Manifest.Policies = nil
	bundle.Manifest.Profiles = nil
	bundle.Manifest.Namespaces = nil
	for _, id := range ids {
		bundle.Manifest.Policies = append(bundle.Manifest.Policies, policies.Instance{Policy: id, Parameters: parameters[id]})
	}
	engine, err := policies.NewEngine(bundle)
	if err != nil {
		tb.Fatal(err)
	}
	return engine
}

func podRequest(tb testing.TB) *policies.Request {
	raw, err := os.ReadFile("testdata/pod.json")
	if err != nil {
		tb.Fatal(err)
	}
	return &policies.Request{
		Door: policies.DoorAdmission, Operation: "CREATE", Namespace: "shop", Name: "x",
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Object:   raw,
	}
}

func BenchmarkEvaluate50(b *testing.B) {
	engine := podPolicies(b, 50)
	request := podRequest(b)
	now := time.Now()
	result := engine.Evaluate(context.Background(), request, &policies.Facts{}, now, policies.PhaseValidate)
	b.Logf("%d matched, %d findings, %d faults %v", result.Matched, len(result.Findings), len(result.Faults), result.Faults)
	for _, f := range result.Findings {
		b.Log(f.Policy, f.Message)
	}
	b.ReportAllocs()
	for b.Loop() {
		engine.Evaluate(context.Background(), request, &policies.Facts{}, now, policies.PhaseValidate)
	}
}

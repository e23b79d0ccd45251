package gatekeeper

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
)

// measure reports, besides the mean, the median and the 99th percentile: where other programs are busy the median says most.
func measure(b *testing.B, review func()) {
	b.ReportAllocs()
	var times []time.Duration
	for b.Loop() {
		start := time.Now()
		review()
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkInventory reviews an Ingress beside a thousand others that a template looks through.
func BenchmarkInventory(b *testing.B) {
	const rego = "package a\nviolation[{\"msg\": name}] {\n  host := input.review.object.spec.rules[_].host\n" +
		"  other := data.inventory.namespace[_][_][\"Ingress\"][name]\n  other.spec.rules[_].host == host\n}"
	e := load(b, templateOf("Unique", rego), constraintOf("Unique", "c", "{}"),
		"apiVersion: syncset.gatekeeper.sh/v1alpha1\nkind: SyncSet\nmetadata: {name: s}\nspec: {gvks: [{group: networking.k8s.io, version: v1, kind: Ingress}]}\n")
	facts := noFacts()
	for n := range 1000 {
		raw := fmt.Sprintf(`{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"i%d","namespace":"shop"},"spec":{"rules":[{"host":"h%d.example"}]}}`, n, n)
		facts.Cluster = append(facts.Cluster, policies.Object{
			Group: "networking.k8s.io", Version: "v1", Kind: "Ingress", Resource: "ingresses", Namespace: "shop", Name: fmt.Sprintf("i%d", n), Raw: []byte(raw),
		})
	}
	request := requestFor(b, "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: mine, namespace: shop}\nspec: {rules: [{host: h500.example}]}\n")
	for name, changing := range map[string]bool{"nothing changes": false, "one object changes each time": true} {
		b.Run(name, func(b *testing.B) {
			measure(b, func() {
				if changing {
					facts.Cluster[0].Raw = slices.Clone(facts.Cluster[0].Raw)
				}
				if result := evaluate(e, request, facts); len(result.Findings) != 1 {
					b.Fatal(said(result))
				}
			})
		})
	}
}

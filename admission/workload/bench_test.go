package workload

import (
	"os"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var podKind = metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}

// BenchmarkExtractPod is the webhook's hot path: a pod of four containers with all
// of the API server's defaults. Its budget is 80 us and 45 KB.
func BenchmarkExtractPod(b *testing.B) {
	raw, err := os.ReadFile("testdata/pod-6k.json")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Extract(podKind, raw); err != nil {
			b.Fatal(err)
		}
	}
}

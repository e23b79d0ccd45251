package workload

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var podKind = metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}

// BenchmarkExtractPod is the webhook's hot path: a pod of four containers with all
// of the API server's defaults. Its budget is 80 us and 45 KB.
func BenchmarkExtractPod(b *testing.B) {
	raw := readFile(b, "pod-6k.json")
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Extract(podKind, raw); err != nil {
			b.Fatal(err)
		}
	}
}

// The time depends on the machine; the memory does not.
func TestExtractingAPodStaysInItsMemory(t *testing.T) {
	raw := readFile(t, "pod-6k.json")
	result := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if _, err := Extract(podKind, raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	const budget = 32 << 10
	if got := result.MemBytes / uint64(result.N); got > budget {
		t.Errorf("got %d bytes for a pod of %d, want at most %d", got, len(raw), budget)
	}
}

package quarantine

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// From a plan to the patch that isolates, with what acts in production, the API server and its durable log on the same machine: everything
// that a replica does once the policies have judged, evidence before containment included.
func BenchmarkFromPlanToIsolation(b *testing.B) {
	bench := newBench(b)
	cluster, keeper, err := realHands(bench.config)
	if err != nil {
		b.Fatal(err)
	}
	if err := cluster.Setup(b.Context()); err != nil {
		b.Fatal(err)
	}
	c := bench.controller(func(o *Options) {
		o.Cluster, o.Capturer, o.Now, o.LeaseDuration = cluster, keeper, time.Now, DefaultLeaseDuration
	})
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = c.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	labelled, err := bench.kube.CoreV1().Pods("shop").Watch(b.Context(), metav1.ListOptions{LabelSelector: v1alpha1.QuarantineLabel})
	if err != nil {
		b.Fatal(err)
	}
	defer labelled.Stop()
	isolate := func() time.Duration {
		b.StopTimer()
		pod := bench.pod("shop", fmt.Sprintf("web-%d", time.Now().UnixNano()), map[string]string{"app": "web"})
		p := plan(pod, response.Snapshot, response.Annotate, response.Isolate)
		p.Event.Owner = nil // each is of its own: limits are about owners
		b.StartTimer()
		began := time.Now()
		bench.propose(p, wide)
		for event := range labelled.ResultChan() {
			if event.Type == watch.Added && event.Object.(*corev1.Pod).UID == types.UID(pod.UID) {
				break
			}
		}
		return time.Since(began)
	}
	isolate() // the election, and the first connections
	var took []time.Duration
	for b.Loop() {
		took = append(took, isolate())
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "p99-ms")
}

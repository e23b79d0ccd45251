package controller

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// A start with 5,000 objects that were synced before: what a restart of the process costs, in real time, until all are known and each has its turn
// in the queue; and then all that is due in the next three minutes. The memory is in TestFiveThousandObjects….
func BenchmarkStartWithFiveThousandObjects(b *testing.B) {
	s := newSimulation(b)
	s.populate(5000)
	s.begin()
	s.pass(3 * time.Minute)
	s.end()
	var took, work time.Duration
	b.ResetTimer()
	for range b.N {
		began := time.Now()
		s.begin()
		took += time.Since(began)
		began = time.Now()
		s.pass(3 * time.Minute)
		work += time.Since(began)
		b.StopTimer()
		s.end()
		b.StartTimer()
	}
	b.ReportMetric(float64(took.Milliseconds())/float64(b.N), "start-ms")
	b.ReportMetric(float64(work.Milliseconds())/float64(b.N), "passes-ms")
}

// The time from a new object's creation until its status says that it is synced, with 5,000 others: of the controller alone, since Vault and the API
// server answer at once here.
func BenchmarkSyncLatencyBesideFiveThousandObjects(b *testing.B) {
	s := newSimulation(b)
	s.populate(5000)
	s.begin()
	s.pass(3 * time.Minute)
	var latencies []time.Duration
	b.ResetTimer()
	for n := range b.N {
		name := fmt.Sprintf("new%06d", n)
		s.vault.write("shop/"+name, map[string]any{"password": "new"})
		began := time.Now()
		s.put(kvSecret(name, time.Hour))
		for !isTrue(s.secret(name).Status.Conditions, v1alpha1.ConditionSynced) {
			time.Sleep(20 * time.Microsecond)
		}
		latencies = append(latencies, time.Since(began))
	}
	b.StopTimer()
	slices.Sort(latencies)
	b.ReportMetric(float64(latencies[len(latencies)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(latencies[len(latencies)*99/100].Microseconds())/1000, "p99-ms")
}

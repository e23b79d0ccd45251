//go:build unix

package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
)

// strictest judges by the library's strictest profile.
func strictest(b *testing.B) *policies.Engine {
	b.Helper()
	bundle, err := policies.Load(library.FS())
	if err != nil {
		b.Fatal(err)
	}
	engine, err := policies.NewEngineFor(bundle, "hardened")
	if err != nil {
		b.Fatal(err)
	}
	return engine
}

// largePod is the request of a pod of 6 KB. No two of them have the same template, so that nothing is remembered.
func largePod(b *testing.B, number int) admission.Request {
	b.Helper()
	object, err := os.ReadFile(filepath.Join("..", "..", "test", "bench", "testdata", "pod.json"))
	if err != nil {
		b.Fatal(err)
	}
	name := fmt.Sprint("web-", number)
	request := pod(name, "{}")
	object = bytes.Replace(object, []byte(`"labels":{`), fmt.Appendf(nil, `"labels":{"number":"%d",`, number), 1)
	object = bytes.Replace(object, []byte(`"serviceAccountName":"`), fmt.Appendf(nil, `"serviceAccountName":"a%d-`, number), 1)
	request.Object = json.RawMessage(bytes.TrimSpace(object))
	return request
}

var benchFacts = cluster{Namespace: &policies.Namespace{Name: "team"}, Cluster: objects(20, 300)}

// BenchmarkRecord is what keeping a decision about a pod of 6 KB adds to its answer, alone and with others. The lines are
// synchronised as they are live.
func BenchmarkRecord(b *testing.B) {
	reviewer := admission.NewReviewer(strictest(b), benchFacts, clock)
	reviewer.Pin("hardened")
	d := decide(reviewer, largePod(b, 1))
	for _, parallelism := range []int{1, 16} {
		b.Run(fmt.Sprintf("callers=%d", parallelism), func(b *testing.B) {
			j := openIn(b, b.TempDir(), nil)
			b.SetParallelism(parallelism)
			b.ReportAllocs()
			b.ResetTimer()
			if parallelism == 1 {
				for b.Loop() {
					j.Record(context.Background(), d)
				}
			} else {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						j.Record(context.Background(), d)
					}
				})
			}
			b.StopTimer()
			closeNow(b, j)
		})
	}
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkReplay judges decisions about pods of 6 KB again by the library's strictest profile, with facts. The budget is
// 100,000 decisions a minute on two processors.
func BenchmarkReplay(b *testing.B) {
	const count = 2000
	engine := strictest(b)
	reviewer := admission.NewReviewer(engine, benchFacts, clock)
	reviewer.Pin("hardened")
	dir := b.TempDir()
	j := openIn(b, dir, nil)
	for n := range count {
		j.Record(context.Background(), decide(reviewer, largePod(b, n)))
	}
	closeNow(b, j)
	for name, before := range map[string]*admission.Lineup{"recorded": nil, "against": admission.Solo(engine)} {
		b.Run(name, func(b *testing.B) {
			began := processorTime(b)
			for b.Loop() {
				after := admission.Solo(engine)
				report, err := Replay(context.Background(), dir, ReplayOptions{Before: before, After: after, Profile: "hardened"})
				if err != nil {
					b.Fatal(err)
				}
				if report.Unchanged != count {
					b.Fatalf("got %+v, want the same bundle to say the same", report.Counts)
				}
			}
			b.ReportMetric(float64(b.N)*count/b.Elapsed().Minutes(), "decisions/min")
			// The same if nobody else had used the two processors meanwhile.
			b.ReportMetric(float64(b.N)*count/(processorTime(b)-began).Minutes()*2, "decisions/2cpu-min")
		})
	}
}

package audit

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
)

// namespaceFacts know of namespaces that they are there, and of nothing else.
type namespaceFacts struct{}

func (namespaceFacts) Gather(_ context.Context, needs policies.Needs) policies.Facts {
	return policies.Facts{Namespace: &policies.Namespace{Name: needs.Namespace, Labels: map[string]string{}, Annotations: map[string]string{}}}
}

func podOf(b *testing.B) []byte {
	b.Helper()
	pod, err := os.ReadFile("../../test/bench/auditload/pod.json")
	if err != nil {
		b.Fatal(err)
	}
	return bytes.TrimSpace(pod)
}

// BenchmarkAudit judges a pod by the library's baseline and keeps what was found, as a pass over everything does.
func BenchmarkAudit(b *testing.B) {
	bundle, err := policies.Load(library.FS())
	if err != nil {
		b.Fatal(err)
	}
	engine, err := policies.NewEngineFor(bundle, "baseline")
	if err != nil {
		b.Fatal(err)
	}
	reviewer := admission.NewReviewer(engine, namespaceFacts{}, time.Now)
	reviewer.Pin("baseline")
	pod := podOf(b)
	name := []byte(`"shop-api"`)
	if !bytes.Contains(pod, name) {
		b.Fatalf("the pod has no container called %s", name)
	}
	for what, raw := range map[string]func(n int) []byte{
		"pods of one template":    func(int) []byte { return pod },
		"pods that are different": func(n int) []byte { return bytes.Replace(pod, name, fmt.Appendf(nil, `"shop-%d"`, n), 1) },
	} {
		b.Run(what, func(b *testing.B) {
			auditor, ledger := New(Options{Reviewer: reviewer, Running: true}), NewLedger(func(r Reference) string { return r.Namespace })
			ledger.Begin()
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				object := Object{Reference: Reference{Version: "v1", Kind: "Pod", Resource: "pods", Namespace: fmt.Sprint("team-", n%200), Name: fmt.Sprint("pod-", n%100_000)}, Raw: raw(n)}
				ledger.Put(auditor.Judge(b.Context(), object), uint64(n), "")
			}
		})
	}
}

// BenchmarkAuditRunning asks which images run, and who runs one of them, of 100,000 pods of 2,000 images.
func BenchmarkAuditRunning(b *testing.B) {
	ledger := NewLedger(func(r Reference) string { return r.Namespace })
	ledger.Begin()
	digest := func(n int) string { return fmt.Sprintf("sha256:%064d", n) }
	for n := range 100_000 {
		ledger.Put(Result{
			Object:  Reference{Version: "v1", Kind: "Pod", Resource: "pods", Namespace: fmt.Sprint("team-", n%200), Name: fmt.Sprint("pod-", n), UID: fmt.Sprint(n)},
			Running: &Running{Images: []Image{{app, digest(n % 2000)}, {nginx, digest(2000)}}},
		}, uint64(n), "")
	}
	b.Run("which", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if got := len(ledger.Running()); got != 2001 {
				b.Fatalf("got %d images, want 2001", got)
			}
		}
	})
	b.Run("who", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if got := len(ledger.Using([]string{digest(7)})); got != 50 {
				b.Fatalf("got %d pods, want 50", got)
			}
		}
	})
}

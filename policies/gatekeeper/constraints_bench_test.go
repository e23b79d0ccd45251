package gatekeeper_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/gatekeeper"
	"github.com/portcullis-dev/portcullis/test/bench/constraints"
)

// BenchmarkGatekeeperLibrary reviews a pod of 5.8 KB, decoding it each time: compute only, on one core. Its yardstick
// does the same with OPA as it comes: a prepared query for each template, the review converted once.
func BenchmarkGatekeeperLibrary(b *testing.B) {
	request, err := constraints.Pod()
	if err != nil {
		b.Fatal(err)
	}
	for _, copies := range []int{1, 3} {
		set, err := constraints.New(os.DirFS("testdata/gatekeeper"), copies)
		if err != nil {
			b.Fatal(err)
		}
		engine, err := gatekeeper.Load(set.Files, gatekeeper.Options{})
		if err != nil {
			b.Fatal(err)
		}
		plain, err := set.Plain(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("engine/constraints=%d", set.Size()), func(b *testing.B) {
			b.Logf("a pod of %d bytes, the templates %s, each %d times", len(request.Object), strings.Join(set.Kinds, " "), copies)
			b.ReportAllocs()
			for b.Loop() {
				result := engine.Evaluate(context.Background(), request, &policies.Facts{}, time.Now(), policies.PhaseValidate)
				if result.Matched != set.Size() || len(result.Findings)+len(result.Faults) > 0 {
					b.Fatalf("got %d constraints, %v and %v, want %d and nothing", result.Matched, result.Findings, result.Faults, set.Size())
				}
			}
		})
		b.Run(fmt.Sprintf("yardstick/constraints=%d", set.Size()), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := plain.Review(context.Background(), request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

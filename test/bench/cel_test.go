package bench

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
	"github.com/portcullis-dev/portcullis/policies/sample"
)

// The comparison with CEL is worth something only if both do the same work: every
// check in CEL gives the verdict of its policy on each of that policy's samples.
func TestCELTwinsGiveTheVerdictsOfTheirPolicies(t *testing.T) {
	bundle, err := policies.Load(library.FS())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range Fifty {
		t.Run(id, func(t *testing.T) {
			suite, err := sample.Load(os.DirFS("../../policies/library"), bundle.Policies[id])
			if err != nil {
				t.Fatal(err)
			}
			only, err := suite.Only(bundle)
			if err != nil {
				t.Fatal(err)
			}
			engine, err := policies.NewEngine(only)
			if err != nil {
				t.Fatal(err)
			}
			twin, err := NewTwin([]string{id}, map[string]map[string]any{id: withDefaults(bundle.Policies[id], suite.Parameters)})
			if err != nil {
				t.Fatal(err)
			}
			compared := 0
			for _, s := range suite.Samples {
				reviewer := admission.NewReviewer(engine, &s, func() time.Time { return sample.Now })
				for _, request := range s.Requests() {
					if request.Kind.Kind != "Pod" || request.SubResource != "" {
						continue
					}
					compared++
					verdict := reviewer.Review(t.Context(), request)
					want := len(verdict.Findings) > 0
					if got := objects(t.Context(), t, twin, request); got != want {
						t.Errorf("%s %s: CEL objects: got %t, want %t as %s does %v", s.Kind, s.Name, got, want, id, verdict.Findings)
					}
				}
			}
			if compared == 0 && !slices.Contains(withoutPods, id) {
				t.Error("no sample is a pod")
			}
		})
	}
}

// withoutPods are policies that find something in templates only.
var withoutPods = []string{"workloads/topology-spread"}

func objects(ctx context.Context, t *testing.T, twin *Twin, request admission.Request) bool {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(request.Object, &object); err != nil {
		t.Fatal(err)
	}
	return len(twin.Objections(ctx, object, map[string]any{"namespace": request.Namespace, "operation": request.Operation})) > 0
}

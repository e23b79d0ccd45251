package admissionpolicy_test

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/admissionpolicy"
	"github.com/portcullis-dev/portcullis/policies/admissionpolicy/celtest"
	"github.com/portcullis-dev/portcullis/policies/library"
	"github.com/portcullis-dev/portcullis/policies/sample"
)

// differing are samples on which the two differ where objects are Go values, each with the reason. An entry that is not needed fails.
var differing = map[string]string{
	"pods/restricted-volumes/testdata/deny/unknown.yaml": "an API server drops a source of volumes that it does not know, and what is left is an emptyDir",
	"storage/volume-size/testdata/deny/unreadable.yaml":  "an API server refuses what is no quantity before it asks anybody",
}

func libraryBundle(t testing.TB) *policies.Bundle {
	t.Helper()
	bundle, err := policies.Load(library.FS())
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

var newServer = sync.OnceValues(celtest.NewServer)

// sharedServer compiles and judges for all tests.
func sharedServer(t testing.TB) *celtest.Server {
	t.Helper()
	made, err := newServer()
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func judged(ctx context.Context, policy *celtest.Policy, r *policies.Request, typed bool) (celtest.Answer, error) {
	read, err := celtest.Read(r, typed)
	if err != nil {
		return celtest.Answer{}, err
	}
	return policy.Judge(ctx, read)
}

// Each policy that is written in CEL gives, on each of its samples, the verdict of its rules: on objects as Go values and as maps.
func TestSamplesGetTheSameVerdictFromTheRulesAndFromCEL(t *testing.T) {
	bundle, judge := libraryBundle(t), sharedServer(t)
	compared, updated, written := 0, 0, 0
	unneeded := map[string]bool{}
	for file := range differing {
		unneeded[file] = true
	}
	for id, policy := range bundle.Policies {
		if policy.CEL == nil {
			continue
		}
		written++
		t.Run(id, func(t *testing.T) {
			suite, err := sample.Load(os.DirFS("../library"), policy)
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
			exported, err := admissionpolicy.Export(only, admissionpolicy.Options{Now: sample.Now})
			if err != nil {
				t.Fatal(err)
			}
			if len(exported.Exported) != 1 {
				t.Fatalf("got %d exported, %v left, want 1 exported", len(exported.Exported), exported.Left)
			}
			c, err := judge.Compile(&exported.Exported[0])
			if err != nil {
				t.Fatal(err)
			}
			refused, admitted := 0, 0
			for _, s := range suite.Samples {
				reviewer := admission.NewReviewer(engine, &s, func() time.Time { return sample.Now })
				for _, request := range s.Requests() {
					if !c.Matches(&request) {
						continue
					}
					compared++
					verdict := reviewer.Review(t.Context(), request)
					want := slices.ContainsFunc(verdict.Findings, func(f policies.Finding) bool { return f.Effect == policies.EffectDeny })
					if want {
						refused++
					} else {
						admitted++
					}
					for _, typed := range []bool{true, false} {
						got, err := judged(t.Context(), c, &request, typed)
						if typed && differing[s.File] != "" && (err != nil || got.Refused != want) {
							delete(unneeded, s.File)
							continue
						}
						if err != nil {
							t.Errorf("%s (Go values: %t): judging: %v", s.File, typed, err)
							continue
						}
						if got.Refused != want {
							t.Errorf("%s (Go values: %t): CEL refuses: got %t %s, want %t as the rules do: %v", s.File, typed, got.Refused, got.Message, want, verdict.Findings)
						}
					}
				}
			}
			updated += compareUpdates(t, engine, c, suite)
			for file := range unneeded {
				if strings.HasPrefix(file, id+"/") {
					t.Errorf("%s: got the same verdict, want it to differ as the table says: take it out", file)
				}
			}
			if refused == 0 || admitted == 0 {
				t.Errorf("got %d refused and %d admitted samples, want some of each", refused, admitted)
			}
		})
	}
	if written < 40 {
		t.Errorf("got %d policies in CEL, want at least 40", written)
	}
	if updated < 500 {
		t.Errorf("got %d updates, want at least 500", updated)
	}
	t.Logf("%d policies, %d requests, %d updates", written, compared, updated)
}

// compareUpdates changes something of each deny sample, as of an object from before the policy, and says how often: who does not
// read what has changed does not judge it.
func compareUpdates(t *testing.T, engine *policies.Engine, c *celtest.Policy, suite *sample.Suite) int {
	t.Helper()
	compared := 0
	for _, s := range suite.Samples {
		if s.Kind != sample.Deny || differing[s.File] != "" {
			continue
		}
		reviewer := admission.NewReviewer(engine, &s, func() time.Time { return sample.Now })
		for _, request := range s.Requests() {
			if request.Operation != "CREATE" {
				continue
			}
			request.Operation, request.OldObject = "UPDATE", request.Object
			if !c.Matches(&request) {
				continue
			}
			for name, change := range changes {
				var object map[string]any
				if err := json.Unmarshal(request.OldObject, &object); err != nil {
					t.Fatal(err)
				}
				if !change(object) {
					continue
				}
				request.Object, _ = json.Marshal(object)
				want := slices.ContainsFunc(reviewer.Review(t.Context(), request).Findings, func(f policies.Finding) bool { return f.Effect == policies.EffectDeny })
				// Go values have no fields that nobody knows.
				for _, typed := range []bool{true, false}[strings.Count(name, "field"):] {
					if got, err := judged(t.Context(), c, &request, typed); err != nil || got.Refused != want {
						t.Errorf("%s, updated: %s (Go values: %t): CEL refuses: got %t, %v, want %t as the rules do", s.File, name, typed, got.Refused, err, want)
					}
				}
				compared++
			}
		}
	}
	return compared
}

// changes are updates of an object, false where they cannot be made.
var changes = map[string]func(object map[string]any) bool{
	"nothing":             func(map[string]any) bool { return true },
	"a label":             func(object map[string]any) bool { return entry(object, "labels") },
	"an annotation":       func(object map[string]any) bool { return entry(object, "annotations") },
	"a field in its spec": func(object map[string]any) bool { return unrelated(object["spec"]) },
	"a field in the items of its lists": func(object map[string]any) bool {
		if spec, _ := object["spec"].(map[string]any); spec["containers"] != nil || spec["template"] != nil || spec["jobTemplate"] != nil || object["template"] != nil {
			return false // expressions compare containers as a whole: docs/validating-admission-policies.md
		}
		return inItems(object)
	},
}

func entry(object map[string]any, field string) bool {
	metadata, ok := object["metadata"].(map[string]any)
	if !ok {
		return false
	}
	values, ok := metadata[field].(map[string]any)
	if !ok {
		values = map[string]any{}
		metadata[field] = values
	}
	values["unrelated.example/x"] = "1"
	return true
}

func unrelated(value any) bool {
	fields, ok := value.(map[string]any)
	if ok {
		fields["unrelated"] = "1"
	}
	return ok
}

// inItems changes each object in each list.
func inItems(value any) bool {
	changed := false
	switch value := value.(type) {
	case map[string]any:
		for _, inner := range value {
			changed = inItems(inner) || changed
		}
	case []any:
		for _, inner := range value {
			changed = inItems(inner) || changed
			changed = unrelated(inner) || changed
		}
	}
	return changed
}

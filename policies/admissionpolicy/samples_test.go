package admissionpolicy_test

import (
	"context"
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
	compared, written := 0, 0
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
	t.Logf("%d policies, %d requests", written, compared)
}

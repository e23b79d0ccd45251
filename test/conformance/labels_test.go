package conformance

import (
	"context"
	"testing"
	"testing/fstest"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
	"k8s.io/pod-security-admission/api"
	psa "k8s.io/pod-security-admission/policy"
)

// labelledBundle has nothing of its own that denies pods: what does is the labels.
const labelledBundle = `apiVersion: policy.portcullis.dev/v1alpha1
kind: Bundle
name: labelled
serial: 1
include: library
podSecurityLabels: true
defaultProfile: open
profiles: [{name: open, policies: [{policy: workloads/deprecated-apis}]}]
`

// labelFacts gives every namespace the same labels.
type labelFacts map[string]string

func (l labelFacts) Gather(_ context.Context, needs policies.Needs) policies.Facts {
	return policies.Facts{Namespace: &policies.Namespace{Name: needs.Namespace, Labels: l}}
}

// TestLabelsOfNamespacesMeanWhatThePluginMakesOfThem judges every fixture in namespaces with each level, valid or not, and
// compares with the admission plugin's own reading of the label and its own evaluator, at the latest version.
func TestLabelsOfNamespacesMeanWhatThePluginMakesOfThem(t *testing.T) {
	evaluator, err := psa.NewEvaluator(psa.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := policies.Load(fstest.MapFS{"bundle.yaml": {Data: []byte(labelledBundle)}}, policies.Included{Name: "library", Files: library.FS()})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngineFor(bundle, "open")
	if err != nil {
		t.Fatal(err)
	}
	defaults := api.Policy{Enforce: api.LevelVersion{Level: api.LevelPrivileged, Version: api.LatestVersion()}}
	for _, level := range []string{"privileged", "baseline", "restricted", "Baseline", ""} {
		labels := map[string]string{api.EnforceLevelLabel: level}
		reviewer := admission.NewReviewer(engine, labelFacts(labels), time.Now)
		policy, _ := api.PolicyToEvaluate(labels, defaults)
		denied := 0
		for _, f := range fixtures(t) {
			want := true
			for _, result := range evaluator.EvaluatePod(policy.Enforce, &f.pod.ObjectMeta, &f.pod.Spec) {
				want = want && result.Allowed
			}
			if got := reviewer.Review(context.Background(), podRequest(admission.DoorAdmission, f.raw)).Admitted; got != want {
				t.Errorf("level %q: %s: got admitted %v, the plugin says %v", level, f.file, got, want)
			}
			if !want {
				denied++
			}
		}
		if wantSome := level != "privileged"; (denied > 0) != wantSome {
			t.Errorf("level %q: the plugin denies %d fixtures, want some: %v", level, denied, wantSome)
		}
	}
}

package gate

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
)

// refusing is a judge that refuses every Pod, as one of policies for another tool would.
type refusing struct{}

func (refusing) Matches(r *admission.Request) bool                               { return r.Resource.Resource == "pods" }
func (refusing) Needs(*admission.Request, policies.Phase) (needs policies.Needs) { return needs }
func (refusing) Interests(string) []policies.Interest                            { return nil }
func (refusing) Rules() []Rule                                                   { return []Rule{{ID: "gatekeeper/no-pods", Title: "No pods"}} }
func (refusing) Evaluate(_ context.Context, _ *admission.Request, _ *policies.Facts, _ time.Time, phase policies.Phase) policies.Result {
	if phase == policies.PhaseMutate {
		return policies.Result{}
	}
	return policies.Result{Matched: 1, Findings: []policies.Finding{{Policy: "gatekeeper/no-pods", Effect: policies.EffectDeny, Message: "no pods"}}}
}

func TestAllJudgesOfABundleJudge(t *testing.T) {
	ready := admission.ReadyEngine(testEngine(t))
	ready.Judges = append(ready.Judges, refusing{})
	r, code := judge(t, &Gate{Lineup: &admission.Lineup{Members: []admission.Member{{Active: ready}}}}, goodPod+netpol)
	if code != ExitDenied || len(r.results[0].Findings) != 1 || r.results[0].Findings[0].Policy != "gatekeeper/no-pods" || r.results[0].Findings[0].Bundle != "" {
		t.Errorf("got %v and %+v, want the finding of the second judge, without the name of the only bundle", code, r.results)
	}
	if !slices.ContainsFunc(r.run.Rules, func(rule Rule) bool { return rule.ID == "gatekeeper/no-pods" }) {
		t.Errorf("got the rules %+v, want that of the second judge among them", r.run.Rules)
	}
}

func TestSeveralBundlesJudgeTogether(t *testing.T) {
	other := admission.Ready{Bundle: "other", Revision: "other@1", Digest: "sha256:0", Judges: []admission.Judge{refusing{}}}
	lineup := &admission.Lineup{Members: []admission.Member{{Active: admission.ReadyEngine(testEngine(t))}, {Active: other}}}
	r, _ := judge(t, &Gate{Lineup: lineup}, badPod+netpol)
	var policies, prints []string
	for _, finding := range r.results[0].Findings {
		policies = append(policies, Qualified(finding.Bundle, finding.Policy))
		prints = append(prints, finding.Fingerprint)
	}
	slices.Sort(policies)
	if want := []string{"other:gatekeeper/no-pods", "test:pods/privileged"}; !slices.Equal(policies, want) {
		t.Errorf("got findings of %v, want %v", policies, want)
	}
	if len(prints) != 2 || prints[0] == prints[1] {
		t.Errorf("got the fingerprints %v, want two", prints)
	}
	if r.run.BundleName != "test, other" || !strings.HasSuffix(r.run.Bundle, ", other@1") || !strings.HasPrefix(r.run.BundleDigest, "sha256:") {
		t.Errorf("got %+v, want both bundles named", r.run)
	}
}

func TestABundleOfAnotherTrustIsAskedAboutImagesAnew(t *testing.T) {
	asked := &askedImages{}
	lineup := &admission.Lineup{Members: []admission.Member{
		{Active: admission.ReadyEngine(imageEngine(t))}, {Active: admission.ReadyEngine(imageEngine(t))},
	}}
	run(t, &Gate{Lineup: lineup, Images: asked}, imagesOf(t, "ghcr.io/acme/app:1"))
	if got := asked.asked["ghcr.io/acme/app:1"]; got != 2 {
		t.Errorf("got %d questions about the image, want one for each bundle: evidence counts by whom a bundle trusts", got)
	}
}

package output

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/source"
	"github.com/portcullis-dev/portcullis/policies"
)

func TestSummaries(t *testing.T) {
	const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	denies := gate.Finding{Finding: policies.Finding{Effect: policies.EffectDeny}}
	known := denies
	known.Known = true
	knownWarning := gate.Finding{Known: true, Finding: policies.Finding{Effect: policies.EffectWarn}}
	image := &source.Image{Argument: "ghcr.io/acme/app:1", Ref: "ghcr.io/acme/app:1", Digest: digest}
	for name, test := range map[string]struct {
		result gate.Result
		want   string // "" for no summary
	}{
		"an admitted image":                      {gate.Result{Image: image, Outcome: gate.Admitted}, "PASSED"},
		"one admitted with warnings":             {gate.Result{Image: image, Outcome: gate.Warned}, "PASSED"},
		"one with a known warning":               {gate.Result{Image: image, Outcome: gate.Admitted, Findings: []gate.Finding{knownWarning}}, "PASSED"},
		"a denied image":                         {gate.Result{Image: image, Outcome: gate.Denied, Findings: []gate.Finding{denies}}, "FAILED"},
		"one that only a baseline excuses":       {gate.Result{Image: image, Outcome: gate.Admitted, Findings: []gate.Finding{known}}, "FAILED"},
		"an undecided image":                     {gate.Result{Image: image, Outcome: gate.Undecided}, "FAILED"},
		"one with a fault":                       {gate.Result{Image: image, Outcome: gate.Faulty}, "FAILED"},
		"a result without outcome":               {gate.Result{Image: image}, "FAILED"},
		"an image whose digest nobody found out": {gate.Result{Image: &source.Image{Ref: "ghcr.io/acme/app:1"}, Outcome: gate.Undecided}, ""},
		"an object of a manifest":                {gate.Result{Outcome: gate.Admitted}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			test.result.Profile = "restricted"
			var b bytes.Buffer
			replay(t, NewSummaries(&b, nil), testRun, []event{test.result}, gate.Summary{})
			if test.want == "" {
				if b.Len() > 0 {
					t.Errorf("got %s, want no summary", b.String())
				}
				return
			}
			var statement summaryStatement
			if err := json.Unmarshal(b.Bytes(), &statement); err != nil {
				t.Fatal(err)
			}
			levels := map[string]string{"PASSED": "PORTCULLIS_RESTRICTED", "FAILED": "FAILED"}[test.want]
			predicate := statement.Predicate
			if predicate.VerificationResult != test.want || strings.Join(predicate.VerifiedLevels, " ") != levels {
				t.Errorf("got %s with levels %v, want %s with %s", predicate.VerificationResult, predicate.VerifiedLevels, test.want, levels)
			}
			if statement.Subject[0].Name != "ghcr.io/acme/app" || "sha256:"+statement.Subject[0].Digest["sha256"] != digest || predicate.Policy.Digest["sha256"] != "0123456789abcdef" {
				t.Errorf("got the subject %v by the policy %v, want the image and the bundle", statement.Subject, predicate.Policy)
			}
		})
	}
}

func TestSummariesGolden(t *testing.T) {
	events, summary := images()
	var b bytes.Buffer
	replay(t, NewSummaries(&b, nil), testRun, events, summary)
	golden(t, "images.summary", b.Bytes())
}

func TestSummariesAreSignedOrNotWritten(t *testing.T) {
	events, summary := images()
	var b bytes.Buffer
	sign := func(repository, digest string, statement []byte) ([]byte, error) {
		return []byte(repository + "@" + digest), nil
	}
	replay(t, NewSummaries(&b, sign), testRun, events, summary)
	if got := b.String(); !strings.HasPrefix(got, "ghcr.io/acme/app@sha256:") || strings.Count(got, "\n") != 1 {
		t.Errorf("got %q, want what was signed, on one line", got)
	}
	handler := NewSummaries(&b, func(string, string, []byte) ([]byte, error) { return nil, os.ErrClosed })
	if err := handler.Result(events[0].(gate.Result)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v, want the error of signing", err)
	}
}

package output

import (
	"bytes"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/policies"
)

func TestEachFormatNamesTheBundleWhereSeveralJudge(t *testing.T) {
	result := gate.Result{
		Object: gate.Object{APIVersion: "v1", Kind: "Pod", Name: "web"}, Outcome: gate.Denied,
		Findings:  []gate.Finding{{Finding: policies.Finding{Bundle: "acme", Policy: "pods/a", Instance: "pods/a", Severity: "high", Effect: policies.EffectDeny, Message: "no"}}},
		Faults:    []policies.Fault{{Bundle: "acme", Policy: "pods/b", Kind: policies.FaultError, Message: "broken"}},
		Undecided: []gate.UndecidedPolicy{{Undecided: policies.Undecided{Bundle: "acme", Policy: "pods/c", Reason: "unknown"}}},
	}
	for _, format := range Formats() {
		t.Run(format, func(t *testing.T) {
			var out bytes.Buffer
			handler, err := New(format, &out, Style{})
			if err != nil {
				t.Fatal(err)
			}
			for _, step := range []func() error{
				func() error { return handler.Start(gate.Run{}) },
				func() error { return handler.Result(result) },
				func() error { return handler.Finish(gate.Summary{}) },
			} {
				if err := step(); err != nil {
					t.Fatal(err)
				}
			}
			want := []string{"acme:pods/a", "acme:pods/b", "acme:pods/c"}
			switch format {
			case "json":
				want = []string{`"bundle":"acme","policy":"pods/a"`, `"policy":"pods/b","bundle":"acme"`, `"bundle":"acme","policy":"pods/c"`}
			case "gitlab-container-scanning", "cyclonedx-vex":
				want = nil // about vulnerabilities of images; other findings are messages there
			}
			text := strings.ReplaceAll(out.String(), "%3A", ":") // as GitHub's commands have it
			for _, words := range want {
				if !strings.Contains(text, words) {
					t.Errorf("got\n%s\nwant %s in it", text, words)
				}
			}
		})
	}
	if result.Findings[0].Policy != "pods/a" {
		t.Errorf("got %q in the result itself, want it untouched", result.Findings[0].Policy)
	}
}

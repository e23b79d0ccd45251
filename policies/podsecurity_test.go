package policies_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const labelled = `apiVersion: policy.portcullis.dev/v1alpha1
kind: Bundle
name: labelled
serial: 1
include: library
podSecurityLabels: true
defaultProfile: open
profiles:
  - name: open
    atMost: warn
    policies:
      - policy: workloads/deprecated-apis
`

func podSecurityEngine(t testing.TB) *policies.Engine {
	t.Helper()
	bundle, err := policies.Load(fstest.MapFS{"bundle.yaml": {Data: []byte(labelled)}}, policies.Included{Name: "library", Files: library.FS()})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngineFor(bundle, "open")
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// strictest is what becomes of a request: deny, warn, audit or "".
func strictest(t *testing.T, engine *policies.Engine, kind, spec string, labels map[string]string) string {
	t.Helper()
	object := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": %s}`, spec)
	resource := metav1.GroupVersionResource{Version: "v1", Resource: "pods"}
	group := ""
	if kind == "Deployment" {
		group, resource = "apps", metav1.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
		object = fmt.Sprintf(`{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": {"template": {"spec": %s}}}`, spec)
	}
	r := &policies.Request{
		Door: policies.DoorAdmission, Operation: "CREATE", Resource: resource, Kind: metav1.GroupVersionKind{Group: group, Version: "v1", Kind: kind},
		Namespace: "web", Name: "x", Object: json.RawMessage(object),
	}
	if needs := engine.Needs(r, policies.PhaseValidate); needs.Namespace != "web" {
		t.Errorf("got needs %+v, want the labels of namespace web", needs)
	}
	facts := &policies.Facts{Namespace: &policies.Namespace{Name: "web", Labels: labels}}
	result := engine.Evaluate(context.Background(), r, facts, time.Now(), policies.PhaseValidate)
	for _, fault := range result.Faults {
		t.Errorf("got fault %+v", fault)
	}
	found := ""
	for _, level := range []policies.Enforcement{policies.EnforceAudit, policies.EnforceWarn, policies.EnforceDeny} {
		if slices.ContainsFunc(result.Findings, func(f policies.Finding) bool {
			return f.Enforcement == level && strings.HasPrefix(f.Instance, "pod-security/")
		}) {
			found = level.String()
		}
	}
	return found
}

const (
	privilegedPod = `{"containers": [{"name": "a", "image": "a", "securityContext": {"privileged": true}}]}`
	plainPod      = `{"containers": [{"name": "a", "image": "a"}]}` // baseline, and not restricted
	hardenedPod   = `{"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}, "containers": [{"name": "a", "image": "a",
		"securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]}`
)

func TestPodSecurityLabelsAreHonoured(t *testing.T) {
	engine := podSecurityEngine(t)
	const prefix = "pod-security.kubernetes.io/"
	cases := map[string]struct {
		labels                      map[string]string
		privileged, plain, hardened string // of pods
		template                    string // of a Deployment with the privileged pod
	}{
		"no labels ask for nothing":          {nil, "", "", "", ""},
		"privileged asks for nothing":        {map[string]string{prefix + "enforce": "privileged"}, "", "", "", ""},
		"baseline is enforced":               {map[string]string{prefix + "enforce": "baseline"}, "deny", "", "", "warn"},
		"restricted is enforced":             {map[string]string{prefix + "enforce": "restricted"}, "deny", "deny", "", "warn"},
		"an unknown level is restricted":     {map[string]string{prefix + "enforce": "restrcited"}, "deny", "deny", "", ""},
		"an empty level is restricted":       {map[string]string{prefix + "enforce": ""}, "deny", "deny", "", ""},
		"a version makes no difference":      {map[string]string{prefix + "enforce": "baseline", prefix + "enforce-version": "v1.20"}, "deny", "", "", "warn"},
		"warnings warn of templates, too":    {map[string]string{prefix + "warn": "baseline"}, "warn", "", "", "warn"},
		"an unknown level warns of nothing":  {map[string]string{prefix + "warn": "x"}, "", "", "", ""},
		"audits are recorded":                {map[string]string{prefix + "audit": "restricted"}, "audit", "audit", "", "audit"},
		"an unknown level audits nothing":    {map[string]string{prefix + "audit": "x"}, "", "", "", ""},
		"who says what to warn of is obeyed": {map[string]string{prefix + "enforce": "baseline", prefix + "warn": "privileged"}, "deny", "", "", ""},
		"modes differ in level":              {map[string]string{prefix + "enforce": "baseline", prefix + "warn": "restricted"}, "deny", "warn", "", "warn"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := []string{
				strictest(t, engine, "Pod", privilegedPod, c.labels), strictest(t, engine, "Pod", plainPod, c.labels),
				strictest(t, engine, "Pod", hardenedPod, c.labels), strictest(t, engine, "Deployment", privilegedPod, c.labels),
			}
			if want := []string{c.privileged, c.plain, c.hardened, c.template}; !slices.Equal(got, want) {
				t.Errorf("got %q for a privileged, a plain, a hardened pod and a Deployment, want %q", got, want)
			}
		})
	}
}

func TestPodSecurityLabelsNeedTheirPolicies(t *testing.T) {
	own := strings.Replace(labelled, "include: library\n", "", 1)
	_, err := policies.Load(fstest.MapFS{"bundle.yaml": {Data: []byte(own)}})
	if err == nil || !strings.Contains(err.Error(), "baseline/privileged") || !strings.Contains(err.Error(), "include: library") {
		t.Errorf("got %v, want an error that names the checks and the library", err)
	}
}

// TestWhatAProfileDeniesIsNotSaidTwice is about messages: the profile's own instance denies all that the label does.
func TestWhatAProfileDeniesIsNotSaidTwice(t *testing.T) {
	bundle, err := policies.Load(fstest.MapFS{"bundle.yaml": {Data: []byte(labelled)}}, policies.Included{Name: "library", Files: library.FS()})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngineFor(bundle, "baseline")
	if err != nil {
		t.Fatal(err)
	}
	names := engine.Instances("baseline")
	if slices.Contains(names, "pod-security/enforce-baseline/pods/privileged") || !slices.Contains(names, "pod-security/enforce-restricted/pods/run-as-non-root") {
		t.Errorf("got %v, want the instances of the restricted level only", names)
	}
}

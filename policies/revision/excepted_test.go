package revision

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/archive"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// othersFiles is a bundle with a policy for Gatekeeper and one for Conftest, both of which refuse every pod.
func othersFiles(extra map[string]string) map[string][]byte {
	files := map[string][]byte{
		"bundle.yaml": []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: acme\nserial: 1\nexceptionsFrom: {namespaces: [shop], maxDuration: 90d}\n"),
		"gatekeeper/template.yaml": []byte("apiVersion: templates.gatekeeper.sh/v1\nkind: ConstraintTemplate\nmetadata: {name: k8sno}\nspec:\n  crd: {spec: {names: {kind: K8sNo}}}\n" +
			"  targets:\n  - target: admission.k8s.gatekeeper.sh\n    rego: |\n      package k8sno\n      violation[{\"msg\": \"no\"}] { input.review.object.kind == \"Pod\" }\n"),
		"gatekeeper/constraint.yaml": []byte("apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: K8sNo\nmetadata: {name: nobody}\nspec: {match: {kinds: [{apiGroups: [''], kinds: [Pod]}]}}\n"),
		"conftest/no.rego":           []byte("package main\n\ndeny contains \"no\" if input.kind == \"Pod\"\n"),
	}
	for name, content := range extra {
		files[name] = []byte(content)
	}
	return files
}

func excepting(policy string) string {
	return fmt.Sprintf("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Exception\nname: %s\npolicy: %s\nselector: {namespaces: [shop]}\nreason: r\nowner: o\nexpires: 2026-04-01\n", strings.ReplaceAll(policy, "/", "-"), policy)
}

func TestExceptionsWaiveFindingsOfPoliciesForOtherTools(t *testing.T) {
	const gatekeeper, conftest = "gatekeeper/k8sno", "conftest/main.deny"
	granted := func(policy string) policies.Exception {
		made, err := policies.NewException(policies.Exception{
			APIVersion: policies.APIVersion, Kind: "Exception", Name: "e", Policy: policy, Reason: "r", Owner: "o", Expires: "2026-04-01",
			Selector: policies.ExceptionSelector{Namespaces: []string{"shop"}}, Grant: &policies.Grant{Namespace: "shop", Created: noon},
		})
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	for name, test := range map[string]struct {
		extra    map[string]string
		granted  []policies.Exception
		at       time.Time
		admitted bool
	}{
		"none":                        {nil, nil, noon, false},
		"of one of the two":           {map[string]string{"exceptions/a.yaml": excepting(gatekeeper)}, nil, noon, false},
		"of both, in the bundle":      {map[string]string{"exceptions/a.yaml": excepting(gatekeeper), "exceptions/b.yaml": excepting(conftest)}, nil, noon, true},
		"of both, over":               {map[string]string{"exceptions/a.yaml": excepting(gatekeeper), "exceptions/b.yaml": excepting(conftest)}, nil, noon.AddDate(0, 2, 0), false},
		"one in each place":           {map[string]string{"exceptions/a.yaml": excepting(gatekeeper)}, []policies.Exception{granted(conftest)}, noon, true},
		"of both, granted in cluster": {nil, []policies.Exception{granted(gatekeeper), granted(conftest)}, noon, true},
	} {
		t.Run(name, func(t *testing.T) {
			tree, err := archive.New(othersFiles(test.extra))
			if err != nil {
				t.Fatal(err)
			}
			revision, err := Load(tree, Options{})
			if err != nil {
				t.Fatal(err)
			}
			reviewer := admission.NewLineupReviewer(&admission.Lineup{Members: []admission.Member{{Active: revision.Ready}}, Exceptions: test.granted}, nil, func() time.Time { return test.at })
			verdict := reviewer.Review(t.Context(), admission.Request{
				Door: admission.DoorAdmission, Operation: "CREATE", Namespace: "shop", Name: "cart",
				Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"}, Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
				Object: []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"cart"},"spec":{"containers":[]}}`),
			})
			if verdict.Admitted != test.admitted || len(verdict.Findings) != 2 || len(verdict.Faults) > 0 {
				t.Errorf("got admitted = %v with %+v, %+v, want %v with two findings", verdict.Admitted, verdict.Findings, verdict.Faults, test.admitted)
			}
		})
	}
	tree, err := archive.New(othersFiles(map[string]string{"exceptions/a.yaml": excepting("gatekeeper/k8syes")}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load(tree, Options{}); err == nil || !strings.Contains(err.Error(), `there is no policy "gatekeeper/k8syes"`) {
		t.Errorf("got %v for an exception of a policy that is not there, want it refused", err)
	}
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

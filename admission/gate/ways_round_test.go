package gate

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/portcullis-dev/portcullis/policies"
)

// The way round: a definition among the documents gave a kind another plural, and no
// policy is about that. The cluster has its own definition.
func TestADefinitionCannotTakeAKindOutOfSightOfItsPolicies(t *testing.T) {
	files := fstest.MapFS{}
	for name, content := range map[string]string{
		"bundle.yaml": "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: test\nserial: 1\npolicies: [{policy: pods/privileged}, {policy: acme/gadgets}]\n",
		"p.rego":      testBundle["pods/privileged.rego"],
		"g.rego":      metadata("Gadgets", "high", "resources: [{group: acme.example, resources: [gadgets]}]", "") + "package portcullis.acme.gadgets\ndeny contains \"bad\" if input.object.bad",
	} {
		files[name] = &fstest.MapFile{Data: []byte(content)}
	}
	bundle, err := policies.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(bundle)
	if err != nil {
		t.Fatal(err)
	}
	const definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: x}\nspec: {group: GROUP, scope: Cluster, names: {kind: KIND, plural: hidden}}\n---\n"
	for name, test := range map[string]struct{ group, kind, object string }{
		"a kind with pods": {"argoproj.io", "Rollout",
			"apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: a}\nspec: {template: {spec: {containers: [{name: c, image: a, securityContext: {privileged: true}}]}}}\n"},
		"a kind that a policy names": {"acme.example", "Gadget", "apiVersion: acme.example/v1\nkind: Gadget\nmetadata: {name: a}\nbad: true\n"},
	} {
		t.Run(name, func(t *testing.T) {
			manifests := strings.NewReplacer("GROUP", test.group, "KIND", test.kind).Replace(definition) + test.object
			report, code := judge(t, &Gate{Engine: engine}, manifests)
			if code != ExitDenied || report.results[1].Outcome != Denied {
				t.Errorf("got exit code %d and %+v, want the object denied", code, report.results)
			}
		})
	}
}

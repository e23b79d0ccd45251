package journal

import (
	"testing"
	"testing/fstest"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/gatekeeper"
)

// constraintOf is a bundle with one template of Gatekeeper and one constraint of it.
func constraintOf(t *testing.T, rule string) *admission.Lineup {
	t.Helper()
	engine, err := gatekeeper.Load(fstest.MapFS{
		"template.yaml": {Data: []byte(`apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: k8sx}
spec:
  crd: {spec: {names: {kind: K8sX}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
      package k8sx
      ` + rule + "\n")},
		"constraint.yaml": {Data: []byte("apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: K8sX\nmetadata: {name: x}\nspec: {match: {kinds: [{apiGroups: [\"\"], kinds: [Pod]}]}}\n")},
		"config.yaml":     {Data: []byte("apiVersion: config.gatekeeper.sh/v1alpha1\nkind: Config\nmetadata: {name: config, namespace: gatekeeper-system}\nspec: {sync: {syncOnly: [{group: \"\", version: v1, kind: Secret}]}}\n")},
	}, gatekeeper.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &admission.Lineup{Members: []admission.Member{{Active: admission.Ready{Bundle: "gk", Revision: "gk@1", Digest: "sha256:00", Judges: []admission.Judge{engine}}}}}
}

func TestPoliciesForOtherToolsGuessNoSecret(t *testing.T) {
	variable := `{"containers":[{"name":"a","image":"a","env":[{"name":"PASSWORD","value":"hunter2"}]}]}`
	held := cluster{Cluster: []policies.Object{{Version: "v1", Kind: "Secret", Resource: "secrets", Namespace: "shop", Name: "s", Raw: []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","namespace":"shop"},"data":{"a":"aHVudGVyMg=="}}`)}}}
	for name, test := range map[string]struct {
		rule, spec string
		want       Counts
	}{
		"a value of a variable":   {`violation[{"msg": "x"}] { input.review.object.spec.containers[_].env[_].value == "hunter2" }`, variable, Counts{Decisions: 1, NotReplayable: 1}},
		"a name of a pod":         {`violation[{"msg": "x"}] { input.review.object.metadata.name == "web" }`, variable, Counts{Decisions: 1, Unchanged: 1}},
		"a Secret of the cluster": {`violation[{"msg": "x"}] { data.inventory.namespace[_]["v1"]["Secret"][_].data.a == "aHVudGVyMg==" }`, plainSpec, Counts{Decisions: 1, NotReplayable: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			lineup := constraintOf(t, test.rule)
			reviewer := admission.NewLineupReviewer(lineup, held, clock)
			if d := decide(reviewer, pod("web", test.spec)); d.Outcome != "denied" {
				t.Fatalf("got %+v, want it denied then", d.Verdict)
			}
			dir := journalOf(t, reviewer, pod("web", test.spec))
			if got := replay(t, dir, ReplayOptions{After: lineup}).Counts; got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

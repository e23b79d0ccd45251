package revision

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/library"
	"github.com/portcullis-dev/portcullis/policies/revision/revisiontest"
)

// policyRego has a second rule.
const policyRego = revisiontest.Policy + `
deny contains finding if {
	input.object.spec.paused
	finding := {"path": "spec.paused", "msg": "paused"}
}
`

const testRego = `package portcullis.acme.replicas_test

import data.portcullis.acme.replicas

test_three_are_fine if count(replicas.deny) == 0 with input as {"object": {"spec": {"replicas": 3}}}
`

// acme is a bundle with one policy, one test and one sample.
func acme() map[string]string {
	files := revisiontest.Files("acme", 1)
	files["acme/replicas/policy.rego"] = policyRego
	files["acme/replicas/policy_test.rego"] = testRego
	return files
}

// with is a tree of files, some of which replace others; "" takes one away.
func with(t *testing.T, changes map[string]string) *archive.Tree {
	t.Helper()
	all := acme()
	maps.Copy(all, changes)
	files := map[string][]byte{}
	for name, content := range all {
		if content != "" {
			files[name] = []byte(content)
		}
	}
	tree, err := archive.New(files)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestARevisionIsReadyToJudge(t *testing.T) {
	tree := with(t, nil)
	got, err := Load(tree, Options{Name: "acme", Namespaces: []string{"acme-*"}})
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != tree.Digest() || got.Ready.Bundle != "acme" || len(got.Judges) != 1 || got.Policies != 1 || got.Tree != tree {
		t.Errorf("got %+v, want the digest %s, the name acme, one judge and one policy", got, tree.Digest())
	}
	if want := "acme@1 (" + tree.Digest()[:19] + ")"; got.Ready.Revision != want {
		t.Errorf("got the revision %q, want %q", got.Ready.Revision, want)
	}
}

func TestTheDigestIsThatOfAllFiles(t *testing.T) {
	before, err := Load(with(t, nil), Options{})
	if err != nil {
		t.Fatal(err)
	}
	after, err := Load(with(t, map[string]string{"README.md": "# Policies of Acme\n"}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if before.Digest == after.Digest {
		t.Errorf("got the digest %s with and without README.md, want two", before.Digest)
	}
}

func TestWhatIsNoRevisionIsRefused(t *testing.T) {
	for name, row := range map[string]struct {
		changes map[string]string
		options Options
		want    string
	}{
		"a bundle of another name":          {nil, Options{Name: "other"}, `names it "acme", and "other" is expected`},
		"a profile that there is not":       {nil, Options{Profile: "strict"}, `no profile "strict": use one of default`},
		"a policy that does not compile":    {map[string]string{"acme/replicas/policy.rego": strings.Replace(policyRego, "input.object.spec.paused", "nowhere.x", 1)}, Options{}, "nowhere"},
		"no bundle.yaml":                    {map[string]string{"bundle.yaml": ""}, Options{}, "bundle.yaml is missing"},
		"a tenant with a policy of others":  {map[string]string{"acme/replicas/policy.rego": strings.Replace(policyRego, "portcullis.acme", "portcullis.pods", 1), "acme/replicas/policy_test.rego": "", "bundle.yaml": "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: acme\nserial: 1\npolicies: [{policy: pods/replicas}]\n"}, Options{Namespaces: []string{"acme"}}, "pods/replicas"},
		"a bundle to include that is away":  {map[string]string{"bundle.yaml": "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: acme\nserial: 1\ninclude: nothing\n"}, Options{}, `include "nothing"`},
		"a folder for a tool, as one file":  {map[string]string{"gatekeeper": "x"}, Options{}, "it is a file"},
		"an unknown field in the bundle":    {map[string]string{"bundle.yaml": "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: acme\nserial: 1\npolicy: []\n"}, Options{}, "policy"},
		"a manifest without any policy set": {map[string]string{"bundle.yaml": "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: acme\nserial: 1\n"}, Options{}, "configures no policy"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(with(t, row.changes), row.options)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want an error with %q", err, row.want)
			}
		})
	}
}

func TestAReportSaysWhatFailsAndWhatIsNotReached(t *testing.T) {
	report, err := Test(context.Background(), with(t, nil), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Tests != 1 || report.Samples != 1 || !report.Passed() {
		t.Errorf("got %+v, want one test, one sample and no failure", report)
	}
	want := []PolicyCoverage{{
		Policy: "acme/replicas", File: "acme/replicas/policy.rego", Covered: 7, Lines: 10,
		NotCovered: []LineRange{{20, 22}},
	}}
	if !reflect.DeepEqual(report.Coverage, want) {
		t.Errorf("got %+v, want %+v", report.Coverage, want)
	}
}

func TestEachFailureIsNamed(t *testing.T) {
	report, err := Test(context.Background(), with(t, map[string]string{
		"acme/replicas/policy_test.rego":          testRego + "\ntest_wrong if count(replicas.deny) == 7 with input as {}\n",
		"acme/replicas/testdata/allow/wrong.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 9}\n",
	}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []Failure{
		{"acme/replicas/policy_test.rego", 7, "data.portcullis.acme.replicas_test.test_wrong", "failed at line 7: count(replicas.deny) == 7 with input as {}"},
		{"acme/replicas/testdata/allow/wrong.yaml", 0, "acme/replicas", "want no finding, got 1: spec.replicas: too many"},
	}
	if !reflect.DeepEqual(report.Failures, want) {
		t.Errorf("got %+v, want %+v", report.Failures, want)
	}
	if err := report.Err(); err == nil || !strings.Contains(err.Error(), "2 of its 4 own tests and samples fail: acme/replicas/policy_test.rego:7: ") {
		t.Errorf("got %v, want the failures", err)
	}
}

func TestOnlyWhatLiesBelowAFolderIsTested(t *testing.T) {
	report, err := Test(context.Background(), with(t, nil), Options{Below: "acme/other"})
	if err != nil || report.Tests+report.Samples+len(report.Coverage) != 0 {
		t.Errorf("got %+v, %v, want nothing", report, err)
	}
	report, err = Test(context.Background(), with(t, nil), Options{Below: "acme/replicas"})
	if err != nil || report.Tests != 1 || report.Samples != 1 {
		t.Errorf("got %+v, %v, want all", report, err)
	}
}

func TestTestsMayUseTheRegoOfAnIncludedBundle(t *testing.T) {
	tree := with(t, map[string]string{
		"bundle.yaml":                    "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: acme\nserial: 1\ninclude: library\npolicies: [{policy: acme/replicas}]\n",
		"acme/replicas/policy_test.rego": testRego + "\nimport data.portcullis.pods.privileged\n\ntest_library if count(privileged.deny) == 0 with input as {\"workload\": {\"containers\": []}}\n",
	})
	report, err := Test(context.Background(), tree, Options{Included: []policies.Included{{Name: "library", Files: library.FS()}}})
	if err != nil || report.Tests != 2 || !report.Passed() {
		t.Errorf("got %+v, %v, want two tests that pass", report, err)
	}
	if len(report.Coverage) != 1 {
		t.Errorf("got the coverage of %d policies, want that of the bundle's own only", len(report.Coverage))
	}
}

func TestAFolderIsReadWithoutATree(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, with(t, nil).FS()); err != nil {
		t.Fatal(err)
	}
	var fsys fs.FS = os.DirFS(dir)
	got, err := Read(fsys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != got.Bundle.Digest || got.Tree != nil {
		t.Errorf("got the digest %s and the tree %v, want %s and none", got.Digest, got.Tree, got.Bundle.Digest)
	}
}

func TestConftestsPoliciesAreAJudgeOfTheirOwn(t *testing.T) {
	rego := "package main\n\ndeny contains msg if {\n\tinput.kind == \"Deployment\"\n\tmsg := \"no deployments\"\n}\n"
	test := "package main\n\ntest_denies if count(deny) == 1 with input as {\"kind\": \"Deployment\"}\n\ntest_wrong if count(deny) == 3 with input as {}\n"
	tree := with(t, map[string]string{"conftest/policy/deployments.rego": rego, "conftest/policy/deployments_test.rego": test})
	got, err := Load(tree, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Judges) != 2 || got.Policies != 2 {
		t.Errorf("got %d judges of %d policies, want two of two", len(got.Judges), got.Policies)
	}
	report, err := Test(context.Background(), tree, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Tests != 3 || len(report.Failures) != 1 || report.Failures[0].File != "conftest/policy/deployments_test.rego" || report.Failures[0].Line != 5 {
		t.Errorf("got %+v, want three tests and the failure of one", report)
	}
	if _, err := Load(with(t, map[string]string{"conftest/a.rego": "package main\n\ndeny contains {\n"}), Options{}); err == nil || !strings.Contains(err.Error(), "folder conftest") {
		t.Errorf("got %v, want an error about the folder", err)
	}
}

// gatekeeperFiles are a template with a constraint and a suite, as gatekeeper-library lays them out.
func gatekeeperFiles() map[string]string {
	return map[string]string{
		"gatekeeper/template.yaml": `apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: k8sowner}
spec:
  crd: {spec: {names: {kind: K8sOwner}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
      package k8sowner
      violation[{"msg": msg}] {
        not input.review.object.metadata.labels.owner
        msg := "no owner"
      }
`,
		"gatekeeper/constraint.yaml": "apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: K8sOwner\nmetadata: {name: owners}\nspec: {match: {kinds: [{apiGroups: [\"\"], kinds: [Pod]}]}}\n",
		"gatekeeper/pod.yaml":        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n",
		"gatekeeper/suite.yaml": `kind: Suite
apiVersion: test.gatekeeper.sh/v1alpha1
tests:
- name: owners
  template: template.yaml
  constraint: constraint.yaml
  cases:
  - name: nobody
    object: pod.yaml
    assertions: [{violations: yes}]
  - name: wrong
    object: pod.yaml
    assertions: [{violations: no}]
`,
	}
}

func TestGatekeepersPoliciesAreAJudgeOfTheirOwn(t *testing.T) {
	tree := with(t, gatekeeperFiles())
	got, err := Load(tree, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Judges) != 2 || got.Policies != 2 {
		t.Errorf("got %d judges of %d policies, want two of two", len(got.Judges), got.Policies)
	}
	report, err := Test(context.Background(), tree, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Tests != 3 || len(report.Failures) != 1 || report.Failures[0].Name != "owners/wrong" || report.Failures[0].File != "gatekeeper/suite.yaml" {
		t.Errorf("got %+v, want three tests and the failure of one", report)
	}
	files, err := fs.Sub(tree.FS(), "gatekeeper")
	if err != nil {
		t.Fatal(err)
	}
	if suites, err := TestSuites(context.Background(), files); err != nil || suites.Tests != 2 || len(suites.Failures) != 1 {
		t.Errorf("got %+v, %v of the folder alone, want two cases and the failure of one", suites, err)
	}
}

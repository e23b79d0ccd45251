package gatekeeper

import (
	"context"
	"strings"
	"testing"
	"testing/fstest"
)

// TestGatekeepersOwnSuitePasses runs what Gatekeeper tests gator with.
func TestGatekeepersOwnSuitePasses(t *testing.T) {
	results, err := Test(context.Background(), originals("verify"))
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 1 {
		t.Fatalf("got %d suites, want 1", len(results))
	}
	if failures := results[0].Failures(); len(failures) > 0 {
		t.Errorf("got %s, want none", strings.Join(failures, "\n"))
	}
	if run, skipped := results[0].Count(); run != 9 || skipped != 0 {
		t.Errorf("got %d cases run and %d skipped, want 9 and 0", run, skipped)
	}
	if got := results[0].Tests[0].Template; got != "K8sFooIs" {
		t.Errorf("got template %s, want K8sFooIs", got)
	}
}

const reviewOfDeletion = `apiVersion: admission.k8s.io/v1
kind: AdmissionReview
request:
  operation: DELETE
  kind: {group: "", version: v1, kind: Pod}
  userInfo: {username: bob}
  name: web
  namespace: shop
  oldObject: {apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop}}
`

func suiteFiles(suite string) fstest.MapFS {
	const rego = "package a\nviolation[{\"msg\": msg}] { msg := sprintf(\"%v by %v\", [input.review.object.metadata.name, object.get(input.review.userInfo, \"username\", \"nobody\")]) }\n" +
		"violation[{\"msg\": \"twice\"}] { data.inventory.namespace[_][\"v1\"].Pod[n]; n == input.review.name }"
	files := folder(templateOf("Who", rego), constraintOf("Who", "c", "{match: {namespaceSelector: {matchLabels: {team: a}}}}"), pod, reviewOfDeletion,
		"apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: a}}\n", strings.Replace(pod, "namespace: shop", "namespace: other", 1),
		strings.Replace(schemaTemplate, "labelled", "who", 1), constraintOf("Labelled", "c", "{}"))
	files["g.yaml"] = &fstest.MapFile{Data: []byte(schemaTemplate)}
	files["suite.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: test.gatekeeper.sh/v1alpha1\nkind: Suite\n" + suite)}
	return files
}

func TestSuites(t *testing.T) {
	test := func(rest string) string {
		return "tests: [{name: t, template: a.yaml, constraint: b.yaml, " + rest + "}]\n"
	}
	one := func(rest string) string { return test("cases: [{name: c, " + rest + "}]") }
	for name, test := range map[string]struct {
		suite string
		want  string // "" for a pass
	}{
		"a violation":                      {one("object: c.yaml, inventory: [e.yaml], assertions: [{violations: yes}]"), ""},
		"a violation is the default":       {one("object: c.yaml, inventory: [e.yaml], assertions: [{}]"), ""},
		"a number":                         {one("object: c.yaml, inventory: [e.yaml], assertions: [{violations: 1}]"), ""},
		"a number that is another":         {one("object: c.yaml, inventory: [e.yaml], assertions: [{violations: 2}]"), "want 2"},
		"none where there is one":          {one("object: c.yaml, inventory: [e.yaml], assertions: [{violations: no}]"), "want none"},
		"a message":                        {one("object: c.yaml, inventory: [e.yaml], assertions: [{message: '^web by'}]"), ""},
		"a message that is another":        {one("object: c.yaml, inventory: [e.yaml], assertions: [{message: '^db'}]"), `want at least one matching "^db"`},
		"a message that must not be":       {one("object: c.yaml, inventory: [e.yaml], assertions: [{violations: 'no', message: db}]"), ""},
		"an object of the inventory":       {one("object: c.yaml, inventory: [e.yaml, f.yaml], assertions: [{violations: 1, message: twice}]"), ""},
		"an AdmissionReview of a deletion": {one("object: d.yaml, inventory: [e.yaml], assertions: [{violations: 1, message: web by bob}]"), ""},
		"a namespace that is not known":    {one("object: c.yaml, assertions: [{violations: no}]"), "cannot know the labels of namespace shop"},
		"no assertion":                     {one("object: c.yaml, inventory: [e.yaml]"), "it has no assertions"},
		"no object":                        {one("assertions: [{}]"), "object is required"},
		"a file outside":                   {one("object: ../../x.yaml, assertions: [{}]"), "outside of the folder"},
		"a case to skip":                   {one("skip: true"), ""},
		"a test to skip":                   {test("skip: true"), ""},
		"an invalid constraint":            {"tests: [{name: t, template: g.yaml, constraint: h.yaml, invalid: true}]\n", ""},
		"a valid one that should not be":   {test("invalid: true"), "the constraint is to be invalid"},
		"a template that is none":          {"tests: [{name: t, template: c.yaml, constraint: b.yaml}]\n", "is not a ConstraintTemplate"},
		"an expectation that says nothing": {one("object: c.yaml, assertions: [{violations: maybe}]"), "want yes, no or a number"},
		"a pattern that does not compile":  {one("object: c.yaml, inventory: [e.yaml], assertions: [{message: '('}]"), "the message of an assertion"},
	} {
		t.Run(name, func(t *testing.T) {
			results, err := Test(context.Background(), suiteFiles(test.suite))
			var got string
			if err != nil {
				got = err.Error()
			} else if len(results) == 1 {
				got = strings.Join(results[0].Failures(), "\n")
			}
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

package policies

import (
	"testing"
)

// The way round: a Namespace that is created with generateName has no request.name, so the
// rules for its own name were not those it was judged by.
func TestANamespaceGoesByItsOwnNameWhereverThatStands(t *testing.T) {
	engine := mustCompile(t, bundleFiles(`policies:
- policy: pods/x
  match: {namespaces: ["shop-*"]}
- policy: pods/x
  name: pods/others
  match: {exclude: {namespaces: ["shop-*"]}}
profiles:
- name: loose
- name: strict
  policies: [{policy: pods/x, name: pods/strict}]
namespaces: [{match: ["shop-*"], profile: strict}]
defaultProfile: loose
`, "x.rego", regoPolicy("pods/x", "match: {resources: [{group: \"\", resources: [namespaces]}], operations: [CREATE, DELETE]}", `deny contains sprintf("%s=%s", [input.request.namespace, input.namespace.name])`)))
	for name, test := range map[string]struct {
		name, now, old string
		want           []string
	}{
		"that of the request":                      {"shop-a", `"name":"shop-a"`, "", []string{"pods/x: shop-a=shop-a", "pods/strict: shop-a=shop-a"}},
		"that of the request, before the object's": {"shop-a", `"name":"other"`, "", []string{"pods/x: shop-a=shop-a", "pods/strict: shop-a=shop-a"}},
		"that of the object, made up by now":       {"", `"name":"shop-b","generateName":"shop-"`, "", []string{"pods/x: shop-b=shop-b", "pods/strict: shop-b=shop-b"}},
		"one as it will be made up":                {"", `"generateName":"shop-"`, "", []string{"pods/x: shop-xxxxx=shop-xxxxx", "pods/strict: shop-xxxxx=shop-xxxxx"}},
		"that of the object that is deleted":       {"", "", `"name":"shop-c"`, []string{"pods/x: shop-c=shop-c", "pods/strict: shop-c=shop-c"}},
		"another one":                              {"", `"name":"cart"`, "", []string{"pods/others: cart=cart"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := objectRequest("", "v1", "namespaces", "Namespace", "")
			r.Name, r.Namespace, r.Object = test.name, "", nil
			facts := &Facts{}
			if test.now != "" {
				r.Object = []byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{` + test.now + `}}`)
			} else {
				r.Operation, r.OldObject = "DELETE", []byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{`+test.old+`}}`)
				facts.Namespace = &Namespace{Name: "shop-c"}
			}
			wantSpoken(t, judge(t, engine, r, facts), test.want...)
		})
	}
}

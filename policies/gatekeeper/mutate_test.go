package gatekeeper

import (
	"context"
	"encoding/json"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/admission/patch"
	"github.com/portcullis-dev/portcullis/policies"
	"sigs.k8s.io/yaml"
)

// assign is a mutator of a kind with this spec, in flow style.
func mutatorOf(kind, name, spec string) string {
	return "apiVersion: mutations.gatekeeper.sh/v1\nkind: " + kind + "\nmetadata: {name: " + name + "}\nspec: " + spec + "\n"
}

const pods = "applyTo: [{groups: [''], versions: [v1], kinds: [Pod]}], "

// patched is the object of a request after the mutators, and after them again.
func patched(t *testing.T, e *Engine, r *policies.Request, facts *policies.Facts) (string, policies.Result) {
	t.Helper()
	result := e.Evaluate(context.Background(), r, facts, noon, policies.PhaseMutate)
	object, _, err := patch.Merge(r.Object, result.Patches)
	if err != nil {
		t.Fatal(err)
	}
	if object == nil {
		object = r.Object
	}
	again := *r
	again.Object = object
	if further := e.Evaluate(context.Background(), &again, facts, noon, policies.PhaseMutate); len(further.Patches) > 0 {
		t.Errorf("mutating again changes %v of %s", further.Patches, object)
	}
	return string(object), result
}

func TestMutatorsChangeWhatTheirLocationNames(t *testing.T) {
	for name, test := range map[string]struct {
		mutators []string
		object   string
		want     string // JSON of spec, or of the metadata
	}{
		"a field of every item of a list": {
			[]string{mutatorOf("Assign", "m", "{"+pods+"location: 'spec.containers[name: *].imagePullPolicy', parameters: {assign: {value: Always}}}")},
			"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a}, {name: b, imagePullPolicy: Never}]}\n",
			`{"containers":[{"name":"a","imagePullPolicy":"Always"},{"name":"b","imagePullPolicy":"Always"}]}`,
		},
		"an item that is not there is made": {
			[]string{mutatorOf("Assign", "m", "{"+pods+"location: 'spec.containers[name: proxy].image', parameters: {assign: {value: envoy}}}")},
			"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a}]}\n",
			`{"containers":[{"name":"a"},{"name":"proxy","image":"envoy"}]}`,
		},
		"a whole item": {
			[]string{mutatorOf("Assign", "m", "{"+pods+"location: 'spec.containers[name: a]', parameters: {assign: {value: {name: a, image: b}}}}")},
			"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, tty: true}]}\n",
			`{"containers":[{"name":"a","image":"b"}]}`,
		},
		"a field whose parents are missing": {
			[]string{mutatorOf("Assign", "m", "{"+pods+"location: spec.securityContext.runAsNonRoot, parameters: {assign: {value: true}}}")},
			"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {}\n",
			`{"securityContext":{"runAsNonRoot":true}}`,
		},
		"only where nothing is": {
			[]string{mutatorOf("Assign", "m", "{"+pods+"location: spec.priority, parameters: {pathTests: [{subPath: spec.priority, condition: MustNotExist}], assign: {value: 5}}}")},
			"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {priority: 1}\n",
			`{"priority":1}`,
		},
		"only where a parent is": {
			[]string{mutatorOf("Assign", "m", "{"+pods+"location: spec.a.b, parameters: {pathTests: [{subPath: spec.a, condition: MustExist}], assign: {value: 5}}}")},
			"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {}\n",
			`{}`,
		},
		"the name of the object": {
			[]string{mutatorOf("Assign", "m", "{"+pods+"location: spec.hostname, parameters: {assign: {fromMetadata: {field: name}}}}")},
			"apiVersion: v1\nkind: Pod\nmetadata: {name: web1}\nspec: {}\n",
			`{"hostname":"web1"}`,
		},
		"values merged into a list": {
			[]string{mutatorOf("ModifySet", "m", "{"+pods+"location: 'spec.containers[name: *].args', parameters: {operation: merge, values: {fromList: [--a, --b]}}}")},
			"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, args: [--b, --c]}, {name: b}]}\n",
			`{"containers":[{"name":"a","args":["--b","--c","--a"]},{"name":"b","args":["--a","--b"]}]}`,
		},
		"values pruned from a list": {
			[]string{mutatorOf("ModifySet", "m", "{"+pods+"location: 'spec.containers[name: *].args', parameters: {operation: prune, values: {fromList: [--a]}}}")},
			"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, args: [--a, --c]}, {name: b}]}\n",
			`{"containers":[{"name":"a","args":["--c"]},{"name":"b"}]}`,
		},
		"parts of an image": {
			[]string{mutatorOf("AssignImage", "m", "{"+pods+"location: 'spec.containers[name: *].image', parameters: {assignDomain: 'mirror.example:5000', assignTag: ':v2'}}")},
			"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: 'docker.io/nginx:1'}, {name: b, image: 'library/nginx@sha256:00'}]}\n",
			`{"containers":[{"name":"a","image":"mirror.example:5000/nginx:v2"},{"name":"b","image":"mirror.example:5000/library/nginx:v2"}]}`,
		},
		"mutators that build on each other": {
			[]string{
				mutatorOf("Assign", "a", "{"+pods+"location: spec.a.c, parameters: {pathTests: [{subPath: spec.a, condition: MustExist}], assign: {value: 2}}}"),
				mutatorOf("Assign", "b", "{"+pods+"location: spec.a.b, parameters: {assign: {value: 1}}}"),
			},
			"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {}\n",
			`{"a":{"b":1,"c":2}}`,
		},
		"another kind stays": {
			[]string{mutatorOf("Assign", "m", "{"+pods+"location: spec.a, parameters: {assign: {value: 1}}}")},
			"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {}\n",
			`{}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			object, result := patched(t, load(t, test.mutators...), requestFor(t, test.object), &policies.Facts{})
			if len(result.Faults) > 0 {
				t.Fatal(said(result))
			}
			var got, want any
			var whole map[string]any
			_ = json.Unmarshal([]byte(object), &whole)
			got = whole["spec"]
			_ = json.Unmarshal([]byte(test.want), &want)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestMetadataAreAddedAndNeverChanged(t *testing.T) {
	e := load(t, mutatorOf("AssignMetadata", "m", "{location: 'metadata.labels.\"example.com/owner\"', parameters: {assign: {value: admin}}, match: {scope: Namespaced}}"))
	object, _ := patched(t, e, requestFor(t, pod), &policies.Facts{})
	if !strings.Contains(object, `"example.com/owner":"admin"`) {
		t.Errorf("got %s, want the label", object)
	}
	owned := strings.Replace(pod, "{app: web}", "{example.com/owner: me}", 1)
	if object, _ := patched(t, e, requestFor(t, owned), &policies.Facts{}); !strings.Contains(object, `"example.com/owner":"me"`) {
		t.Errorf("got %s, want the label that was there", object)
	}
	node := "apiVersion: v1\nkind: Node\nmetadata: {name: node1}\n"
	if object, _ := patched(t, e, requestFor(t, node), &policies.Facts{}); strings.Contains(object, "owner") {
		t.Errorf("got %s, want an object outside namespaces left alone", object)
	}
}

func TestMutatorsThatFailAreFaults(t *testing.T) {
	for name, test := range map[string]struct {
		mutators []string
		want     string
	}{
		"an object where a list is wanted": {[]string{
			mutatorOf("Assign", "a", "{"+pods+"location: 'spec[name: x].b', parameters: {assign: {value: 1}}}"),
		}, "fault gatekeeper/assign/a deny evaluation error: mutator Assign a: the location spec[name: x].b does not fit the object: at spec want a list, got an object\n"},
		"the labels of the namespace are not known": {[]string{
			mutatorOf("Assign", "a", "{"+pods+"location: spec.b, parameters: {assign: {value: 1}}, match: {namespaceSelector: {matchLabels: {a: b}}}}"),
		}, "fault gatekeeper/assign/a deny facts not available: mutator Assign a: the labels of the namespace are not known\n"},
	} {
		t.Run(name, func(t *testing.T) {
			e := load(t, test.mutators...)
			result := e.Evaluate(context.Background(), requestFor(t, pod), &policies.Facts{}, noon, policies.PhaseMutate)
			if got := said(result); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestExpandedObjectsAreThoseOfGatekeeper compares with what "gator expand" wrote.
func TestExpandedObjectsAreThoseOfGatekeeper(t *testing.T) {
	cases, err := fs.ReadDir(originals("expand"), ".")
	if err != nil || len(cases) < 5 {
		t.Fatalf("got %d cases and %v, want five or more", len(cases), err)
	}
	for _, one := range cases {
		if one.Name() == "expand-with-missing-ns" {
			continue // gator wants the Namespace itself, of which expanding reads nothing
		}
		t.Run(one.Name(), func(t *testing.T) {
			documents, err := readFolder(originals("expand/"+one.Name()+"/input"), true)
			if err != nil {
				t.Fatal(err)
			}
			isPolicy := func(d document) bool { return d.group == expansionGroup || d.group == mutationGroup }
			e, err := newEngine(slices.DeleteFunc(slices.Clone(documents), func(d document) bool { return !isPolicy(d) }), Options{}, true)
			if err != nil {
				t.Fatal(err)
			}
			var got []any
			for _, d := range documents {
				if isPolicy(d) || d.kind == "Namespace" {
					continue
				}
				r := requestFor(t, string(d.raw))
				r.Namespace = "x" // gator takes what is in no namespace to be in one without a name
				made, err := e.expand(newReview(r, &policies.Namespace{Name: d.namespace}))
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range made {
					got = append(got, normal(t, m.object, d.namespace))
				}
			}
			output, err := readFile(originals("expand/"+one.Name()), "output/output.yaml")
			if err != nil {
				t.Fatal(err)
			}
			var want []any
			for _, d := range output {
				want = append(want, normal(t, d.raw, d.namespace))
			}
			byKind := func(a, b any) int {
				return strings.Compare(a.(map[string]any)["kind"].(string), b.(map[string]any)["kind"].(string))
			}
			slices.SortFunc(got, byKind)
			slices.SortFunc(want, byKind)
			if !reflect.DeepEqual(got, want) {
				a, _ := yaml.Marshal(got)
				b, _ := yaml.Marshal(want)
				t.Errorf("got\n%s\nwant\n%s", a, b)
			}
		})
	}
}

// normal is an object in the namespace that it came with.
func normal(t *testing.T, raw []byte, namespace string) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		t.Fatal(err)
	}
	metadata := object["metadata"].(map[string]any)
	delete(metadata, "namespace")
	if namespace != "" {
		metadata["namespace"] = namespace
	}
	return object
}

func TestWorkloadsAreDeniedForThePodsTheyMake(t *testing.T) {
	expansion := func(action string) string {
		return "apiVersion: expansion.gatekeeper.sh/v1beta1\nkind: ExpansionTemplate\nmetadata: {name: expand-deployments}\n" +
			"spec: {" + action + "applyTo: [{groups: [apps], versions: [v1], kinds: [Deployment]}], templateSource: spec.template, generatedGVK: {group: '', version: v1, kind: Pod}}\n"
	}
	const rego = "package a\nviolation[{\"msg\": msg}] { msg := sprintf(\"%v of %v\", [input.review.object.spec.containers[_].image, input.review.name]) }"
	const deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {template: {spec: {containers: [{name: a, image: nginx}]}}}\n"
	template, constraint := templateOf("Images", rego), constraintOf("Images", "c", "{match: {source: Generated, kinds: [{apiGroups: [''], kinds: [Pod]}]}}")
	for name, test := range map[string]struct {
		documents []string
		want      string
	}{
		"with the constraint's action":         {[]string{expansion("")}, "gatekeeper/images c deny: [Implied by expand-deployments] nginx of web-pod\n"},
		"with an action of its own":            {[]string{expansion("enforcementAction: warn, ")}, "gatekeeper/images c warn: [Implied by expand-deployments] nginx of web-pod\n"},
		"after the mutators of generated pods": {[]string{expansion(""), mutatorOf("AssignImage", "m", "{"+pods+"location: 'spec.containers[name: *].image', match: {source: Generated}, parameters: {assignTag: ':9'}}")}, "gatekeeper/images c deny: [Implied by expand-deployments] nginx:9 of web-pod\n"},
		"not without an ExpansionTemplate":     {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := load(t, append(test.documents, template, constraint)...)
			if got := said(evaluate(e, requestFor(t, deployment), &policies.Facts{})); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	e := load(t, expansion(""), template, constraint)
	empty := strings.Replace(deployment, "template:", "other:", 1)
	if got := said(evaluate(e, requestFor(t, empty), &policies.Facts{})); !strings.Contains(got, "fault gatekeeper/expansion deny") {
		t.Errorf("got %q, want a workload that cannot be expanded to be a fault", got)
	}
}

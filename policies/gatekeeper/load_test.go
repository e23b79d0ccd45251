package gatekeeper

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/portcullis-dev/portcullis/policies"
)

func TestWhatCannotRunIsRefusedByName(t *testing.T) {
	always := templateOf("Always", alwaysRego)
	code := func(kind, engines string) string {
		return "apiVersion: templates.gatekeeper.sh/v1\nkind: ConstraintTemplate\nmetadata: {name: " + strings.ToLower(kind) + "}\n" +
			"spec: {crd: {spec: {names: {kind: " + kind + "}}}, targets: [{target: admission.k8s.gatekeeper.sh, code: [" + engines + "]}]}\n"
	}
	for name, test := range map[string]struct {
		documents []string
		want      string
	}{
		"a template with nothing but CEL":           {[]string{code("Cel", "{engine: K8sNativeValidation, source: {validations: []}}")}, "ConstraintTemplate cel (a.yaml): it has nothing but CEL (engine K8sNativeValidation)"},
		"a template without code":                   {[]string{code("None", "")}, "it has no Rego"},
		"an unknown version of Rego":                {[]string{code("Odd", "{engine: Rego, source: {version: v2, rego: package a}}")}, `version "v2" of Rego`},
		"external data":                             {[]string{templateOf("Ext", "package a\nviolation[{\"msg\": \"x\"}] { external_data({\"provider\": \"p\", \"keys\": []}) }")}, "it calls external_data"},
		"a provider of external data":               {[]string{"apiVersion: externaldata.gatekeeper.sh/v1beta1\nkind: Provider\nmetadata: {name: p}\n"}, "Provider p (a.yaml): external data are not run"},
		"the network":                               {[]string{templateOf("Net", "package a\nviolation[{\"msg\": \"x\"}] { http.send({}) }")}, "it calls http.send, which the sandbox does not have"},
		"a built-in smuggled in by with":            {[]string{templateOf("With", "package a\nf(x) { x }\nviolation[{\"msg\": \"x\"}] { f(1) with count as http.send }")}, "var http is unsafe"},
		"other data":                                {[]string{templateOf("Data", "package a\nviolation[{\"msg\": \"x\"}] { data.constraints[_] }")}, "templates can refer to data.inventory and data.lib"},
		"all data":                                  {[]string{templateOf("All", "package a\nviolation[{\"msg\": \"x\"}] { data[_] }")}, "templates can refer to data.inventory and data.lib"},
		"no violation":                              {[]string{templateOf("Quiet", "package a\ndeny[{\"msg\": \"x\"}] { true }")}, "its Rego has no rule violation"},
		"a pattern that does not compile":           {[]string{templateOf("Re", "package a\nviolation[{\"msg\": \"x\"}] { re_match(\"(\", input.review.name) }")}, "re_match"},
		"Rego that is not":                          {[]string{templateOf("Bad", "package a\nviolation[")}, "ConstraintTemplate bad (a.yaml)"},
		"a name that is not the kind's":             {[]string{strings.Replace(always, "{name: always}", "{name: never}", 1)}, "its name must be that of its kind in lower case, always"},
		"another target":                            {[]string{strings.Replace(always, "admission.k8s", "other", 1)}, "want exactly one target"},
		"inventory that nothing syncs":              {[]string{templateOf("Once", lookupRego)}, "it looks up ConfigMap in data.inventory and nothing syncs that: add it to spec.sync.syncOnly"},
		"inventory of which another kind is synced": {[]string{syncConfigMaps, templateOf("Once", strings.Replace(lookupRego, "ConfigMap", "Secret", 1))}, "it looks up Secret in data.inventory"},
		"any inventory that nothing syncs":          {[]string{templateOf("Any", "package a\nviolation[{\"msg\": \"x\"}] { data.inventory.cluster[_][_] }")}, "it reads data.inventory and nothing is synced"},
		"a constraint without a template":           {[]string{constraintOf("Other", "a", "{}")}, "Other a (a.yaml): there is no ConstraintTemplate for Other"},
		"an action that is none":                    {[]string{always, constraintOf("Always", "a", "{enforcementAction: block}")}, `enforcementAction "block"`},
		"a scope without actions":                   {[]string{always, constraintOf("Always", "a", "{enforcementAction: scoped}")}, "scopedEnforcementActions are required"},
		"a point that is none":                      {[]string{always, constraintOf("Always", "a", "{enforcementAction: scoped, scopedEnforcementActions: [{action: deny, enforcementPoints: [{name: door}]}]}")}, `the enforcement point "door" is not known`},
		"a misspelt field of match":                 {[]string{always, constraintOf("Always", "a", "{match: {namspaces: [a]}}")}, `unknown field "spec.match.namspaces"`},
		"a scope that is none":                      {[]string{always, constraintOf("Always", "a", "{match: {scope: Global}}")}, `match.scope "Global"`},
		"a star in the middle":                      {[]string{always, constraintOf("Always", "a", "{match: {namespaces: ['a*b']}}")}, "a * stands only at the beginning and at the end"},
		"a selector that is none":                   {[]string{always, constraintOf("Always", "a", "{match: {labelSelector: {matchExpressions: [{key: a, operator: Is}]}}}")}, "match.labelSelector"},
		"two of one name":                           {[]string{always, constraintOf("Always", "a", "{}"), constraintOf("Always", "a", "{}")}, "Always a (c.yaml): it is in b.yaml already"},
		"a Config of another name":                  {[]string{"apiVersion: config.gatekeeper.sh/v1alpha1\nkind: Config\nmetadata: {name: other}\n"}, "no Config but the one named config"},
		"a process that is none":                    {[]string{"apiVersion: config.gatekeeper.sh/v1alpha1\nkind: Config\nmetadata: {name: config}\nspec: {match: [{processes: [door], excludedNamespaces: [a]}]}\n"}, `the process "door" is not known`},
		"a kind that is not Gatekeeper's":           {[]string{pod}, "Pod web (a.yaml): v1 is none of Gatekeeper's kinds that are run: put objects to test with into a folder samples"},
		"a mutator that is none":                    {[]string{mutatorOf("AssignAll", "m", "{}")}, "has no such mutator"},
		"a mutator for nothing":                     {[]string{mutatorOf("Assign", "m", "{location: spec.a, parameters: {assign: {value: 1}}}")}, "applyTo is required"},
		"an Assign of metadata":                     {[]string{mutatorOf("Assign", "m", "{"+pods+"location: metadata.labels.a, parameters: {assign: {value: a}}}")}, "only an AssignMetadata changes metadata"},
		"an AssignMetadata of the rest":             {[]string{mutatorOf("AssignMetadata", "m", "{location: metadata.name, parameters: {assign: {value: a}}}")}, "an AssignMetadata changes metadata.labels.NAME"},
		"metadata that are no text":                 {[]string{mutatorOf("AssignMetadata", "m", "{location: metadata.labels.a, parameters: {assign: {value: 1}}}")}, "metadata are texts"},
		"a value from a provider":                   {[]string{mutatorOf("Assign", "m", "{"+pods+"location: spec.a, parameters: {assign: {externalData: {provider: p}}}}")}, "externalData"},
		"two sources of a value":                    {[]string{mutatorOf("Assign", "m", "{"+pods+"location: spec.a, parameters: {assign: {value: 1, fromMetadata: {field: name}}}}")}, "give one of value and fromMetadata"},
		"a change of what tells items apart":        {[]string{mutatorOf("Assign", "m", "{"+pods+"location: 'spec.c[name: a].name', parameters: {assign: {value: b}}}")}, "the field that tells items apart cannot be changed"},
		"an item of another key":                    {[]string{mutatorOf("Assign", "m", "{"+pods+"location: 'spec.c[name: a]', parameters: {assign: {value: {name: b}}}}")}, "want an object in which name is a"},
		"all items by one value":                    {[]string{mutatorOf("Assign", "m", "{"+pods+"location: 'spec.c[name: *]', parameters: {assign: {value: {name: b}}}}")}, "all items of a list cannot be one"},
		"a test of another place":                   {[]string{mutatorOf("Assign", "m", "{"+pods+"location: spec.a, parameters: {pathTests: [{subPath: spec.b, condition: MustExist}], assign: {value: 1}}}")}, "spec.b is not a beginning of the location spec.a"},
		"tests that exclude each other":             {[]string{mutatorOf("Assign", "m", "{"+pods+"location: spec.a, parameters: {pathTests: [{subPath: spec, condition: MustNotExist}, {subPath: spec.a, condition: MustExist}], assign: {value: 1}}}")}, "which is not to"},
		"an image of no parts":                      {[]string{mutatorOf("AssignImage", "m", "{"+pods+"location: spec.a, parameters: {}}")}, "give assignDomain, assignPath or assignTag"},
		"an image path that never settles":          {[]string{mutatorOf("AssignImage", "m", "{"+pods+"location: spec.a, parameters: {assignPath: gcr.io/x}}")}, "begins like a registry"},
		"a list that is an object to another":       {[]string{mutatorOf("Assign", "m", "{"+pods+"location: 'spec.a[name: x].b', parameters: {assign: {value: 1}}}"), mutatorOf("Assign", "other", "{"+pods+"location: spec.a.b, parameters: {assign: {value: 1}}}")}, "the mutators Assign m and Assign other exclude each other: spec.a is a list of objects, and an object"},
		"items told apart in two ways":              {[]string{mutatorOf("Assign", "m", "{"+pods+"location: 'spec.a[name: x].b', parameters: {assign: {value: 1}}}"), mutatorOf("Assign", "other", "{"+pods+"location: 'spec.a[id: x].b', parameters: {assign: {value: 1}}}")}, "the items of spec.a are told apart by name, and by id"},
		"a set that is an object to another":        {[]string{mutatorOf("ModifySet", "m", "{"+pods+"location: spec.a, parameters: {values: {fromList: [1]}}}"), mutatorOf("Assign", "other", "{"+pods+"location: spec.a.b, parameters: {assign: {value: 1}}}")}, "exclude each other: spec.a is"},
		"an expansion of itself":                    {[]string{"apiVersion: expansion.gatekeeper.sh/v1beta1\nkind: ExpansionTemplate\nmetadata: {name: x}\nspec: {applyTo: [{groups: [''], versions: [v1], kinds: [Pod]}], templateSource: spec, generatedGVK: {group: '', version: v1, kind: Pod}}\n"}, "it expands what it generates"},
		"an expansion without a source":             {[]string{"apiVersion: expansion.gatekeeper.sh/v1beta1\nkind: ExpansionTemplate\nmetadata: {name: x}\nspec: {}\n"}, "spec.templateSource is required"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(folder(test.documents...), Options{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestMutatorsThatDoNotMeetMayDiffer(t *testing.T) {
	services := strings.Replace(pods, "Pod", "Service", 1)
	create := strings.Replace(pods, "kinds: [Pod]", "kinds: [Pod], operations: [CREATE]", 1)
	update := strings.Replace(pods, "kinds: [Pod]", "kinds: [Pod], operations: [UPDATE]", 1)
	for name, to := range map[string][2]string{"other kinds": {pods, services}, "other operations": {create, update}} {
		_, err := Load(folder(
			mutatorOf("Assign", "m", "{"+to[0]+"location: 'spec.a[name: x].b', parameters: {assign: {value: 1}}}"),
			mutatorOf("Assign", "other", "{"+to[1]+"location: spec.a.b, parameters: {assign: {value: 1}}}")), Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTheOriginalsLoadOrSayWhy loads the templates of Gatekeeper's own tests.
func TestTheOriginalsLoadOrSayWhy(t *testing.T) {
	refused := map[string]string{
		"k8snamespacelabelcheckcel": "nothing but CEL",
		"k8srequiredlabelsvap":      "nothing but CEL",
		"k8sdenynamehttpsend":       "it calls http.send",
	}
	loaded := 0
	for _, one := range []string{"bats", "psp-all-violations/psp-templates", "agilebank", "fixtures/policies/default"} {
		documents, err := readFolder(originals(one), true)
		if err != nil {
			t.Fatal(err)
		}
		for n := range documents {
			if documents[n].group != templateGroup {
				continue
			}
			_, err := newTemplate(&documents[n])
			want, ok := refused[documents[n].name]
			switch {
			case ok && (err == nil || !strings.Contains(err.Error(), want)):
				t.Errorf("%s: got %v, want %s", documents[n].title, err, want)
			case !ok && err != nil:
				t.Error(err)
			case !ok:
				loaded++
			}
		}
	}
	if loaded < 20 {
		t.Errorf("got %d templates, want 20 or more", loaded)
	}
}

const schemaTemplate = `apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: labelled}
spec:
  crd:
    spec:
      names: {kind: Labelled}
      validation:
        openAPIV3Schema:
          type: object
          required: [labels]
          properties:
            labels: {type: array, items: {type: string}}
            strict: {type: boolean, default: true}
            size: {x-kubernetes-int-or-string: true}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
      package labelled
      violation[{"msg": msg}] { msg := json.marshal(input.parameters) }
`

func TestParametersFitTheSchema(t *testing.T) {
	legacy := strings.Replace(strings.Replace(schemaTemplate, "templates.gatekeeper.sh/v1", "templates.gatekeeper.sh/v1beta1", 1), "type: object\n          required", "required", 1)
	for name, test := range map[string]struct {
		template, spec string
		want, problem  string
	}{
		"defaults are filled in":                   {schemaTemplate, "{parameters: {labels: [a]}}", `{"labels":["a"],"strict":true}`, ""},
		"what the schema does not know is dropped": {schemaTemplate, "{parameters: {labels: [a], more: 1}}", `{"labels":["a"],"strict":true}`, ""},
		"a legacy schema keeps it":                 {legacy, "{parameters: {labels: [a], more: 1}}", `{"labels":["a"],"more":1,"strict":true}`, ""},
		"a number or a text":                       {schemaTemplate, "{parameters: {labels: [a], size: 5}}", `{"labels":["a"],"size":5,"strict":true}`, ""},
		"a wrong type":                             {schemaTemplate, "{parameters: {labels: a}}", "", "spec.parameters.labels"},
		"one that is required":                     {schemaTemplate, "{}", "", "spec.parameters.labels"},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := Load(folder(test.template, constraintOf("Labelled", "c", test.spec)), Options{})
			if test.problem != "" {
				if err == nil || !strings.Contains(err.Error(), test.problem) || !strings.Contains(err.Error(), errParameters.Error()) {
					t.Errorf("got %v, want %s", err, test.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			result := evaluate(e, requestFor(t, pod), noFacts())
			if len(result.Findings) != 1 || result.Findings[0].Message != test.want {
				t.Errorf("got %s, want %s", said(result), test.want)
			}
		})
	}
}

func TestRegoOfBothVersionsAndLibraries(t *testing.T) {
	libs := `apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: withlib}
spec:
  crd: {spec: {names: {kind: WithLib}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    libs:
    - |
      package lib.names
      bad(n) { n == "web" }
    rego: |
      package withlib
      import data.lib.names
      violation[{"msg": "lib"}] { names.bad(input.review.object.metadata.name); any([false, true]); print("seen") }
`
	both := `apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: both}
spec:
  crd: {spec: {names: {kind: Both}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    code:
    - engine: K8sNativeValidation
      source: {validations: [{expression: "false"}]}
    - engine: Rego
      source:
        version: v1
        libs: ["package lib.a\nis_pod(r) if r.kind.kind == \"Pod\"\n"]
        rego: |
          package both
          violation contains {"msg": "v1"} if data.lib.a.is_pod(input.review)
`
	e := load(t, libs, both, constraintOf("WithLib", "c", "{}"), constraintOf("Both", "c", "{}"))
	if got, want := said(evaluate(e, requestFor(t, pod), noFacts())), "gatekeeper/both c deny: v1\ngatekeeper/withlib c deny: lib\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRegoV0AsLibrariesWriteIt(t *testing.T) {
	const rego = `package future
import future.keywords.contains
import future.keywords.if
import future.keywords.in
violation contains ({"msg": msg}) if {
  some name in object.get(input, ["parameters", "names"], ["web"])
  name == input.review.object.metadata.name
  not exempt
  msg := sprintf("%v <%v>", [input.review.object.kind, name])
}
exempt if { object.get(object.get(input, "parameters", {}), "exempt", [])[_] == input.review.object.metadata.name }`
	e := load(t, templateOf("Future", rego), constraintOf("Future", "c", "{}"), constraintOf("Future", "d", "{parameters: {exempt: [web]}}"))
	if got, want := said(evaluate(e, requestFor(t, pod), noFacts())), "gatekeeper/future c deny: Pod <web>\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	reads := e.templates["Future"].reads
	if reads.whole || reads.section("oldObject") || !reads.section("object") {
		t.Errorf("got the reads %+v, want those of the object only", reads)
	}
}

func TestReadsAreNeverTooFew(t *testing.T) {
	for name, test := range map[string]struct{ rego, redacted string }{
		"through a variable":         {"r := input.review; r.object.data", "object.data"},
		"through the whole input":    {"i := input; i.review.object.data", "object.data"},
		"through a computed key":     {"k := \"object\"; input.review[k].data", "object.data"},
		"through a computed section": {"k := \"review\"; input[k].object.data", "object.data"},
		"through object.get":         {"object.get(input, [\"review\", \"object\", \"data\"], null) != null", "object.data"},
		"through object.get by part": {"object.get(input.review, \"object\", {}).data", "object.data"},
		"through a computed list":    {"k := [\"review\"]; object.get(input, k, {}).object.data", "object.data"},
		"through walk":               {"walk(input, [_, \"x\"])", "object.data"},
		"through an import":          {"o.data", "object.data"},
		"the old object":             {"input.review.oldObject.data", "oldObject.data"},
	} {
		t.Run(name, func(t *testing.T) {
			header := "package a\n"
			if strings.HasPrefix(test.rego, "o.") {
				header += "import input.review.object as o\n"
			}
			e := load(t, templateOf("Reads", header+"violation[{\"msg\": \"x\"}] { "+test.rego+" }"), constraintOf("Reads", "c", "{}"))
			r := requestFor(t, pod)
			r.Redacted = []string{test.redacted}
			if got := said(evaluate(e, r, noFacts())); !strings.Contains(got, "not replayable") {
				t.Errorf("got %q, want it undecided", got)
			}
		})
	}
}

func TestTheInventoryCanBeImported(t *testing.T) {
	const rego = "package a\nimport data.inventory as known\nviolation[{\"msg\": ns}] { known.namespace[ns].v1.ConfigMap[input.review.name] }"
	e := load(t, syncConfigMaps, templateOf("Once", rego), constraintOf("Once", "c", "{}"))
	r := requestFor(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop}\n")
	facts := &policies.Facts{Cluster: []policies.Object{configMap("web", "c")}}
	if got, want := said(evaluate(e, r, facts)), "gatekeeper/once c deny: web\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSyncDataOfAnnotations(t *testing.T) {
	annotated := func(json string) string {
		return strings.Replace(templateOf("Once", strings.Replace(lookupRego, "ConfigMap", "Ingress", 1)), "{name: once}",
			"\n  name: once\n  annotations:\n    metadata.gatekeeper.sh/requires-sync-data: |\n      "+json, 1)
	}
	const ingresses = `"[[{\"groups\":[\"extensions\"],\"versions\":[\"v1beta1\"],\"kinds\":[\"Ingress\"]},{\"groups\":[\"networking.k8s.io\"],\"versions\":[\"v1\"],\"kinds\":[\"Ingress\"]}]]"`
	e := load(t, annotated(strings.ReplaceAll(ingresses, `\"`, `"`)), constraintOf("Once", "c", "{}"))
	needs := e.Needs(requestFor(t, pod), policies.PhaseValidate)
	if len(needs.Reads) != 1 || needs.Reads[0].Group != "networking.k8s.io" || needs.Reads[0].Resource != "ingresses" {
		t.Errorf("got %+v, want the group that is served", needs.Reads)
	}
	if _, err := Load(folder(annotated("[[{]")), Options{}); err == nil || !strings.Contains(err.Error(), "reading the annotation") {
		t.Errorf("got %v, want a broken annotation refused", err)
	}
}

func TestSamplesAreNotInForce(t *testing.T) {
	files := folder(templateOf("Always", alwaysRego))
	files["samples/always/constraint.yaml"] = &fstest.MapFile{Data: []byte(constraintOf("Always", "sample", "{}"))}
	files["samples/always/pod.yaml"] = &fstest.MapFile{Data: []byte(pod)}
	files["suite.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: test.gatekeeper.sh/v1alpha1\nkind: Suite\ntests: [{name: t, template: a.yaml, constraint: samples/always/constraint.yaml, cases: [{name: c, object: other.yaml}]}]\n")}
	files["other.yaml"] = &fstest.MapFile{Data: []byte(pod)}
	files["kustomization.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [a.yaml]\n")}
	files[".git/x.yaml"] = &fstest.MapFile{Data: []byte("nonsense: [")}
	e, err := Load(files, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Policies(); len(got) != 0 {
		t.Errorf("got %v in force, want none", got)
	}
}

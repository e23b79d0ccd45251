package policies

import (
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Rules with a constant key beside rules with a computed one are read too: OPA keeps
// them in another node of its rule tree, where looking up x[key] does not lead.
func TestAReferenceWithAComputedKeyReadsTheRulesWithConstantKeys(t *testing.T) {
	module := ast.MustParseModule(`package portcullis.test.keys

deny contains path if {
	some path, place in places
	place.bad
}

places["spec"] := input.object.spec

places[path] := place if {
	some i, place in input.object.specs
	path := sprintf("specs[%d]", [i])
}`)
	compiler := ast.NewCompiler()
	if compiler.Compile(map[string]*ast.Module{"policy.rego": module}); compiler.Failed() {
		t.Fatal(compiler.Errors)
	}
	reads, err := deriveReadSet(compiler, compiler.GetRulesExact(ast.MustParseRef("data.portcullis.test.keys.deny")))
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"spec", "specs"} {
		if reads.at("object", field) == nil {
			t.Errorf("input.object.%s is not in the read set", field)
		}
	}
}

// written are the leaves of a read set: paths with [] for any item or key.
func written(reads *readSet, path string) []string {
	if reads.whole || (len(reads.fields) == 0 && reads.items == nil) {
		return []string{path}
	}
	var paths []string
	for _, name := range sortedKeys(reads.fields) {
		paths = append(paths, written(reads.fields[name], strings.TrimPrefix(path+"."+name, "."))...)
	}
	if reads.items != nil {
		paths = append(paths, written(reads.items, path+"[]")...)
	}
	return paths
}

func TestTheReadSetIsWhatARuleCanRead(t *testing.T) {
	for name, test := range map[string]struct {
		rules string
		want  string
	}{
		"a field":                            {`deny contains "x" if input.object.spec.a.b`, "object.spec.a.b"},
		"two fields":                         {`deny contains "x" if { input.object.a; input.request.name }`, "object.a request.name"},
		"a field in the head":                {`deny contains input.object.a`, "object.a"},
		"a field in a finding":               {`deny contains {"msg": input.object.a, "path": input.request.name}`, "object.a request.name"},
		"some":                               {`deny contains "x" if { some c in input.workload.containers; c.tty }`, "workload.containers[].tty"},
		"some that is not used":              {`deny contains "x" if { some c in input.workload.containers }`, "workload.containers[]"},
		"some with a key":                    {`deny contains k if { some k, v in input.object.metadata.labels; v == "a" }`, "object.metadata.labels[]"},
		"some of some":                       {`deny contains "x" if { some c in input.workload.containers; some e in c.env; e.name == "a" }`, "workload.containers[].env[].name"},
		"an index":                           {`deny contains "x" if input.object.list[0].a`, "object.list[].a"},
		"an index that is a variable":        {`deny contains "x" if { some i; input.object.list[i].a; input.object.other[i].b }`, "object.list[].a object.other[].b"},
		"every":                              {`deny contains "x" if { every c in input.workload.containers { c.tty } }`, "workload.containers[].tty"},
		"every with a key":                   {`deny contains "x" if { every k, v in input.object.labels { k != "a"; v.b } }`, "object.labels[].b"},
		"a comprehension":                    {`deny contains "x" if count([c.name | some c in input.workload.containers; c.tty]) > 1`, "workload.containers[].name workload.containers[].tty"},
		"a set comprehension":                {`deny contains "x" if count({c | some c in input.workload.containers}) > 1`, "workload.containers[]"},
		"an object comprehension":            {`deny contains "x" if {c.name: c.image | some c in input.workload.containers}.a`, "workload.containers[].image workload.containers[].name"},
		"a local":                            {`deny contains "x" if { spec := input.object.spec; spec.a; spec.b }`, "object.spec.a object.spec.b"},
		"a local of a local":                 {`deny contains "x" if { o := input.object; spec := o.spec; spec.a }`, "object.spec.a"},
		"a local as a value":                 {`deny contains "x" if { spec := input.object.spec; count(spec) > 1; spec.a }`, "object.spec"},
		"a local compared":                   {`deny contains "x" if { spec := input.object.spec; spec == {"a": 1}; spec.a }`, "object.spec"},
		"two locals compared":                {`deny contains "x" if { a := input.object.spec; b := input.oldObject.spec; a != b; a.x; b.y }`, "object.spec oldObject.spec"},
		"a local taken apart":                {`deny contains a if { [a, b] := input.object.pair; b }`, "object.pair"},
		"negation":                           {`deny contains "x" if not input.object.spec.a`, "object.spec.a"},
		"membership":                         {`deny contains "x" if "a" in input.object.list`, "object.list"},
		"a constant key":                     {`deny contains "x" if input.object.metadata.labels["a/b"]`, "object.metadata.labels.a/b"},
		"a computed key":                     {`deny contains "x" if input.object.metadata.labels[input.request.name]`, "object.metadata.labels[] request.name"},
		"object.get of a key":                {`deny contains "x" if object.get(input.object, "spec", {}).a`, "object.spec"},
		"object.get of a path":               {`deny contains "x" if object.get(input.object, ["spec", "a", 0, "b"], 1) == 1`, "object.spec.a[].b"},
		"object.get of a local":              {`deny contains "x" if { c := input.workload.containers[_]; object.get(c, "name", "") == "" }`, "workload.containers[].name"},
		"object.get of a computed key":       {`deny contains "x" if object.get(input.object.spec, input.request.name, 1) == 1`, "object.spec request.name"},
		"a default of object.get":            {`deny contains "x" if object.get(input.object, "a", input.request.name) == 1`, "object.a request.name"},
		"a function's argument":              {"deny contains \"x\" if { some c in input.workload.containers; f(c) }\nf(c) if c.tty", "workload.containers[].tty"},
		"a function's argument passed on":    {"deny contains \"x\" if f(input.object.spec)\nf(x) if g(x.a)\ng(y) if y.b", "object.spec.a.b"},
		"a function of two uses":             {"deny contains \"x\" if { f(input.object.a); f(input.object.b) }\nf(x) if x.c", "object.a.c object.b.c"},
		"a function called with no path too": {"deny contains \"x\" if { f(1); f(input.object.b) }\nf(x) if x.c", "object.b.c"},
		"a function that gives its argument": {"deny contains \"x\" if f(input.object.spec).a\nf(x) := x", "object.spec"},
		"a function with a pattern":          {"deny contains \"x\" if f(input.object.spec)\nf({\"a\": a}) if a", "object.spec"},
		"a function with a constant":         {"deny contains \"x\" if f(\"a\", input.object.spec)\nf(\"a\", x) if x.a\nf(\"b\", x) if x.b", "object.spec.a object.spec.b"},
		"a function's else":                  {"deny contains \"x\" if f(input.object) == 2\nf(x) := 1 if x.a\nelse := 2 if x.b", "object.a object.b"},
		"a function's argument compared":     {"deny contains \"x\" if { some e in [{\"a\": 1}]; f(e); input.object.spec.a }\nf(e) if input.object.spec == e", "object.spec"},
		"every's item compared":              {"deny contains \"x\" if { every e in [{\"a\": 1}] { input.object.spec == e }; input.object.spec.a }", "object.spec"},
		"a local compared with a constant":   {"deny contains \"x\" if { e := {\"a\": 1}; input.object.spec == e; input.object.spec.a }", "object.spec"},
		"a rule":                             {"deny contains \"x\" if r\nr if input.object.a", "object.a"},
		"a rule's else":                      {"deny contains \"x\" if r == 2\nr := 1 if input.object.a\nelse := 2 if input.object.b", "object.a object.b"},
		"a rule that gives a value":          {"deny contains \"x\" if r.a\nr := input.object.spec", "object.spec"},
		"a partial rule":                     {"deny contains \"x\" if { some c in r; c.a }\nr contains c if some c in input.object.list", "object.list[]"},
		"a partial object":                   {"deny contains \"x\" if r.a\nr[k] := v if some k, v in input.object.map", "object.map[]"},
		"a default rule":                     {"deny contains \"x\" if not r\ndefault r := false\nr if input.object.a", "object.a"},
		"a library":                          {"import data.portcullis.lib.l\ndeny contains \"x\" if { some c in l.all; l.bad(c) }", "workload.containers"},
		"the whole section":                  {`deny contains "x" if count(input.workload) > 0`, "workload"},
		"walk":                               {`deny contains "x" if { walk(input.object.spec, [p, v]); v == "a" }`, "object.spec"},
		"the clock":                          {`deny contains "x" if time.now_ns() > 0`, "now"},
		"a parameter":                        {`deny contains "x" if input.parameters.a == input.object.b`, "object.b"},
		"nothing":                            {`deny contains "x"`, ""},
		"what a dead rule reads":             {"deny contains \"x\" if input.object.a\ndead if input.object.b", "object.a"},
		"an item of a list in a call":        {`deny contains "x" if { some i; startswith(input.object.list[i].name, "a"); endswith(input.object.list[i].kind, "b") }`, "object.list[].kind object.list[].name"},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}]\n",
				"lib.rego", regoLibrary("l", "all := input.workload.containers\nbad(c) if c.tty"),
				"x.rego", regoPolicy("pods/x", "parameters: {properties: {a: {type: integer, default: 1}}}", test.rules)))
			reads := engine.profiles[noProfile].instances[0].unit.reads[EffectDeny]
			if got := strings.Join(written(reads, ""), " "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

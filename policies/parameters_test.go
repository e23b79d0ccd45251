package policies

import (
	"strings"
	"testing"
)

const parameterSchema = `
parameters:
  type: object
  properties:
    text: {type: string, default: none}
    flag: {type: boolean, default: true}
    number: {type: integer, default: 3, maximum: 2000000000}
    list: {type: array, items: {type: string}, default: [a, b]}
    nested: {type: object, default: {}, properties: {inner: {type: array}}}
`

func TestParametersAreChecked(t *testing.T) {
	x := regoPolicy("pods/x", parameterSchema, `deny contains input.parameters.text`)
	for name, test := range map[string]struct {
		policy, parameters string
		says               []string
	}{
		"one the policy does not have":      {x, "{txet: a}", []string{"pods/x", "txet"}},
		"one of another type":               {x, "{flag: 'yes'}", []string{"pods/x", "flag"}},
		"a list with an item of wrong type": {x, "{list: [1]}", []string{"pods/x", "list"}},
		"one beyond its limit":              {x, "{number: 2000000001}", []string{"pods/x", "number"}},
		"nothing where something is wanted": {x, "{text: null}", []string{"pods/x", "text"}},
		"a required one left out":           {regoPolicy("pods/x", "parameters: {properties: {limit: {type: integer}}}", `deny contains "x" if input.parameters.limit == 1`), "{}", []string{"pods/x", `"limit" is required`}},
		"a default that breaks its schema":  {regoPolicy("pods/x", "parameters: {properties: {limit: {type: integer, default: many}}}", `deny contains "x" if input.parameters.limit == 1`), "{}", []string{"pods/x", "limit"}},
		"any where the policy takes none":   {regoPolicy("pods/x", "", always), "{limit: 1}", []string{"pods/x", "takes no parameters", "limit"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(bundleFiles("policies: [{policy: pods/x, parameters: "+test.parameters+"}]\n", "x.rego", test.policy))
			wantRefusal(t, err, test.says...)
		})
	}
}

func TestARuleMayOnlyReadParametersThePolicyHas(t *testing.T) {
	for name, rule := range map[string]string{
		"a misspelled one":        `deny contains "x" if input.parameters.txet == "a"`,
		"one by a computed name":  `deny contains "x" if { some name in ["text"]; input.parameters[name] }`,
		"one in a comprehension":  `deny contains "x" if count([1 | input.parameters.other]) == 0`,
		"one below a comparison":  `deny contains "x" if not input.parameters.other == 1`,
		"one in a helper":         "deny contains \"x\" if helper\nhelper if input.parameters.other",
		"one in an else branch":   "deny contains \"x\" if helper == 2\nhelper := 1 if input.request.name == \"a\"\nelse := 2 if input.parameters.other",
		"one in a head":           `deny contains input.parameters.other`,
		"one as a key of another": `deny contains "x" if input.workload.containers[input.parameters.other]`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := compileFiles(onePolicy(parameterSchema, rule))
			wantRefusal(t, err, "x.rego", "not among the policy's parameters")
		})
	}
}

func TestParametersReachTheRules(t *testing.T) {
	for name, test := range map[string]struct {
		parameters, rules, want string
	}{
		"a text":                       {"{text: hello}", `deny contains input.parameters.text`, "hello"},
		"a default":                    {"{}", `deny contains input.parameters.text`, "none"},
		"an empty text":                {"{text: ''}", `deny contains sprintf("%q", [input.parameters.text])`, `""`},
		"a flag that is true":          {"{}", `deny contains "set" if input.parameters.flag`, "set"},
		"a flag that is false":         {"{flag: false}", `deny contains "unset" if not input.parameters.flag`, "unset"},
		"a false flag is no condition": {"{flag: false}", "deny contains \"set\" if input.parameters.flag\ndeny contains \"always\"", "always"},
		"a false flag compared":        {"{flag: false}", `deny contains "false" if input.parameters.flag == false`, "false"},
		"a number":                     {"{number: 5}", `deny contains sprintf("%d", [input.parameters.number + 1])`, "6"},
		"a number of seven digits":     {"{number: 1000650}", `deny contains sprintf("%d", [input.parameters.number])`, "1000650"},
		"a number beyond all floats":   {"{number: 1000650001}", `deny contains sprintf("%d", [input.parameters.number])`, "1000650001"},
		"zero":                         {"{number: 0}", `deny contains "zero" if input.parameters.number == 0`, "zero"},
		"a list":                       {"{list: [b]}", `deny contains concat(",", input.parameters.list)`, "b"},
		"an item of a list":            {"{}", `deny contains input.parameters.list[1]`, "b"},
		"a member":                     {"{}", `deny contains "member" if "a" in input.parameters.list`, "member"},
		"each item":                    {"{}", `deny contains concat("", [x | some x in input.parameters.list])`, "ab"},
		"every item":                   {"{}", `deny contains "all" if { every x in input.parameters.list { x < "c" } }`, "all"},
		"an empty list":                {"{list: []}", `deny contains "empty" if count(input.parameters.list) == 0`, "empty"},
		"no member of an empty list":   {"{list: []}", `deny contains "no member" if not "a" in input.parameters.list`, "no member"},
		"a key that is nested":         {"{nested: {inner: [{deep: 1}]}}", `deny contains sprintf("%d", [input.parameters.nested.inner[0].deep])`, "1"},
		"a parameter as a key":         {"{text: name}", `deny contains input.object.metadata[input.parameters.text]`, "shop"},
		"all of them":                  {"{}", `deny contains concat(",", sort(object.keys(input.parameters)))`, "flag,list,nested,number,text"},
		"one with a default, got":      {"{}", `deny contains object.get(input.parameters, "nothing", "fallback")`, "fallback"},
		"in a function":                {"{text: f}", "deny contains f(1)\nf(_) := input.parameters.text", "f"},
		"in an else branch":            {"{text: e}", "deny contains h\nh := \"a\" if input.request.name == \"other\"\nelse := input.parameters.text", "e"},
		"in a default rule":            {"{number: 4}", "deny contains sprintf(\"%d\", [h])\ndefault h := 0\nh := input.parameters.number", "4"},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x, parameters: "+test.parameters+"}]\n", "x.rego", regoPolicy("pods/x", parameterSchema, test.rules)))
			wantSpoken(t, judge(t, engine, podRequest(plainPod), nil), "pods/x: "+test.want)
		})
	}
}

func TestInstancesOfOnePolicyKeepTheirParametersApart(t *testing.T) {
	engine := mustCompile(t, bundleFiles(`
policies:
  - {policy: pods/x, parameters: {text: one, list: [a]}}
  - {policy: pods/x, name: second, enforcement: warn, parameters: {text: two, list: []}}
  - {policy: pods/x, name: third, parameters: {text: one, list: [a]}}
`, "x.rego", regoPolicy("pods/x", parameterSchema, `deny contains sprintf("%s %d", [input.parameters.text, count(input.parameters.list)])`)))
	result := judge(t, engine, podRequest(plainPod), nil)
	wantSpoken(t, result, "pods/x: one 1", "second: two 0", "third: one 1")
	for _, f := range result.Findings {
		if f.Policy != "pods/x" {
			t.Errorf("got policy %q, want the policy's id on the findings of each instance", f.Policy)
		}
	}
	if got := len(engine.compiler.Modules); got != 2 {
		t.Errorf("got %d compiled modules, want 2: instances with the same parameters share one", got)
	}
}

func TestTheEffectsOfAParameterStayInItsPolicy(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x, parameters: {text: mine}}, {policy: pods/y}]\n",
		"x.rego", regoPolicy("pods/x", parameterSchema, `deny contains input.parameters.text`),
		"y.rego", regoPolicy("pods/y", parameterSchema, `deny contains input.parameters.text`)))
	wantSpoken(t, judge(t, engine, podRequest(plainPod), nil), "pods/x: mine", "pods/y: none")
	for name, module := range engine.compiler.Modules {
		if strings.Contains(module.String(), "input.parameters") {
			t.Errorf("module %s still reads input.parameters", name)
		}
	}
}

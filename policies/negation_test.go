package policies

import "testing"

func TestANegatedCallOfWhatMayBeAbsentIsRefused(t *testing.T) {
	const lib = "none(x) if x == \"none\"\nlow(x) if x < 3\nhas(x, y) if y in x\nfirst(x) := x[0]\n"
	for name, test := range map[string]struct {
		rule    string
		refused string // "" for a rule that is fine
	}{
		"a pointer of the normal form, to a built-in": {`deny contains "x" if { some c in input.workload.containers; not startswith(c.securityContext.seccompProfile.type, "R") }`, "input.workload.containers[_].securityContext.seccompProfile.type"},
		"a pointer of the normal form, to a function": {`deny contains "x" if { some c in input.workload.containers; not low(c.securityContext.runAsUser) }`, "input.workload.containers[_].securityContext.runAsUser"},
		"a pointer of the normal form, as member":     {`deny contains "x" if { some c in input.workload.containers; not c.securityContext.runAsUser in [1, 2] }`, "input.workload.containers[_].securityContext.runAsUser"},
		"a pointer of the normal form, compared":      {`deny contains "x" if { some c in input.workload.containers; not c.securityContext.runAsUser < 3 }`, "input.workload.containers[_].securityContext.runAsUser"},
		"a field of the raw object":                   {`deny contains "x" if not none(input.object.spec.type)`, "input.object.spec.type"},
		"the old object":                              {`deny contains "x" if not none(input.oldObject)`, "input.oldObject"},
		"a label of the namespace":                    {`deny contains "x" if not none(input.namespace.labels.a)`, "input.namespace.labels.a"},
		"a label by a variable":                       {`deny contains "x" if { some k in ["a"]; not none(input.object.metadata.labels[k]) }`, "input.object.metadata.labels[_]"},
		"an item by its number":                       {`deny contains "x" if not none(input.workload.containers[0].name)`, "input.workload.containers[_].name"},
		"a service account":                           {`deny contains "x" if not none(input.subject.serviceAccount.name)`, "input.subject.serviceAccount"},
		"an option of the request":                    {`deny contains "x" if not none(input.request.options.a)`, "input.request.options.a"},
		"inside a list":                               {`deny contains "x" if not has(["a"], [input.object.spec.type])`, "input.object.spec.type"},
		"inside another call":                         {`deny contains "x" if not none(lower(input.object.spec.type))`, "input.object.spec.type"},
		"inside a call in a comparison":               {`deny contains "x" if not lower(input.object.spec.type) == "a"`, "input.object.spec.type"},
		"as the index of a reference":                 {`deny contains "x" if { some c in input.workload.containers; not c[input.object.spec.type] }`, "input.object.spec.type"},
		"below a local variable":                      {`deny contains "x" if { spec := input.object.spec; not none(spec.type) }`, "input.object.spec.type"},
		"in a helper":                                 {"deny contains \"x\" if helper\nhelper if not none(input.object.spec.type)", "input.object.spec.type"},
		"in a function, of its argument":              {"deny contains \"x\" if f(input.object)\nf(o) if not none(o.spec.type)", "input.object.spec.type"},
		"in an else branch":                           {"deny contains \"x\" if helper == 2\nhelper := 1 if input.object.kind == \"a\"\nelse := 2 if not none(input.object.spec.type)", "input.object.spec.type"},
		"in a comprehension":                          {`deny contains "x" if count([1 | not none(input.object.spec.type)]) > 0`, "input.object.spec.type"},
		"in every":                                    {`deny contains "x" if { every c in input.workload.containers { not low(c.securityContext.runAsUser) } }`, "input.workload.containers[_].securityContext.runAsUser"},
		"tested in another body":                      {"deny contains \"x\" if { not none(input.object.spec.type) }\ndeny contains \"y\" if input.object.spec.type", "input.object.spec.type"},
		"tested in a comprehension only":              {`deny contains "x" if { count([1 | input.object.spec.type]) >= 0; not none(input.object.spec.type) }`, "input.object.spec.type"},
		"tested by another negation only":             {`deny contains "x" if { not input.object.spec.type == "a"; not none(input.object.spec.type) }`, "input.object.spec.type"},
		"only what is above it tested":                {`deny contains "x" if { input.object.spec; not none(input.object.spec.type) }`, "input.object.spec.type"},

		"what the normal form always has":       {`deny contains "x" if { some c in input.workload.containers; not startswith(c.image, "a") }`, ""},
		"a part of a pointer that was bound":    {`deny contains "x" if { some c in input.workload.containers; p := c.securityContext.seccompProfile; not p.type in ["a"] }`, ""},
		"a reference without a call":            {`deny contains "x" if not input.object.spec.type`, ""},
		"a comparison for equality":             {`deny contains "x" if not input.object.spec.type == "a"`, ""},
		"a field tested before":                 {`deny contains "x" if { input.object.spec.type; not none(input.object.spec.type) }`, ""},
		"a field tested after":                  {`deny contains "x" if { not none(input.object.spec.type); input.object.spec.type != "a" }`, ""},
		"a field bound before":                  {`deny contains "x" if { kind := input.object.spec.type; not none(kind) }`, ""},
		"a field below it tested":               {`deny contains "x" if { input.object.spec.type.name; not none(input.object.spec.type) }`, ""},
		"a field tested under another name":     {`deny contains "x" if { spec := input.object.spec; spec.type; not none(input.object.spec.type) }`, ""},
		"a field tested in a call":              {`deny contains "x" if { startswith(input.object.spec.type, "a"); not none(input.object.spec.type) }`, ""},
		"a field tested around a comprehension": {`deny contains "x" if { input.object.spec.type; count([1 | not none(input.object.spec.type)]) > 0 }`, ""},
		"a field bound around every":            {`deny contains "x" if { user := input.object.user; every c in input.workload.containers { not has([c.name], user) } }`, ""},
		"an item that a variable runs over":     {`deny contains "x" if { some l in input.object.list; not none(l) }`, ""},
		"a default":                             {`deny contains "x" if not none(object.get(input.object, ["spec", "type"], ""))`, ""},
		"inside a comprehension":                {`deny contains "x" if not has(["a"], [input_type | input_type := input.object.spec.type])`, ""},
		"a negated rule around the call":        {"deny contains \"x\" if not is_none\nis_none if none(input.object.spec.type)", ""},
		"an argument of a function":             {"deny contains \"x\" if f(input.request.name)\nf(name) if not none(name)", ""},
		"a whole object that is always there":   {`deny contains "x" if not has(["a"], input.object)`, ""},
		"a parameter":                           {`deny contains "x" if not input.request.name in input.parameters.list`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := compileFiles(onePolicy("parameters: {properties: {list: {type: array, default: []}}}", lib+test.rule))
			if test.refused != "" {
				wantRefusal(t, err, "x.rego:", "where "+test.refused, "is absent", "not ")
			} else if err != nil {
				t.Errorf("got error %v, want none", err)
			}
		})
	}
}

// The trap itself: should OPA ever change, the check can go.
func TestOPAComputesTheOperandsOfANegatedCallFirst(t *testing.T) {
	engine := mustCompile(t, onePolicy("match: {resources: [{group: '', resources: [pods]}]}", `
none(x) if x == "none"
deny contains "bound" if { kind := input.object.spec.type; not none(kind) }
deny contains "named" if not is_none
is_none if none(input.object.spec.type)`))
	wantSpoken(t, judge(t, engine, podRequest(`{"spec":{"type":"a"}}`), nil), "pods/x: bound", "pods/x: named")
	wantSpoken(t, judge(t, engine, podRequest(`{"spec":{}}`), nil), "pods/x: named")
}

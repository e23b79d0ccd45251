package policies

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestAReferenceToNothingIsRefused(t *testing.T) {
	const lists = "registries: {allowed: [a]}\nnumbers: [1]\n"
	library := regoLibrary("good", "f(x) := x\nset contains 1\nnested.rule := {\"a\": 1}")
	for name, test := range map[string]struct {
		rules string
		says  []string // none for a bundle that is fine
	}{
		"data without a file":           {`deny contains "x" if input.object.kind in data.nope`, []string{"x.rego:11", "data.nope does not exist", "data has lists"}},
		"data below a file":             {`deny contains "x" if input.object.kind in data.lists.registries.alowed`, []string{"x.rego:11", "data.lists.registries.alowed does not exist", "data.lists.registries has allowed"}},
		"data by a key that is unknown": {`deny contains "x" if data.nope[input.object.kind]`, []string{"data.nope does not exist"}},
		"data in the head of a rule":    {`deny contains data.nope.text if input.object.kind`, []string{"x.rego:11", "data.nope does not exist"}},
		"data in a helper":              {"deny contains \"x\" if h\nh if data.nope", []string{"x.rego:12", "data.nope"}},
		"data in a comprehension":       {`deny contains "x" if count([1 | data.nope]) == 0`, []string{"data.nope"}},
		"an import of data":             {"import data.nope\ndeny contains \"x\" if nope.a", []string{"x.rego:11", "data.nope"}},
		"an import of a library":        {"import data.portcullis.lib.nope\ndeny contains \"x\" if nope.a", []string{"x.rego:11", "data.portcullis.lib.nope does not exist", "data.portcullis.lib has good"}},
		"an import nobody uses":         {"import data.portcullis.lib.nope\ndeny contains \"x\" if input.object", []string{"x.rego:11", "data.portcullis.lib.nope"}},
		"a rule of a library":           {"import data.portcullis.lib.good\ndeny contains \"x\" if good.sett[1]", []string{"x.rego:12", "data.portcullis.lib.good.sett does not exist", "data.portcullis.lib.good has f, nested, set"}},
		"a nested rule of a library":    {"import data.portcullis.lib.good\ndeny contains \"x\" if good.nested.rules", []string{"data.portcullis.lib.good.nested.rules"}},

		"what exists": {`import data.lists
import data.portcullis.lib.good
deny contains "x" if {
	input.object.kind in lists.registries.allowed
	data.lists.numbers[0] == good.f(1)
	good.set[1]
	good.nested.rule.a
	data.lists[input.object.kind]
	not data.lists.registries.refused
	object.get(data.lists, "other", 1) == 1
	h
}
h if input.object`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			files := bundleFiles("policies: [{policy: pods/x}, {policy: pods/x, name: again}, {policy: pods/x, name: other, parameters: {a: 2}}]\n",
				"data/lists.yaml", lists, "lib/good.rego", library,
				"x.rego", regoPolicy("pods/x", "parameters: {properties: {a: {type: integer, default: 1}}}", test.rules))
			_, err := compileFiles(files)
			if test.says == nil {
				if err != nil {
					t.Errorf("got error %v, want none", err)
				}
				return
			}
			wantRefusal(t, err, test.says...)
			if got := strings.Count(err.Error(), "does not exist"); got != 1 {
				t.Errorf("got %d complaints, want 1: %v", got, err)
			}
		})
	}
}

func TestAReferenceToDataThatThereIsNoneOfSaysWhereToPutIt(t *testing.T) {
	var files fstest.MapFS = onePolicy("", `deny contains "x" if data.nope`)
	_, err := compileFiles(files)
	wantRefusal(t, err, "data.nope does not exist", "data/")
}

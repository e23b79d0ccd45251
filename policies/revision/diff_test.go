package revision

import (
	"encoding/json"
	"strings"
	"testing"
)

const diffBase = "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: acme\nserial: 1\ndefaultProfile: a\n" +
	"policies: [{policy: acme/replicas}]\nprofiles: [{name: a}, {name: b}]\n"

// between gives the difference of two variants of the bundle.
func between(t *testing.T, before, after map[string]string) *Difference {
	t.Helper()
	var sides []*Revision
	for _, changes := range []map[string]string{before, after} {
		loaded, err := Load(with(t, changes), Options{})
		if err != nil {
			t.Fatal(err)
		}
		sides = append(sides, loaded)
	}
	d, err := Diff(sides[0], sides[1])
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestWhatMeansTheSameIsNoDifference(t *testing.T) {
	spaced := strings.ReplaceAll(policyRego, "deny contains finding if {", "# A comment.\ndeny contains finding if {\n")
	d := between(t, nil, map[string]string{
		"acme/replicas/policy.rego": spaced, "acme/replicas/policy_test.rego": "", "README.md": "x",
		"bundle.yaml": "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: acme\nserial: 2\npolicies:\n- policy: acme/replicas\n  enforcement: deny\n",
	})
	if !d.Empty() || d.Before.Serial != 1 || d.After.Serial != 2 || d.Before.Digest == d.After.Digest {
		t.Errorf("got %+v, want no difference but serial and digest", d)
	}
}

func TestEachDifferenceIsNamed(t *testing.T) {
	exception := "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Exception\nname: web\npolicy: acme/replicas\nselector: {namespaces: [web]}\nreason: r\nowner: o\nexpires: 2027-01-31\n"
	warn := strings.Replace(diffBase, "{policy: acme/replicas}", "{policy: acme/replicas, enforcement: warn}", 1)
	for name, row := range map[string]struct {
		before, after map[string]string
		want          string
	}{
		"a rule": {nil, map[string]string{"acme/replicas/policy.rego": strings.Replace(policyRego, "replicas > 3", "replicas > 5", 1)},
			`"policies":[{"name":"acme/replicas","title":"Replicas","change":"changed","fields":[{"field":"rules",`},
		"what is said of a policy": {nil, map[string]string{"acme/replicas/policy.rego": strings.Replace(policyRego, "severity: low", "severity: high", 1)},
			`"fields":[{"field":"severity","before":"low","after":"high"}]`},
		"a policy that is new": {map[string]string{"acme/replicas/policy.rego": strings.Replace(policyRego, "portcullis.acme.replicas", "portcullis.acme.other", 1), "acme/replicas/policy_test.rego": "",
			"bundle.yaml": strings.Replace(diffBase, "acme/replicas", "acme/other", 1)}, map[string]string{"bundle.yaml": diffBase},
			`"policies":[{"name":"acme/other","title":"Replicas","change":"removed"},{"name":"acme/replicas","title":"Replicas","change":"added"}]`},
		"an enforcement that is raised, in all profiles at once": {map[string]string{"bundle.yaml": warn}, map[string]string{"bundle.yaml": diffBase},
			`"instances":[{"profiles":["a","b"],"policy":"acme/replicas","name":"acme/replicas","change":"changed","direction":"stricter","fields":[{"field":"enforcement","before":"warn","after":"deny"}]}]`},
		"an enforcement that is lowered": {map[string]string{"bundle.yaml": diffBase}, map[string]string{"bundle.yaml": warn}, `"direction":"looser"`},
		"a ramp": {map[string]string{"bundle.yaml": diffBase}, map[string]string{"bundle.yaml": strings.Replace(diffBase, "{policy: acme/replicas}", "{policy: acme/replicas, ramp: {warnUntil: '2027-01-31'}}", 1)},
			`"direction":"looser","fields":[{"field":"ramp.warnUntil","after":"2027-01-31"}]`},
		"a match": {map[string]string{"bundle.yaml": diffBase}, map[string]string{"bundle.yaml": strings.Replace(diffBase, "{policy: acme/replicas}", "{policy: acme/replicas, match: {namespaces: [web]}}", 1)},
			`"change":"changed","fields":[{"field":"match.namespaces","after":["web"]}]`},
		"a profile that leaves a policy out": {map[string]string{"bundle.yaml": diffBase}, map[string]string{"bundle.yaml": strings.Replace(diffBase, "{name: b}", "{name: b, policies: [{policy: acme/replicas, enforcement: off}]}", 1)},
			`"instances":[{"profiles":["b"],"policy":"acme/replicas","name":"acme/replicas","change":"removed","direction":"looser",`},
		"an exception": {nil, map[string]string{"exceptions/web.yaml": exception},
			`"exceptions":[{"name":"web","title":"r","change":"added","direction":"looser"`},
		"an exception that is longer": {map[string]string{"exceptions/web.yaml": exception}, map[string]string{"exceptions/web.yaml": strings.Replace(exception, "2027", "2028", 1)},
			`"exceptions":[{"name":"web","title":"r","change":"changed","fields":[{"field":"expires","before":"2027-01-31","after":"2028-01-31"}]}]`},
		"trust": {map[string]string{"bundle.yaml": diffBase + "trust: {authorities: []}\n"}, map[string]string{"bundle.yaml": diffBase + "trust: {authorities: [], vex: []}\n"},
			`"settings":[]`},
		"profiles of namespaces": {map[string]string{"bundle.yaml": diffBase}, map[string]string{"bundle.yaml": diffBase + "namespaces: [{match: [web], profile: b}]\n"},
			`"settings":[{"field":"namespaces","after":[{"match":["web"],"profile":"b"}]}]`},
		"shared code": {map[string]string{"lib/a.rego": "package portcullis.lib.a\n\nx := 1\n"}, map[string]string{"lib/a.rego": "package portcullis.lib.a\n\nx := 2\n"},
			`"shared":[{"name":"lib/a.rego","change":"changed"}]`},
		"data": {nil, map[string]string{"data/a.yaml": "x: 1\n"}, `"files":[{"name":"data/a.yaml","change":"added"}]`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(between(t, row.before, row.after))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(got), row.want) {
				t.Errorf("got\n%s\nwant in it\n%s", got, row.want)
			}
		})
	}
}

package policies

import (
	"reflect"
	"slices"
	"testing"

	"github.com/portcullis-dev/portcullis/policies/library"
)

// TestInterestsNameTheOnlyNamespacesThatMatter is about one pair of resource and
// operation, and two policies that are about it.
func TestInterestsNameTheOnlyNamespacesThatMatter(t *testing.T) {
	const secrets = "match: {resources: [{group: '', resources: [secrets]}], operations: [DELETE]}"
	secret := func(failClosed bool, namespaces ...string) Interest {
		return Interest{Resource: "secrets", Operation: "DELETE", Validates: true, FailClosed: failClosed, Namespaces: namespaces}
	}
	for name, test := range map[string]struct {
		policies string
		want     []Interest
	}{
		"one namespace":                             {"[{policy: pods/x, match: {namespaces: [a]}}]", []Interest{secret(true, "a")}},
		"the union of two policies":                 {"[{policy: pods/x, match: {namespaces: [c, a]}}, {policy: pods/y, match: {namespaces: [b, a]}}]", []Interest{secret(true, "a", "b", "c")}},
		"the union of one policy's two instances":   {"[{policy: pods/x, match: {namespaces: [b]}}, {policy: pods/x, name: again, match: {namespaces: [a]}}]", []Interest{secret(true, "a", "b")}},
		"a policy that is for all":                  {"[{policy: pods/x, match: {namespaces: [a]}}, {policy: pods/y}]", []Interest{secret(true)}},
		"an empty list is for all":                  {"[{policy: pods/x, match: {namespaces: []}}]", []Interest{secret(true)}},
		"an exclusion is for the others":            {"[{policy: pods/x, match: {exclude: {namespaces: [a]}}}]", []Interest{secret(true)}},
		"any characters":                            {"[{policy: pods/x, match: {namespaces: [a, 'b*']}}]", []Interest{secret(true)}},
		"any character":                             {"[{policy: pods/x, match: {namespaces: ['a?']}}]", []Interest{secret(true)}},
		"alternatives":                              {"[{policy: pods/x, match: {namespaces: ['{a,b}']}}]", []Interest{secret(true)}},
		"a class of characters":                     {"[{policy: pods/x, match: {namespaces: ['[ab]']}}]", []Interest{secret(true)}},
		"what is no namespace's name":               {"[{policy: pods/x, match: {namespaces: [A_b]}}]", []Interest{secret(true)}},
		"one that only warns":                       {"[{policy: pods/x, enforcement: warn, match: {namespaces: [a]}}]", []Interest{secret(false, "a")}},
		"one that is off":                           {"[{policy: pods/x, match: {namespaces: [a]}}, {policy: pods/y, enforcement: off}]", []Interest{secret(true, "a")}},
		"one that warns everywhere beside it":       {"[{policy: pods/x, match: {namespaces: [a]}}, {policy: pods/y, enforcement: warn}]", []Interest{secret(true, "a"), secret(false)}},
		"one that fails open elsewhere beside it":   {"[{policy: pods/x, match: {namespaces: [a]}}, {policy: pods/y, failMode: open, match: {namespaces: [b]}}]", []Interest{secret(true, "a"), secret(false, "a", "b")}},
		"one that warns in the same one beside it":  {"[{policy: pods/x, match: {namespaces: [a]}}, {policy: pods/y, enforcement: warn, match: {namespaces: [a]}}]", []Interest{secret(true, "a")}},
		"one that warns in fewer namespaces beside": {"[{policy: pods/x}, {policy: pods/y, enforcement: warn, match: {namespaces: [a]}}]", []Interest{secret(true)}},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, bundleFiles("policies: "+test.policies+"\n",
				"x.rego", regoPolicy("pods/x", secrets, always), "y.rego", regoPolicy("pods/y", secrets, always)))
			if got := engine.Interests(""); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// The whole cluster's Secrets and deletions of pods are none of the library's business
// in its baseline; what is in the webhook's own namespace is, in all profiles.
func TestTheLibraryGuardsItsNamespaceOnly(t *testing.T) {
	bundle, err := Load(library.FS())
	if err != nil {
		t.Fatal(err)
	}
	engine, err := NewEngine(bundle)
	if err != nil {
		t.Fatal(err)
	}
	guarded := []string{"portcullis-system"}
	for _, profile := range append(engine.Profiles(), "") {
		interests := engine.Interests(profile)
		for _, pair := range []struct{ resource, operation string }{
			{"pods", "DELETE"}, {"pods/eviction", "CREATE"}, {"configmaps", "DELETE"}, {"secrets", "DELETE"}, {"endpoints", "DELETE"}, {"serviceaccounts/token", "CREATE"},
		} {
			i := slices.IndexFunc(interests, func(i Interest) bool {
				return i.Group == "" && i.Resource == pair.resource && i.Operation == pair.operation
			})
			if i < 0 || !interests[i].FailClosed || !slices.Equal(interests[i].Namespaces, guarded) {
				t.Errorf("profile %q: %s of %s is not guarded in just %v: %+v", profile, pair.operation, pair.resource, guarded, interests)
			}
		}
	}
	for _, interest := range engine.Interests("baseline") {
		if interest.Resource == "secrets" && !slices.Equal(interest.Namespaces, guarded) {
			t.Errorf("baseline is interested in %+v, want Secrets only of %v", interest, guarded)
		}
	}
}

func TestWarningsDoNotFailClosed(t *testing.T) {
	for name, test := range map[string]struct {
		rules, instance string
		want            bool
	}{
		"a rule that denies":                 {always, "policy: pods/x", true},
		"a rule that patches":                {`patch contains {"op": "set", "path": "metadata.labels.a", "value": "b"} if input.object.kind`, "policy: pods/x", true},
		"a rule that warns":                  {`warn contains "x" if input.object.kind`, "policy: pods/x", false},
		"rules that warn and deny":           {"warn contains \"x\" if input.object.kind\n" + always, "policy: pods/x", true},
		"a rule that denies, enforced less":  {always, "policy: pods/x, enforcement: warn", false},
		"a rule that denies, failing open":   {always, "policy: pods/x, failMode: open", false},
		"a rule that denies, only recording": {always, "policy: pods/x, enforcement: audit", false},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, bundleFiles("policies: [{"+test.instance+"}]\n",
				"x.rego", regoPolicy("pods/x", "match: {resources: [{group: '', resources: [secrets]}], operations: [CREATE]}", test.rules)))
			interests := engine.Interests("")
			if len(interests) != 1 || interests[0].FailClosed != test.want {
				t.Errorf("got %+v, want one with FailClosed %v", interests, test.want)
			}
		})
	}
}

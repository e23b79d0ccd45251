package policies

import "testing"

func TestKindsThatAPolicyNeverSeesAreRefused(t *testing.T) {
	const secrets = "match: {resources: [{group: '', resources: [secrets, endpoints, networkpolicies]}]}"
	const evictions = "match: {resources: [{group: '', resources: [pods/eviction]}]}"
	for name, test := range map[string]struct {
		about, kinds string
		fine         bool
	}{
		"a misspelt kind":                   {"", "[Pod, Pdo]", false},
		"a kind in lower case":              {"", "[pod]", false},
		"a kind that has no pods":           {"", "[Secret]", false},
		"a misspelt kind beside a resource": {secrets, "[Secert]", false},
		"the plural":                        {secrets, "[Secrets]", false},
		"kinds that carry pods":             {"", "[Pod, Deployment, CronJob, ReplicaSet]", true},
		"a pod for a policy about pods":     {"match: {workload: pods}", "[Pod]", true},
		"another kind for one about pods":   {"match: {workload: pods}", "[Deployment]", false},
		"a kind with its group":             {"", "[example.com/Shop, apps/Deployment]", true},
		"a glob":                            {"", "['*Set', 'P?d', '{Pod,Job}']", true},
		"kinds of the policy's resources":   {secrets, "[Secret, Endpoints, NetworkPolicy]", true},
		"a kind of a subresource":           {evictions, "[Eviction]", true},
	} {
		t.Run(name, func(t *testing.T) {
			rego := regoPolicy("pods/x", test.about, always)
			_, matched := Load(bundleFiles("policies: [{policy: pods/x, match: {kinds: "+test.kinds+"}}]\n", "x.rego", rego))
			_, excepted := Load(bundleFiles("policies: [{policy: pods/x}]\n", "x.rego", rego,
				"exceptions/e.yaml", exceptionFile("e", "{namespaces: [shop], kinds: "+test.kinds+"}", "2026-03-02")))
			for where, err := range map[string]error{"match": matched, "exception": excepted} {
				if test.fine && err != nil {
					t.Errorf("%s: got error %v, want none", where, err)
				}
				if !test.fine {
					wantRefusal(t, err, where, "kinds", "correct the name")
				}
			}
		})
	}
}

func TestABundleWithoutPoliciesIsRefused(t *testing.T) {
	x := regoPolicy("pods/x", "", always)
	for name, manifest := range map[string]string{
		"nothing at all":        "",
		"an empty list":         "policies: []\n",
		"profiles without any":  "profiles: [{name: a}, {name: b, extends: a}]\ndefaultProfile: a\n",
		"no profiles in a list": "profiles: []\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(bundleFiles(manifest, "x.rego", x))
			wantRefusal(t, err, "configures no policy", "policies: [{policy: pods/x}]")
		})
	}
	if _, err := Load(bundleFiles("profiles: [{name: a}, {name: b, policies: [{policy: pods/x}]}]\ndefaultProfile: a\n", "x.rego", x)); err != nil {
		t.Errorf("got error %v, want a bundle with a profile that has policies", err)
	}
}

package policies

import (
	"slices"
	"testing"
	"testing/fstest"
)

// baseBundle is what bundles of these tests include.
func baseBundle() Included {
	return Included{Name: "base", Files: fstest.MapFS{
		"bundle.yaml":      {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: base\nserial: 7\ndefaultProfile: low\nnamespaces: [{match: [kube-*], profile: none}]\nprofiles: [{name: low, policies: [{policy: pods/base}]}, {name: none, policies: [{policy: pods/base, enforcement: warn}]}]\n")},
		"base.rego":        {Data: []byte(regoPolicy("pods/base", "", `deny contains data.limits.text`))},
		"data/limits.yaml": {Data: []byte("text: base\n")},
	}}
}

func TestABundleBuildsOnTheOneItIncludes(t *testing.T) {
	own := regoPolicy("pods/own", "", always)
	for name, test := range map[string]struct {
		manifest string
		others   []string
		want     []string
	}{
		"with nothing of its own":                   {"include: base\n", nil, []string{"pods/base: base"}},
		"with a profile on top":                     {"include: base\ndefaultProfile: mine\nprofiles: [{name: mine, extends: low, policies: [{policy: pods/own}]}]\n", []string{"own.rego", own}, []string{"pods/base: base", "pods/own: always"}},
		"with a profile in the place of one":        {"include: base\nprofiles: [{name: low, policies: [{policy: pods/own}]}]\n", []string{"own.rego", own}, []string{"pods/own: always"}},
		"with a policy in every profile":            {"include: base\npolicies: [{policy: pods/own}]\n", []string{"own.rego", own}, []string{"pods/base: base", "pods/own: always"}},
		"with a policy of that one configured anew": {"include: base\npolicies: [{policy: pods/base, match: {namespaces: [web]}}, {policy: pods/own}]\n", []string{"own.rego", own}, []string{"pods/own: always"}},
		"with a namespace of its own":               {"include: base\nnamespaces: [{match: [shop], profile: none}]\n", nil, []string{"pods/base: base"}},
		"with data in the place of some":            {"include: base\n", []string{"data/limits.yaml", "text: mine\n"}, []string{"pods/base: mine"}},
	} {
		t.Run(name, func(t *testing.T) {
			bundle, err := Load(bundleFiles(test.manifest, test.others...), baseBundle())
			if err != nil {
				t.Fatal(err)
			}
			engine, err := NewEngine(bundle)
			if err != nil {
				t.Fatal(err)
			}
			result := judge(t, engine, podRequest(plainPod), nil)
			wantSpoken(t, result, test.want...)
			if name == "with a namespace of its own" && result.Profile != "none" {
				t.Errorf("got profile %q, want none", result.Profile)
			}
		})
	}
}

func TestInclusionsAreRefused(t *testing.T) {
	other := baseBundle()
	other.Files.(fstest.MapFS)["bundle.yaml"].Data = slices.Concat(other.Files.(fstest.MapFS)["bundle.yaml"].Data, []byte("include: base\n"))
	for name, test := range map[string]struct {
		files     fstest.MapFS
		available []Included
		want      string
	}{
		"of an unknown bundle":              {bundleFiles("include: other\n"), []Included{baseBundle()}, "base"},
		"where nothing can be":              {bundleFiles("include: base\n"), nil, "no bundle can be included here"},
		"with a policy in the same file":    {bundleFiles("include: base\n", "base.rego", regoPolicy("pods/mine", "", always)), []Included{baseBundle()}, "base.rego"},
		"with a policy of the same id":      {bundleFiles("include: base\n", "mine.rego", regoPolicy("pods/base", "", always)), []Included{baseBundle()}, "pods/base"},
		"of a bundle that includes another": {bundleFiles("include: base\n"), []Included{other}, "one level"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(test.files, test.available...)
			wantRefusal(t, err, test.want)
		})
	}
}

func TestTheDigestCoversWhatIsIncluded(t *testing.T) {
	files := bundleFiles("include: base\n")
	digest := func(included Included) string {
		t.Helper()
		bundle, err := Load(files, included)
		if err != nil {
			t.Fatal(err)
		}
		return bundle.Digest
	}
	changed := baseBundle()
	changed.Files.(fstest.MapFS)["data/limits.yaml"].Data = []byte("text: other\n")
	if a, b := digest(baseBundle()), digest(changed); a == b {
		t.Errorf("got %s for two different included bundles", a)
	}
}

package policies

import (
	"slices"
	"testing"
	"testing/fstest"
)

// Row 32, CVE-2026-22039 and CVE-2026-41068: a tenant's policy read other namespaces with the controller's rights.
func TestBypass32ATenantsBundleSeesItsNamespacesOnly(t *testing.T) {
	own := func(custom string) []string { return []string{"x.rego", regoPolicy("test/x", custom, always)} }
	for name, test := range map[string]struct {
		manifest string
		files    []string
		want     string // "" where it is taken
	}{
		"one that minds its own":       {"policies: [{policy: test/x}]\n", own(""), ""},
		"that reads its own namespace": {"policies: [{policy: test/x}]\n", own("reads: [{group: '', resource: configmaps, scope: namespace}]"), ""},
		"that reads the whole cluster": {"policies: [{policy: test/x}]\n", own("reads: [{group: '', resource: secrets, scope: cluster}]"), "reads secrets of the whole cluster"},
		"that reads incidents":         {"policies: [{policy: test/x}]\n", []string{"x.rego", regoPolicy("test/x", "", `deny contains i.name if some i in input.incidents`)}, "reads input.incidents"},
		"that reads incidents by a helper": {"policies: [{policy: test/x}]\n", []string{"x.rego", regoPolicy("test/x", "", "import data.portcullis.lib.held\n\ndeny contains n if some n in held.names"),
			"lib/held.rego", regoLibrary("held", "names contains i.name if some i in input.incidents")}, "reads input.incidents"},
		"that has a policy of a name of others":       {"policies: [{policy: pods/x}]\n", []string{"x.rego", regoPolicy("pods/x", "", always)}, "make it test/x"},
		"that has a policy in a group that looks own": {"policies: [{policy: tests/x}]\n", []string{"x.rego", regoPolicy("tests/x", "", always)}, "make it test/x"},
		"that excepts what has no namespace":          {"policies: [{policy: test/x}]\n", append(own(""), "exceptions/e.yaml", "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Exception\nname: e\npolicy: test/x\nselector: {clusterScoped: true}\nreason: r\nowner: o\nexpires: 2027-01-01\n"), "without a namespace"},
		"that includes policies and configures them":  {"include: base\npolicies: [{policy: test/x}]\n", own(""), ""},
	} {
		t.Run(name, func(t *testing.T) {
			bundle, err := Load(bundleFiles(test.manifest, test.files...), baseBundle())
			if err != nil {
				t.Fatal(err)
			}
			if err := bundle.CheckTenant(); test.want == "" && err != nil {
				t.Errorf("got %v, want it to be taken", err)
			} else if test.want != "" {
				wantRefusal(t, err, test.want)
			}
		})
	}
}

func TestATenantsBundleThatNamesAnothersPolicyIsRefused(t *testing.T) {
	for name, files := range map[string]fstest.MapFS{
		"to configure it": bundleFiles("policies: [{policy: test/x}, {policy: pods/base, enforcement: off}]\n", "x.rego", regoPolicy("test/x", "", always)),
		"to except it":    bundleFiles("policies: [{policy: test/x}]\n", "x.rego", regoPolicy("test/x", "", always), "exceptions/e.yaml", exceptionFile("e", "{namespaces: [shop]}", "2026-03-02")),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(files, baseBundle())
			wantRefusal(t, err, "there is no policy")
		})
	}
}

func TestAHelperOfTheIncludedBundleCannotBeRedefined(t *testing.T) {
	library := Included{Name: "base", Files: fstest.MapFS{
		"bundle.yaml":    {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: base\nserial: 7\npolicies: [{policy: pods/base}]\n")},
		"base.rego":      {Data: []byte("import data.portcullis.lib.text\n")},
		"lib/text.rego":  {Data: []byte(regoLibrary("text", "bad contains \"always\""))},
		"lib/other.rego": {Data: []byte(regoLibrary("other", "x := 1"))},
	}}
	library.Files.(fstest.MapFS)["base.rego"].Data = []byte(regoPolicy("pods/base", "", "import data.portcullis.lib.text\n\ndeny contains t if some t in text.bad"))
	for name, test := range map[string]struct{ file, content, want string }{
		"in a file of its own": {"mine/text.rego", regoLibrary("text", `bad contains "more"`), "package portcullis.lib.text is that of lib/text.rego"},
		"in the same file":     {"lib/text.rego", regoLibrary("text", `bad contains "more"`), "is a file of the included bundle"},
		"as a policy":          {"mine/base.rego", regoPolicy("pods/base", "", always), "package portcullis.pods.base is that of base.rego"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(bundleFiles("include: base\n", test.file, test.content), library)
			wantRefusal(t, err, test.want)
		})
	}
	bundle, err := Load(bundleFiles("include: base\npolicies: [{policy: test/x}]\n", "x.rego", regoPolicy("test/x", "", always), "lib/mine.rego", regoLibrary("mine", "y := 2")), library)
	if err != nil {
		t.Fatal(err)
	}
	if got := bundle.OwnPolicies(); !slices.Equal(got, []string{"test/x"}) {
		t.Errorf("got own policies %v, want test/x", got)
	}
}

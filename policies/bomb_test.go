package policies

import (
	"strings"
	"testing"
	"testing/fstest"
)

// A file of some kilobytes whose aliases would be gigabytes must not end whoever reads it, as the controller of a cluster.
func TestAliasesThatMakeMuchOfLittleAreRefused(t *testing.T) {
	long, often := strings.Repeat("x", 200_000), strings.Repeat("*a, ", 50_000)
	manifest := "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: test\nserial: 1\n"
	policy := `# METADATA
# title: T
# description: D.
# custom:
#   severity: low
#   match: {resources: [{group: "", resources: [pods]}]}
#   remediation: R.
%package portcullis.pods.x

deny contains "no" if input.object.kind
`
	for name, files := range map[string]fstest.MapFS{
		"data":        {"bundle.yaml": {Data: []byte(manifest)}, "data/a.yaml": {Data: []byte("a: &a " + long + "\nb: [" + often + "]\n")}},
		"bundle.yaml": {"bundle.yaml": {Data: []byte(manifest + "policies: [&a {policy: " + long + "}, " + often + "]\n")}},
		"exceptions":  {"bundle.yaml": {Data: []byte(manifest)}, "exceptions/a.yaml": {Data: []byte("reason: &a " + long + "\nselector: {names: [" + often + "]}\n")}},
		"metadata":    {"bundle.yaml": {Data: []byte(manifest)}, "x.rego": {Data: []byte(strings.Replace(policy, "%", "#   x: &a "+long+"\n#   y: ["+often+"]\n", 1))}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Load(files); err == nil || !strings.Contains(err.Error(), "aliases") {
				t.Errorf("got %.200v, want that the aliases are too much", err)
			}
		})
	}
	files := fstest.MapFS{"bundle.yaml": {Data: []byte(manifest)}, "data/a.yaml": {Data: []byte("a: &a [1, 2]\nb: *a\n")}}
	if _, err := Load(files); err == nil || strings.Contains(err.Error(), "aliases") {
		t.Errorf("got %v, want a few aliases taken, and only that it has no policies", err)
	}
}

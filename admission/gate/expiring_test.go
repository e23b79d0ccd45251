package gate

import (
	"fmt"
	"maps"
	"testing"
	"testing/fstest"

	"github.com/portcullis-dev/portcullis/policies"
)

// The clock of these runs is the first of January 2026.
func TestExceptionsThatEndSoonAreMentioned(t *testing.T) {
	for name, test := range map[string]struct {
		expires string
		want    map[string]string
	}{
		"in a month":                       {"2026-02-01", nil},
		"more than a fortnight":            {"2026-01-15T00:01:00Z", nil},
		"in a fortnight":                   {"2026-01-14T23:59:00Z", map[string]string{"e": "2026-01-14T23:59:00Z"}},
		"tomorrow":                         {"2026-01-02", map[string]string{"e": "2026-01-02"}},
		"already over, and so of no count": {"2025-12-01", nil},
	} {
		t.Run(name, func(t *testing.T) {
			files := fstest.MapFS{}
			for file, content := range testBundle {
				files[file] = &fstest.MapFile{Data: []byte(content)}
			}
			files["exceptions/e.yaml"] = &fstest.MapFile{Data: fmt.Appendf(nil, "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Exception\nname: e\npolicy: pods/privileged\nselector: {namespaces: [test]}\nreason: r\nowner: o\nexpires: %q\n", test.expires)}
			bundle, err := policies.Load(files)
			if err != nil {
				t.Fatal(err)
			}
			engine, err := policies.NewEngine(bundle)
			if err != nil {
				t.Fatal(err)
			}
			report, _ := judge(t, &Gate{Engine: engine, Namespace: "test"},
				"apiVersion: v1\nkind: Pod\nmetadata: {name: shop}\nspec: {containers: [{name: app, image: a, securityContext: {privileged: true}}]}\n")
			if !maps.Equal(report.summary.Expiring, test.want) {
				t.Errorf("got %v, want %v of %+v", report.summary.Expiring, test.want, report.results)
			}
		})
	}
}

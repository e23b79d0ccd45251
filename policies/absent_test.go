package policies

import (
	"strings"
	"testing"
)

func TestARequestWithoutItsObjectIsAFault(t *testing.T) {
	const about = "match: {resources: [{group: '', resources: [pods]}], operations: [CREATE, UPDATE, DELETE]}"
	fault := func(policies ...string) []string {
		var want []string
		for _, policy := range policies {
			want = append(want, policy+" fault: unreadable input")
		}
		return want
	}
	for name, test := range map[string]struct {
		operation, object, old string
		want                   []string
		says                   string
	}{
		"a creation without an object":   {"CREATE", "", "", fault("pods/new", "pods/old", "pods/selected", "pods/workload"), "no object"},
		"a creation of null":             {"CREATE", " null ", "", fault("pods/new", "pods/old", "pods/selected", "pods/workload"), "no object"},
		"an update without an object":    {"UPDATE", "", plainPod, fault("pods/new", "pods/old", "pods/selected", "pods/workload"), "no object"},
		"an update without an old one":   {"UPDATE", plainPod, "", fault("pods/old"), "no oldObject"},
		"a deletion without an old one":  {"DELETE", "", "", fault("pods/old"), "no oldObject"},
		"a deletion of null":             {"DELETE", "null", "null", fault("pods/old"), "no oldObject"},
		"a deletion as it should be":     {"DELETE", "", plainPod, []string{}, ""},
		"a creation as it should be":     {"CREATE", plainPod, "", []string{}, ""},
		"an update that changes nothing": {"UPDATE", plainPod, plainPod, []string{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, bundleFiles("policies: [{policy: pods/new}, {policy: pods/old}, {policy: pods/workload}, {policy: pods/selected, match: {objectSelector: {matchLabels: {a: b}}}}]\n",
				"new.rego", regoPolicy("pods/new", about, `deny contains "x" if input.object.metadata.labels.bad`),
				"old.rego", regoPolicy("pods/old", about, `deny contains "x" if input.oldObject.metadata.labels.bad`),
				"selected.rego", regoPolicy("pods/selected", about, `deny contains "x" if input.object.metadata.labels.bad`),
				"workload.rego", regoPolicy("pods/workload", "", `deny contains "x" if input.workload.hostNetwork`)))
			r := podRequest(test.object)
			r.Operation, r.OldObject = test.operation, []byte(test.old)
			result := judge(t, engine, r, nil)
			wantSpoken(t, result, test.want...)
			for _, f := range result.Faults {
				if !strings.Contains(f.Message, test.says) || f.FailMode != FailClosed || f.Enforcement != EnforceDeny {
					t.Errorf("got %+v, want one that denies and says %q", f, test.says)
				}
			}
		})
	}
}

package sample_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/sample"
)

const (
	respondPolicy = `# METADATA
# title: Shells
# description: A shell.
# custom:
#   severity: high
#   match: {events: {sources: [syscall], priority: warning}}
#   remediation: Look.
package portcullis.runtime.shell

respond contains {"action": "isolate", "msg": sprintf("%v in %s", [input.event.fields["proc.pid"], container.name])} if {
	some container in input.workload.containers
	input.event.fields["proc.pid"] == 9007199254740993
}
`
	shellEvent = `apiVersion: policy.portcullis.dev/v1alpha1
kind: RuntimeEvent
event:
  source: syscall
  rule: Terminal shell in container
  priority: Critical
  fields: {proc.pid: 9007199254740993}
`
	shopPod = `---
apiVersion: v1
kind: Pod
metadata: {name: shop, namespace: shop, uid: u-1}
spec: {containers: [{name: app, image: app:1}]}
`
)

// runOne is what one sample of the policy comes to.
func runOne(t *testing.T, kind, content string) error {
	t.Helper()
	files := fstest.MapFS{
		"bundle.yaml":                          {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: test\nserial: 1\npolicies: [{policy: runtime/shell}]\n")},
		"shell/policy.rego":                    {Data: []byte(respondPolicy)},
		"shell/testdata/" + kind + "/one.yaml": {Data: []byte(content)},
	}
	bundle, err := policies.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	suite, err := sample.Load(files, bundle.Policies["runtime/shell"])
	if err != nil {
		return err
	}
	only, err := suite.Only(bundle)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(only)
	if err != nil {
		t.Fatal(err)
	}
	return suite.Samples[0].Run(t.Context(), engine)
}

func TestSamplesOfEvents(t *testing.T) {
	for name, test := range map[string]struct{ kind, content, want string }{
		"an event that is acted on":           {"respond", shellEvent + shopPod, ""},
		"by just the actions that it says":    {"respond", shellEvent + "actions: [isolate]\n" + shopPod, ""},
		"by others":                           {"respond", shellEvent + "actions: [isolate, delete]\n" + shopPod, "want the actions [isolate delete], got isolate"},
		"an event that is wrongly acted on":   {"ignore", shellEvent + shopPod, "want no action, got isolate"},
		"an event that is left alone":         {"ignore", strings.Replace(shellEvent, "740993", "740992", 1) + shopPod, ""},
		"an event that is wrongly left":       {"respond", strings.Replace(shellEvent, "740993", "740992", 1) + shopPod, "want an action, got none"},
		"an event that is milder":             {"respond", strings.Replace(shellEvent, "Critical", "notice", 1) + shopPod, "matches nothing"},
		"an event without its pod":            {"respond", shellEvent, "is not in the sample"},
		"a field that an event does not have": {"respond", strings.Replace(shellEvent, "rule:", "rules: x\n  rule:", 1) + shopPod, "rules"},
		"a priority that there is not":        {"respond", strings.Replace(shellEvent, "Critical", "loud", 1) + shopPod, "priority"},
		"an action that there is not":         {"respond", shellEvent + "actions: [nuke]\n" + shopPod, "nuke"},
		"no event at all":                     {"respond", strings.TrimPrefix(shopPod, "---\n"), "holds events"},
	} {
		t.Run(name, func(t *testing.T) {
			err := runOne(t, test.kind, test.content)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

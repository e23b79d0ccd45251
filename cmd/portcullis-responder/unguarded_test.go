package main

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
)

func TestABundleThatActsAndDoesNotGuardIsToldSo(t *testing.T) {
	const all = "policies: [{policy: runtime/quarantine-labels}, {policy: runtime/quarantine-objects}, {policy: runtime/quarantined-exec}]\n"
	for name, test := range map[string]struct{ manifest, want string }{
		"one that only records":            {"", ""},
		"one that acts":                    {"response: {mode: enforce}\n", "runtime/quarantine-labels, runtime/quarantine-objects, runtime/quarantined-exec"},
		"one that acts in some namespaces": {"response: {namespaces: [{match: [shop], mode: approve}]}\n", "runtime/quarantine-labels"},
		"one that acts and guards":         {"response: {mode: enforce}\n" + all, ""},
		"one that guards by warnings":      {"response: {mode: enforce}\n" + strings.Replace(all, "quarantined-exec", "quarantined-exec, enforcement: warn", 1), "does not enforce runtime/quarantined-exec:"},
	} {
		t.Run(name, func(t *testing.T) {
			bundle, err := policies.Load(fstest.MapFS{"bundle.yaml": {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: x\nserial: 1\ninclude: library\n" + test.manifest)}},
				policies.Included{Name: "library", Files: library.FS()})
			if err != nil {
				t.Fatal(err)
			}
			engine, err := policies.NewEngineFor(bundle, "baseline")
			if err != nil {
				t.Fatal(err)
			}
			got := unguarded(admission.Solo(engine))
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

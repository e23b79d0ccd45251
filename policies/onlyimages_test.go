package policies

import (
	"slices"
	"testing"
)

func TestOnlyImagesKeepsPoliciesThatJudgeImagesAsSuch(t *testing.T) {
	for name, test := range map[string]struct {
		rule string
		want bool
	}{
		"signatures":                    {`deny contains "unsigned" if { some i in input.images; count(i.signatures) == 0 }`, true},
		"the scan, by the clock":        {`deny contains "stale" if { some i in input.images; i.scan.finishedAt < input.now }`, true},
		"signatures, by a label":        {`deny contains "unsigned" if { input.workload.labels[0].key == "x"; some i in input.images; count(i.signatures) == 0 }`, false},
		"the configuration, by the pod": {`deny contains "root" if { input.object.spec.hostPID; some i in input.images; i.configs[0].user == "" }`, false},
		"references only":               {`deny contains "registry" if { some i in input.images; i.registry != "ghcr.io" }`, false},
		"no image":                      {`deny contains "x" if { input.workload.hostPID }`, false},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, onePolicy("", test.rule))
			for _, profile := range engine.Profiles() {
				got := slices.Contains(engine.OnlyImages().Instances(profile), "pods/x")
				if got != test.want {
					t.Errorf("got %v, want %v", got, test.want)
				}
			}
		})
	}
}

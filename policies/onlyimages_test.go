package policies

import (
	"slices"
	"testing"
)

func TestOnlyImagesKeepsPoliciesThatJudgeImagesAsSuch(t *testing.T) {
	for name, test := range map[string]struct {
		rule        string
		want, reads bool
	}{
		"signatures":                    {`deny contains "unsigned" if { some i in input.images; count(i.signatures) == 0 }`, true, true},
		"the scan, by the clock":        {`deny contains "stale" if { some i in input.images; i.scan.finishedAt < input.now }`, true, true},
		"signatures, by a label":        {`deny contains "unsigned" if { input.workload.labels[0].key == "x"; some i in input.images; count(i.signatures) == 0 }`, false, true},
		"the configuration, by the pod": {`deny contains "root" if { input.object.spec.hostPID; some i in input.images; i.configs[0].user == "" }`, false, true},
		"references only":               {`deny contains "registry" if { some i in input.images; i.registry != "ghcr.io" }`, false, false},
		"no image":                      {`deny contains "x" if { input.workload.hostPID }`, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, onePolicy("", test.rule))
			if got := engine.ReadsImages(); got != test.reads {
				t.Errorf("got %v for whether evidence is read, want %v", got, test.reads)
			}
			for _, profile := range engine.Profiles() {
				got := slices.Contains(engine.OnlyImages().Instances(profile), "pods/x")
				if got != test.want {
					t.Errorf("got %v, want %v", got, test.want)
				}
			}
		})
	}
}

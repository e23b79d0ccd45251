package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

// guards are policies of the library without which whoever may edit pods can open a quarantined one again.
var guards = []string{"runtime/quarantine-labels", "runtime/quarantine-objects", "runtime/quarantined-exec"}

// unguarded says which guards no bundle enforces though some bundle acts, "" where there is nothing to say.
func unguarded(lineup *admission.Lineup) string {
	acts := false
	enforced := map[string]bool{}
	for n := range lineup.Members {
		for _, judge := range lineup.Members[n].Active.Judges {
			engine, ok := judge.(*policies.Engine)
			if !ok {
				continue
			}
			acts = acts || goesBeyondAudit(engine.Bundle().Manifest.Response)
			for _, profile := range engine.Profiles() {
				for name, enforcement := range engine.Enforcements(profile) {
					enforced[name] = enforced[name] || enforcement == policies.EnforceDeny
				}
			}
		}
	}
	missing := slices.DeleteFunc(slices.Clone(guards), func(name string) bool { return enforced[name] })
	if !acts || len(missing) == 0 {
		return ""
	}
	return fmt.Sprintf("pods are quarantined, and the bundle does not enforce %s: whoever may edit pods can open them again; configure these (docs/runtime-policies.md)", strings.Join(missing, ", "))
}

func goesBeyondAudit(settings *response.Settings) bool {
	if settings == nil {
		return false
	}
	beyond := func(mode response.Mode) bool { return mode == response.ModeApprove || mode == response.ModeEnforce }
	return beyond(settings.Mode) || slices.ContainsFunc(settings.Namespaces, func(n response.NamespaceMode) bool { return beyond(n.Mode) })
}

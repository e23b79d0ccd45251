package doctor

import (
	"context"
	"slices"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
)

func failModes() Check {
	return Check{
		Name: "fail-modes", About: "which policies that deny let through what they could not judge",
		Why:  "A policy with failMode: open admits whatever it cannot judge: an attacker who can make it fail has a way past it.",
		look: lookAtFailModes,
	}
}

func lookAtFailModes(ctx context.Context, p *patient, r *Result) {
	judging, err := p.judges(ctx)
	if err != nil {
		r.unknown("portcullis policy list --bundle … # of the bundle that judges", "By what is judged is not known: %v", err)
		return
	}
	// The library leaves some open on purpose, and says why: the cluster's own controllers write their kinds all the time.
	onPurpose := map[string]bool{}
	if built, err := policies.Load(library.FS()); err == nil {
		for _, name := range openPolicies(built) {
			onPurpose[name] = true
		}
	}
	var all, beyond []string
	for _, judge := range judging.revisions {
		for _, name := range openPolicies(judge.Bundle) {
			all = append(all, name)
			if !onPurpose[name] {
				beyond = append(beyond, judge.Bundle.Manifest.Name+": "+name)
			}
		}
	}
	slices.Sort(all)
	if len(beyond) > 0 {
		slices.Sort(beyond)
		r.warn("take failMode: open out of bundle.yaml, unless an outage of the webhook must not stop these kinds", "These policies admit what they cannot judge: %s", several(slices.Compact(beyond)))
	}
	if all = slices.Compact(all); len(all) > 0 {
		r.ok("%s open: %s", number(len(all), "policy fails", "policies fail"), several(all))
		return
	}
	r.ok("All policies that deny fail closed")
}

// openPolicies are those that deny and let through what they cannot judge.
func openPolicies(bundle *policies.Bundle) []string {
	var open []string
	add := func(instances []policies.Instance) {
		for _, i := range instances {
			if i.FailMode == policies.FailOpen && i.Enforcement == policies.EnforceDeny {
				open = append(open, i.Policy)
			}
		}
	}
	add(bundle.Manifest.Policies)
	for _, profile := range bundle.Manifest.Profiles {
		add(profile.Policies)
	}
	return open
}

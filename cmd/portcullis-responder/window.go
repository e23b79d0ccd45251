package main

import (
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
)

// windowOf is the longest window of recent events that a bundle wants, 0 for none.
func windowOf(lineup *admission.Lineup) (longest time.Duration) {
	for n := range lineup.Members {
		for _, judge := range lineup.Members[n].Active.Judges {
			engine, ok := judge.(*policies.Engine)
			if !ok || engine.Bundle().Manifest.Response == nil {
				continue
			}
			if d, err := time.ParseDuration(engine.Bundle().Manifest.Response.Window); err == nil {
				longest = max(longest, d)
			}
		}
	}
	return longest
}

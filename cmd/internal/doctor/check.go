package doctor

import (
	"context"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
)

// Check is one thing that is looked at.
type Check struct {
	// Name is what it is called on the command line: "webhook-reachable".
	Name string
	// About is what it looks at, for a list.
	About string
	// Why says why it matters: what happens while it is broken.
	Why  string
	look func(context.Context, *patient, *Result)
}

// manual is where each check has a section of its own, under its name.
const manual = "https://github.com/portcullis-dev/portcullis/blob/main/docs/doctor.md"

// Docs is where more is said about it.
func (c *Check) Docs() string { return manual + "#" + c.Name }

// Options of a run.
type Options struct {
	// Registry is one to reach from here: "ghcr.io". "" reaches none.
	Registry string
	// ProbeNamespace is where the creation of a workload is tried, on a dry run. "" is "default".
	ProbeNamespace string
}

// patient is what is examined.
type patient struct {
	*installation.Installation
	options Options
	judging judging
}

// Checks are all, what everything else depends on first.
func Checks() []Check {
	return []Check{
		apiServer(), customResources(), replicas(), readiness(), webhookConfiguration(), webhookReachable(), certificates(), callerMode(),
		exemptions(), otherWebhooks(), bundles(), failModes(), exceptions(), breakGlass(), permissions(), leases(), clock(), journals(),
		guard(), encryption(), vaults(), sensors(), quarantines(), scans(), registries(), versions(), deprecations(),
	}
}

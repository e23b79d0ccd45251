package quarantine

import (
	"cmp"
	"slices"
	"time"

	"github.com/portcullis-dev/portcullis/runtime/response"
)

// strictest are the settings for a plan that several bundles have asked for: of each limit the lowest, of each time the
// longest, and only what all of them let be detached.
func strictest(plan *response.Plan, settings map[string]response.Settings) response.Settings {
	var bundles []string
	for _, a := range plan.Actions {
		bundles = append(bundles, a.Bundle)
	}
	slices.Sort(bundles)
	bundles = slices.Compact(bundles)
	if len(bundles) == 0 {
		return response.Settings{}
	}
	all := settings[bundles[0]]
	for _, name := range bundles[1:] {
		if one, ok := settings[name]; ok {
			all = stricter(all, one)
		}
	}
	return all
}

func stricter(a, b response.Settings) response.Settings {
	a.Mode = response.Milder(a.Mode, b.Mode)
	a.Namespaces = slices.Concat(a.Namespaces, b.Namespaces)
	a.Protect.Namespaces = slices.Concat(a.Protect.Namespaces, b.Protect.Namespaces)
	a.Protect.PriorityClasses = slices.Concat(a.Protect.PriorityClasses, b.Protect.PriorityClasses)
	if a.Protect.PodSelector == nil {
		a.Protect.PodSelector = b.Protect.PodSelector
	}
	a.Limits = response.Limits{
		Window:       longer(a.Limits.Window, b.Limits.Window, "10m"),
		Cluster:      lower(a.Limits.Cluster, b.Limits.Cluster, 10),
		Namespace:    lower(a.Limits.Namespace, b.Limits.Namespace, 5),
		Owner:        lower(a.Limits.Owner, b.Limits.Owner, 2),
		OwnerPercent: lower(a.Limits.OwnerPercent, b.Limits.OwnerPercent, 50),
		Nodes:        lower(a.Limits.Nodes, b.Limits.Nodes, 1),
		NodePercent:  lower(a.Limits.NodePercent, b.Limits.NodePercent, 10),
	}
	a.Breaker = response.Breaker{
		Plans: lower(a.Breaker.Plans, b.Breaker.Plans, 50), Window: longer(a.Breaker.Window, b.Breaker.Window, "1m"), Pause: longer(a.Breaker.Pause, b.Breaker.Pause, "15m"),
	}
	a.Cooldown, a.IncidentTTL = longer(a.Cooldown, b.Cooldown, "1m"), longer(a.IncidentTTL, b.IncidentTTL, "168h")
	a.TTL, a.OnExpiry, a.Residual = cmp.Or(a.TTL, b.TTL), cmp.Or(a.OnExpiry, b.OnExpiry), cmp.Or(a.Residual, b.Residual)
	a.DetachDaemonSets = a.DetachDaemonSets && b.DetachDaemonSets
	a.DetachKinds = slices.DeleteFunc(slices.Clone(a.DetachKinds), func(kind string) bool { return !slices.Contains(b.DetachKinds, kind) })
	return a
}

func lower(a, b, otherwise int64) int64 { return min(cmp.Or(a, otherwise), cmp.Or(b, otherwise)) }

func longer(a, b, otherwise string) string {
	a, b = cmp.Or(a, otherwise), cmp.Or(b, otherwise)
	first, err := time.ParseDuration(a)
	second, failed := time.ParseDuration(b)
	if failed == nil && (err != nil || second > first) {
		return b
	}
	return a
}

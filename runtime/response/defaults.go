package response

import (
	"cmp"
	"time"
)

// maxWindow is how far back recent events of a pod are counted at most.
const maxWindow = time.Hour

// Times are the durations of [Settings], with the defaults where nothing is said.
type Times struct {
	Cooldown, TTL, IncidentTTL, Window       time.Duration
	LimitWindow, BreakerWindow, BreakerPause time.Duration
}

// Times reads the durations. What is no duration, which Check reports, counts as not said.
func (s *Settings) Times() Times {
	return Times{
		Cooldown:      orDefault(s.Cooldown, time.Minute),
		TTL:           orDefault(s.TTL, 24*time.Hour),
		IncidentTTL:   orDefault(s.IncidentTTL, 168*time.Hour),
		Window:        min(orDefault(s.Window, 10*time.Minute), maxWindow),
		LimitWindow:   orDefault(s.Limits.Window, 10*time.Minute),
		BreakerWindow: orDefault(s.Breaker.Window, time.Minute),
		BreakerPause:  orDefault(s.Breaker.Pause, 15*time.Minute),
	}
}

func orDefault(text string, otherwise time.Duration) time.Duration {
	if d, err := parsePositive(text); err == nil && d > 0 {
		return d
	}
	return otherwise
}

// filled are the limits with the defaults where nothing is said.
func (l Limits) filled() Limits {
	return Limits{
		Window:       l.Window,
		Cluster:      cmp.Or(l.Cluster, 10),
		Namespace:    cmp.Or(l.Namespace, 5),
		Owner:        cmp.Or(l.Owner, 2),
		OwnerPercent: cmp.Or(l.OwnerPercent, 50),
		Nodes:        cmp.Or(l.Nodes, 1),
		NodePercent:  cmp.Or(l.NodePercent, 10),
	}
}

// ModeIn is the mode for a namespace: that of the first entry that matches, or that for all. The zero mode, one that is none, and
// that of an entry that cannot be read, are audit.
func (s *Settings) ModeIn(namespace string) Mode {
	for _, one := range s.Namespaces {
		if checkGlobs(one.Match) != nil {
			return ModeAudit
		}
		if globbed(one.Match, namespace, false) {
			return Milder(one.Mode, ModeEnforce)
		}
	}
	return Milder(s.Mode, ModeEnforce)
}

package response

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Mode says how far a plan goes. The zero value only records.
type Mode string

// The modes, from the mildest.
const (
	ModeAudit   Mode = "audit"   // writes down what would be done
	ModeApprove Mode = "approve" // waits for a person
	ModeEnforce Mode = "enforce" // acts
)

// Milder is the milder of two modes; what is none of them is audit.
func Milder(a, b Mode) Mode {
	rank := []Mode{ModeAudit, ModeApprove, ModeEnforce}
	return rank[max(0, min(slices.Index(rank, a), slices.Index(rank, b)))]
}

// Settings are the response section of bundle.yaml: how far responses of the bundle's policies go. The zero value records what
// would be done and does nothing.
type Settings struct {
	// Mode is for all namespaces; Namespaces give others to some, the first entry that matches counts.
	Mode       Mode            `json:"mode,omitempty"`
	Namespaces []NamespaceMode `json:"namespaces,omitempty"`
	Protect    Protection      `json:"protect,omitzero"`
	Limits     Limits          `json:"limits,omitzero"`
	Breaker    Breaker         `json:"breaker,omitzero"`
	// Cooldown is how long after the last action on a pod's owner policies cannot ask for another one against another pod of it, 1m
	// by default. One that is quarantined already is not quarantined again.
	Cooldown string `json:"cooldown,omitempty"`
	// TTL is after what time a quarantine ends by itself, 24h by default; OnExpiry is what happens then, release by default.
	TTL      string `json:"ttl,omitempty"`
	OnExpiry string `json:"onExpiry,omitempty"`
	// Residual is what to do where an isolated pod can still reach something, or be reached: alert by default.
	Residual string `json:"residual,omitempty"`
	// DetachDaemonSets lets pods of DaemonSets be detached: the replacement starts on the same node. DetachKinds are further
	// kinds ("group/Kind") of controllers whose pods may be: those that replace a pod whose labels no longer match.
	DetachDaemonSets bool     `json:"detachDaemonSets,omitempty"`
	DetachKinds      []string `json:"detachKinds,omitempty"`
	// IncidentTTL is how long admission remembers, 168h by default.
	IncidentTTL string `json:"incidentTTL,omitempty"`
	// Window is how far back recent events of a pod are counted, 10m by default, at most 1h.
	Window string `json:"window,omitempty"`
}

// NamespaceMode is the mode of namespaces whose name matches a glob.
type NamespaceMode struct {
	Match []string `json:"match"`
	Mode  Mode     `json:"mode"`
}

// Protection is what no response may contain, beside kube-system, kube-public, kube-node-lease, the responder's own namespace and pods of the priority
// classes system-node-critical and system-cluster-critical. What is protected is reported.
type Protection struct {
	Namespaces      []string              `json:"namespaces,omitempty"` // globs
	PodSelector     *metav1.LabelSelector `json:"podSelector,omitempty"`
	PriorityClasses []string              `json:"priorityClasses,omitempty"` // globs
}

// Limits are the blast radius: how many pods may be contained within Window. A plan over a limit is written down and not carried
// out, and says which.
type Limits struct {
	// Window is 10m by default.
	Window string `json:"window,omitempty"`
	// Cluster is 10 by default, Namespace 5, Owner 2. Each counts quarantines begun within the window.
	Cluster   int64 `json:"cluster,omitempty"`
	Namespace int64 `json:"namespace,omitempty"`
	Owner     int64 `json:"owner,omitempty"`
	// OwnerPercent is how many percent of an owner's pods, those that it wants or those that are ready, whichever are fewer, may be in
	// quarantine at a time, 50 by default. One pod always may.
	OwnerPercent int64 `json:"ownerPercent,omitempty"`
	// Nodes is how many nodes may be cordoned at a time, 1 by default; NodePercent is how many percent of all, 10 by default. One always may.
	Nodes       int64 `json:"nodes,omitempty"`
	NodePercent int64 `json:"nodePercent,omitempty"`
}

// Breaker turns everything to audit for a while when more is asked for than can be true.
type Breaker struct {
	// Plans is how many plans within Window open it, 50 in 1m by default; Pause is how long it stays open, 15m by default.
	Plans  int64  `json:"plans,omitempty"`
	Window string `json:"window,omitempty"`
	Pause  string `json:"pause,omitempty"`
}

// Check says all that is wrong.
func (s *Settings) Check() error {
	var problems []error
	report := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	modes := []Mode{"", ModeAudit, ModeApprove, ModeEnforce}
	if !slices.Contains(modes, s.Mode) {
		report("mode %.40q: use audit, approve or enforce", s.Mode)
	}
	for n, one := range s.Namespaces {
		if !slices.Contains(modes[1:], one.Mode) {
			report("namespaces[%d].mode %.40q: use audit, approve or enforce", n, one.Mode)
		}
		if len(one.Match) == 0 {
			report("namespaces[%d].match: name at least one namespace", n)
		}
		if err := checkGlobs(one.Match); err != nil {
			report("namespaces[%d].match: %w", n, err)
		}
	}
	for _, duration := range []struct{ name, text string }{
		{"cooldown", s.Cooldown}, {"ttl", s.TTL}, {"incidentTTL", s.IncidentTTL}, {"window", s.Window},
		{"limits.window", s.Limits.Window}, {"breaker.window", s.Breaker.Window}, {"breaker.pause", s.Breaker.Pause},
	} {
		if _, err := parsePositive(duration.text); err != nil {
			report("%s: %w", duration.name, err)
		}
	}
	for _, count := range []struct {
		name  string
		value int64
		most  int64
	}{
		{"limits.cluster", s.Limits.Cluster, 0}, {"limits.namespace", s.Limits.Namespace, 0}, {"limits.owner", s.Limits.Owner, 0},
		{"limits.ownerPercent", s.Limits.OwnerPercent, 100}, {"limits.nodes", s.Limits.Nodes, 0},
		{"limits.nodePercent", s.Limits.NodePercent, 100}, {"breaker.plans", s.Breaker.Plans, 0},
	} {
		if count.value < 0 || count.most > 0 && count.value > count.most {
			report("%s %d: out of range", count.name, count.value)
		}
	}
	words := Parameters{OnExpiry: s.OnExpiry, Residual: s.Residual}
	if err := words.Check(Isolate); err != nil {
		problems = append(problems, err)
	}
	if err := checkGlobs(s.Protect.Namespaces); err != nil {
		report("protect.namespaces: %w", err)
	}
	if err := checkGlobs(s.Protect.PriorityClasses); err != nil {
		report("protect.priorityClasses: %w", err)
	}
	for _, kind := range s.DetachKinds {
		if group, name, ok := strings.Cut(kind, "/"); !ok || group == "" || name == "" {
			report("detachKinds %.80q: write it as group/Kind, such as argoproj.io/Rollout", kind)
		}
	}
	if window, err := parsePositive(s.Window); err == nil && window > maxWindow {
		report("window %s: use at most %s", s.Window, maxWindow)
	}
	if s.Protect.PodSelector != nil {
		if _, err := metav1.LabelSelectorAsSelector(s.Protect.PodSelector); err != nil {
			report("protect.podSelector: %w", err)
		}
	}
	return errors.Join(problems...)
}

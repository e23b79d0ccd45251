package response

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Action is one thing that can be done about a pod.
type Action string

// The actions, in the order in which a plan takes them: what keeps evidence and contains comes before what destroys.
const (
	Snapshot Action = "snapshot" // evidence: objects, logs, events. Every plan that destroys begins with it.
	Annotate Action = "annotate" // says on the pod what happened
	Label    Action = "label"    // sets labels, for people and other tools
	Isolate  Action = "isolate"  // cuts the network, as far as can be proved
	Detach   Action = "detach"   // takes the pod from its Services and its controller, which replaces it
	Condemn  Action = "condemn"  // an Incident: admission remembers digest, owner or service account
	Revoke   Action = "revoke"   // asks for the secrets that the pod held to be revoked
	Notify   Action = "notify"   // tells people
	Cordon   Action = "cordon"   // no more pods for the node
	Suspend  Action = "suspend"  // the CronJob or Job of the pod starts no more of them
	Scale    Action = "scale"    // its controller to fewer replicas, none by default
	Evict    Action = "evict"    // ends the pod as its disruption budget allows
	Delete   Action = "delete"   // ends the pod
)

// Restrict narrows the network policies of others that still allow something to an isolated pod. No policy asks for it: it is an answer
// to what isolate has left open ([Parameters].Residual).
const Restrict Action = "restrict"

// Actions are all that policies ask for, in order.
func Actions() []Action {
	return []Action{Snapshot, Annotate, Label, Isolate, Detach, Condemn, Revoke, Notify, Cordon, Suspend, Scale, Evict, Delete}
}

// Destructive says that the pod, or another one of its owner, does not survive it.
func (a Action) Destructive() bool {
	return a == Evict || a == Delete || a == Suspend || a == Scale
}

// Contains says that it takes something from the pod or its owner. Caps count plans with such an action.
func (a Action) Contains() bool {
	return a.Destructive() || a == Isolate || a == Detach || a == Cordon
}

// ParseAction reads the name of an action.
func ParseAction(text string) (Action, error) {
	if a := Action(text); slices.Contains(Actions(), a) {
		return a, nil
	}
	names := make([]string, 0, len(Actions()))
	for _, a := range Actions() {
		names = append(names, string(a))
	}
	return "", fmt.Errorf("there is no action %.40q: use one of %s", text, strings.Join(names, ", "))
}

// Parameters refine an action. Each action reads its own; the zero value is the default of each.
type Parameters struct {
	// TTL is after what time a quarantine ends by itself, a duration in text ("24h"); "" is that of the settings.
	TTL string `json:"ttl,omitempty"`
	// OnExpiry is what happens then: "release" or "delete".
	OnExpiry string `json:"onExpiry,omitempty"`
	// Detach of isolate: false keeps the labels of the pod, so that its controller keeps it; nil is what fits the owner.
	Detach *bool `json:"detach,omitempty"`
	// Residual of isolate says what to do where traffic remains possible: "evict" or "delete" the pod once evidence is there, "restrict" the
	// policies that allow it, "alert" only. "" is that of the settings.
	Residual string `json:"residual,omitempty"`
	// Labels of label, Annotations of annotate. Keys of kubernetes.io, k8s.io and portcullis.dev are refused.
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	// GracePeriodSeconds of evict and delete; nil is that of the pod. 0 is refused: it destroys evidence.
	GracePeriodSeconds *int64 `json:"gracePeriodSeconds,omitempty"`
	// Replicas of scale.
	Replicas int32 `json:"replicas,omitempty"`
	// Scope of condemn: "digest", "owner" or "serviceAccount"; "digest" by default. Effect is "deny" or "warn", warn by
	// default, so that containment of one pod is no outage of the others.
	Scope  string `json:"scope,omitempty"`
	Effect string `json:"effect,omitempty"`
	// Namespaces of condemn are globs of those where the incident counts; none is all.
	Namespaces []string `json:"namespaces,omitempty"`
	// Approval keeps the action waiting for a person, whatever the mode.
	Approval bool `json:"approval,omitempty"`
	// NoExecute of cordon also evicts what runs on the node and does not tolerate it.
	NoExecute bool `json:"noExecute,omitempty"`
}

// Check says what is wrong with parameters of an action.
func (p *Parameters) Check(a Action) error {
	for name, text := range map[string]string{"ttl": p.TTL} {
		if _, err := parsePositive(text); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, choice := range []struct {
		name, value string
		allowed     []string
	}{
		{"onExpiry", p.OnExpiry, []string{"", OnExpiryRelease, OnExpiryDelete}},
		{"residual", p.Residual, []string{"", ResidualAlert, ResidualEvict, ResidualDelete, ResidualRestrict}},
		{"scope", p.Scope, []string{"", ScopeDigest, ScopeOwner, ScopeServiceAccount}},
		{"effect", p.Effect, []string{"", EffectWarn, EffectDeny}},
	} {
		if !slices.Contains(choice.allowed, choice.value) {
			return fmt.Errorf("%s %.40q: use one of %s", choice.name, choice.value, strings.Join(choice.allowed[1:], ", "))
		}
	}
	if p.GracePeriodSeconds != nil && *p.GracePeriodSeconds < 1 {
		return fmt.Errorf("gracePeriodSeconds %d: a pod that is killed at once leaves no evidence; use at least 1", *p.GracePeriodSeconds)
	}
	if p.Replicas < 0 {
		return fmt.Errorf("replicas %d: use 0 or more", p.Replicas)
	}
	for _, keys := range []map[string]string{p.Labels, p.Annotations} {
		for key := range keys {
			if domain, _, ok := strings.Cut(key, "/"); ok && reserved(domain) {
				return fmt.Errorf("key %.80q: those of Kubernetes and of Portcullis are not for policies to set", key)
			}
		}
	}
	if a == Label && len(p.Labels) == 0 {
		return fmt.Errorf("%s without labels does nothing: give some", a)
	}
	return nil
}

func reserved(domain string) bool {
	for _, own := range []string{"kubernetes.io", "k8s.io", "portcullis.dev"} {
		if domain == own || strings.HasSuffix(domain, "."+own) {
			return true
		}
	}
	return false
}

// parsePositive reads a duration that is more than nothing; "" is 0.
func parsePositive(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%.40q is no duration: write it as 90s, 30m or 24h", text)
	}
	if d <= 0 {
		return 0, fmt.Errorf("%s: use more than nothing", text)
	}
	return d, nil
}

// The values of [Parameters] and [Settings] that are words.
const (
	OnExpiryRelease = "release"
	OnExpiryDelete  = "delete"

	ResidualAlert    = "alert"
	ResidualEvict    = "evict"
	ResidualDelete   = "delete"
	ResidualRestrict = "restrict"

	ScopePod            = "pod" // of a quarantine itself, never of condemn
	ScopeDigest         = "digest"
	ScopeOwner          = "owner"
	ScopeServiceAccount = "serviceAccount"

	EffectWarn = "warn"
	EffectDeny = "deny"
)

package policies

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// podSecurityChecks are the checks of the Pod Security Standards by level, as metadata name them in controls.pss
// (k8s.io/pod-security-admission/policy, DefaultChecks). Labels are honoured only where each has a policy.
var podSecurityChecks = map[string][]string{
	"baseline": {
		"appArmorProfile", "capabilities_baseline", "hostNamespaces", "hostPathVolumes", "hostPorts", "hostProbesAndHostLifecycle",
		"privileged", "procMount", "seLinuxOptions", "seccompProfile_baseline", "sysctls", "windowsHostProcess",
	},
	"restricted": {
		"allowPrivilegeEscalation", "capabilities_restricted", "procMount_restricted", "restrictedVolumes", "runAsNonRoot", "runAsUser",
		"seccompProfile_restricted",
	},
}

// The labels of the Pod Security admission plugin (KEP-2579, "Labels").
const (
	podSecurityEnforce = "pod-security.kubernetes.io/enforce"
	podSecurityWarn    = "pod-security.kubernetes.io/warn"
	podSecurityAudit   = "pod-security.kubernetes.io/audit"
)

// checkPodSecurity refuses to honour labels without all the policies that they ask for.
func (b *Bundle) checkPodSecurity() []error {
	if !b.Manifest.PodSecurityLabels {
		return nil
	}
	var missing []string
	for _, level := range sortedKeys(podSecurityChecks) {
		for _, check := range podSecurityChecks[level] {
			if len(b.podSecurityPolicies(level, check)) == 0 {
				missing = append(missing, level+"/"+check)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return []error{fmt.Errorf("podSecurityLabels: no policy of this bundle is for %s of the Pod Security Standards (metadata: controls.pss): include: library has them", strings.Join(missing, ", "))}
}

// podSecurityPolicies are the policies that say that they are a check, sorted.
func (b *Bundle) podSecurityPolicies(level, check string) []string {
	var ids []string
	for _, id := range sortedKeys(b.Policies) {
		if policy := b.Policies[id]; policy.has(EffectDeny) && slices.Contains(policy.Controls["pss"], level+"/"+check) {
			ids = append(ids, id)
		}
	}
	return ids
}

// podSecurityMode is what one label, or the want of it, makes of a policy.
type podSecurityMode struct {
	name        string // in instances: "enforce-restricted"
	enforcement Enforcement
	level       string
	kinds       []string // nil for all
	except      []string
	namespaces  metav1.LabelSelector
}

// podSecurityModes are the modes of the plugin (PolicyToEvaluate in k8s.io/pod-security-admission/api/helpers.go):
//
//   - enforce is about pods; a level that is unknown counts as restricted;
//   - warn and audit are about pods and what makes them; a level that is unknown counts as privileged;
//   - without a label to warn, what makes pods is warned of by the level that is enforced.
//
// What an instance is for one level adds to those of the level below.
func podSecurityModes() []podSecurityMode {
	where := func(all ...metav1.LabelSelectorRequirement) metav1.LabelSelector {
		return metav1.LabelSelector{MatchExpressions: all}
	}
	is := func(label string, operator metav1.LabelSelectorOperator, levels ...string) metav1.LabelSelectorRequirement {
		return metav1.LabelSelectorRequirement{Key: label, Operator: operator, Values: levels}
	}
	var modes []podSecurityMode
	for level, levels := range map[string][]string{"baseline": {"baseline", "restricted"}, "restricted": {"restricted"}} {
		weaker := []string{"privileged"}
		if level == "restricted" {
			weaker = []string{"privileged", "baseline"}
		}
		modes = append(modes,
			podSecurityMode{"enforce-" + level, EnforceDeny, level, []string{"Pod"}, nil, where(is(podSecurityEnforce, metav1.LabelSelectorOpExists), is(podSecurityEnforce, metav1.LabelSelectorOpNotIn, weaker...))},
			podSecurityMode{"warn-" + level, EnforceWarn, level, nil, nil, where(is(podSecurityWarn, metav1.LabelSelectorOpIn, levels...))},
			podSecurityMode{"audit-" + level, EnforceAudit, level, nil, nil, where(is(podSecurityAudit, metav1.LabelSelectorOpIn, levels...))},
			podSecurityMode{"template-" + level, EnforceWarn, level, nil, []string{"Pod"}, where(is(podSecurityEnforce, metav1.LabelSelectorOpIn, levels...), is(podSecurityWarn, metav1.LabelSelectorOpDoesNotExist))},
		)
	}
	return modes
}

// podSecurityInstances are what the labels of namespaces ask for, beside what a profile configures itself: they tighten it
// and never replace anything. What a profile denies anyway is left out.
func (b *Bundle) podSecurityInstances(configured []Instance) []Instance {
	if !b.Manifest.PodSecurityLabels {
		return nil
	}
	var instances []Instance
	for _, mode := range podSecurityModes() {
		for _, check := range podSecurityChecks[mode.level] {
			for _, id := range b.podSecurityPolicies(mode.level, check) {
				if slices.ContainsFunc(configured, func(i Instance) bool { return i.denies(id) }) {
					continue
				}
				match := &Match{NamespaceSelector: mode.namespaces.DeepCopy(), Kinds: mode.kinds}
				if mode.except != nil {
					match.Exclude = &Exclusion{Kinds: mode.except}
				}
				instances = append(instances, Instance{
					Policy: id, Name: "pod-security/" + mode.name + "/" + id, Enforcement: mode.enforcement, Match: match,
				})
			}
		}
	}
	slices.SortFunc(instances, func(a, b Instance) int { return strings.Compare(a.Name, b.Name) })
	return instances
}

// denies says that an instance is a policy as it is, enforced for everything.
func (i Instance) denies(policy string) bool {
	return i.Policy == policy && i.Enforcement == EnforceDeny && i.FailMode == FailClosed && i.Match == nil && i.Ramp == nil && len(i.Parameters) == 0
}

package admissionpolicy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Labels and annotations of what is exported.
const (
	// BundleLabel names the bundle: by it an earlier export is found and pruned.
	BundleLabel        = "policy.portcullis.dev/exported-from"
	policyAnnotation   = "policy.portcullis.dev/policy"
	profileAnnotation  = "policy.portcullis.dev/profile"
	revisionAnnotation = "policy.portcullis.dev/bundle"
)

// Options say what is exported. The zero value exports, for each namespace, the profile that the bundle assigns to it.
type Options struct {
	// Profile is the only one, for all namespaces.
	Profile string
	// Policies are the ids of the only ones; all that can be if empty.
	Policies []string
	// Now decides which exceptions count and how far ramps have come.
	Now time.Time
	// Exempt leaves out requests that nobody judges, such as the API server's own: all conditions must hold for a request to
	// be judged. ExemptPods are further ones, for policies about pods.
	Exempt, ExemptPods []admissionregistrationv1.MatchCondition
	// IgnoreClusterExceptions exports what exceptions of the cluster could waive, too. Then an object that one of them
	// excepts is refused all the same.
	IgnoreClusterExceptions bool
}

// Result is what was exported and what was not.
type Result struct {
	Bundle   string     `json:"bundle"` // its revision
	Exported []Exported `json:"exported"`
	// Left are the policies that are configured and were not exported.
	Left []Left `json:"left"`
	// Notes are about all that was exported.
	Notes []string `json:"notes"`
}

// Exported is one configured policy of one profile.
type Exported struct {
	// Name is that of both objects.
	Name     string `json:"name"`
	Policy   string `json:"policy"`
	Instance string `json:"instance"`
	Profile  string `json:"profile"`
	// Actions are Deny and Audit, or Warn.
	Actions []admissionregistrationv1.ValidationAction `json:"actions"`
	// Milder says where it refuses less than the webhook.
	Milder []string `json:"milder,omitempty"`

	Object  *admissionregistrationv1.ValidatingAdmissionPolicy        `json:"-"`
	Binding *admissionregistrationv1.ValidatingAdmissionPolicyBinding `json:"-"`
}

// Left is a configured policy of one profile that has no ValidatingAdmissionPolicy.
type Left struct {
	Policy   string `json:"policy"`
	Instance string `json:"instance"`
	Profile  string `json:"profile"`
	Reason   string `json:"reason"`
}

// Export writes the policies of a bundle. The result is sorted by profile and instance and the same for the same input.
// An error means that nothing can be: a profile or policy that there is not, or CEL that does not fit its policy.
func Export(bundle *policies.Bundle, options Options) (*Result, error) {
	if err := options.check(bundle); err != nil {
		return nil, fmt.Errorf("exporting bundle %s: %w", bundle.Manifest.Name, err)
	}
	engine, err := policies.NewEngine(bundle)
	if err != nil {
		return nil, fmt.Errorf("exporting bundle %s: %w", bundle.Manifest.Name, err)
	}
	x := &export{bundle: bundle, engine: engine, options: options, result: &Result{Bundle: bundle.Revision(), Exported: []Exported{}, Left: []Left{}, Notes: []string{}}, names: map[string]bool{}}
	var problems []error
	for _, profile := range bundle.Profiles() {
		if options.Profile != "" && profile != options.Profile {
			continue
		}
		for _, reach := range x.reaches(profile) {
			for _, instance := range bundle.Configured(profile) {
				if len(options.Policies) == 0 || slices.Contains(options.Policies, instance.Policy) {
					problems = append(problems, x.instance(instance, reach))
				}
			}
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("exporting bundle %s: %w", bundle.Manifest.Name, err)
	}
	x.notes()
	return x.result, nil
}

func (o *Options) check(bundle *policies.Bundle) error {
	if o.Profile != "" && !slices.Contains(bundle.Profiles(), o.Profile) {
		return fmt.Errorf("there is no profile %q: use one of %s", o.Profile, strings.Join(bundle.Profiles(), ", "))
	}
	for _, id := range o.Policies {
		if bundle.Policies[id] == nil {
			return fmt.Errorf("there is no policy %q: portcullis policy list has them all", id)
		}
	}
	return nil
}

// export is one run of Export.
type export struct {
	bundle  *policies.Bundle
	engine  *policies.Engine // knows what rules read
	options Options
	result  *Result
	names   map[string]bool
}

// instance exports one configured policy, or says why not.
func (x *export) instance(i policies.Instance, where reach) error {
	policy := x.bundle.Policies[i.Policy]
	enforcement := i.EnforcementAt(x.options.Now)
	if reason := x.unsuitable(policy, &i, enforcement); reason != "" {
		x.leave(&i, where, reason)
		return nil
	}
	reads, err := x.engine.ReadSet(where.profile, i.Name)
	if err != nil {
		return fmt.Errorf("%s: %w", i.Name, err)
	}
	c := &composition{policy: policy, instance: &i, reads: reads}
	spec, err := c.spec()
	if err != nil {
		return fmt.Errorf("%s: %w", i.Name, err)
	}
	match, err := x.conditions(policy, &i, where)
	if err != nil {
		return fmt.Errorf("%s: %w", i.Name, err)
	}
	if reason := match.tooLarge(); reason != "" {
		x.leave(&i, where, reason)
		return nil
	}
	spec.MatchConditions = match.conditions
	spec.MatchConstraints.NamespaceSelector = both(where.namespaces, selectorOf(i.Match))
	if i.Match != nil {
		spec.MatchConstraints.ObjectSelector = i.Match.ObjectSelector
	}
	if i.FailMode == policies.FailOpen {
		spec.FailurePolicy = new(admissionregistrationv1.Ignore)
	}
	actions := []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny, admissionregistrationv1.Audit}
	if enforcement == policies.EnforceWarn {
		actions = []admissionregistrationv1.ValidationAction{admissionregistrationv1.Warn}
	}
	milder := slices.Concat(c.milder, match.milder)
	if softened := enforcement != i.Enforcement; softened {
		milder = append(milder, fmt.Sprintf("its ramp ends in enforcement %s: export again when it has risen", i.Enforcement))
	}
	x.add(Exported{Policy: i.Policy, Instance: i.Name, Profile: where.profile, Actions: actions, Milder: milder}, where, spec)
	return nil
}

func (x *export) leave(i *policies.Instance, where reach, reason string) {
	left := Left{Policy: i.Policy, Instance: i.Name, Profile: where.profile, Reason: reason}
	if !slices.Contains(x.result.Left, left) { // by each way to have a profile
		x.result.Left = append(x.result.Left, left)
	}
}

// unsuitable says why a configured policy cannot be exported, "" if it can.
func (x *export) unsuitable(policy *policies.Policy, i *policies.Instance, enforcement policies.Enforcement) string {
	subject := &policy.Subject
	switch {
	case enforcement == policies.EnforceAudit:
		return "it is only recorded, which the webhook and the audit do"
	case enforcement == policies.EnforceOff:
		return "it is off"
	case subject.Events != nil:
		return "it is about events at run time"
	case subject.Syncs != nil:
		return "it is about syncs of secrets"
	case !policy.At(policies.DoorAdmission):
		return "it does not judge requests of the API server (doors)"
	case !slices.Contains(policy.Effects, policies.EffectDeny) && slices.Contains(policy.Effects, policies.EffectPatch):
		return "it changes objects, which a ValidatingAdmissionPolicy cannot"
	case policy.CEL != nil && i.Match != nil && i.Match.Platforms != nil && !slices.Contains(i.Match.Platforms, "kubernetes"):
		return "it is for other platforms"
	case policy.CEL == nil && len(policy.Reads) > 0:
		return "it reads other objects of the cluster, which a ValidatingAdmissionPolicy cannot"
	case policy.CEL == nil && strings.HasPrefix(policy.ID, "images/"):
		return "it reads what is known of images, which a ValidatingAdmissionPolicy cannot"
	case policy.CEL == nil:
		return "it is not written in CEL (no policy.cel.yaml beside its rules)"
	case !x.options.IgnoreClusterExceptions && slices.Contains(x.bundle.ClusterExcepts(policy.ID), "*"):
		return "exceptions of the cluster may waive it anywhere, which an expression cannot see: exceptionsFrom of the bundle has central namespaces"
	}
	return ""
}

// add names the objects and keeps them.
func (x *export) add(e Exported, where reach, spec admissionregistrationv1.ValidatingAdmissionPolicySpec) {
	e.Name = x.name(cmp.Or(where.suffix, where.profile), e.Instance)
	e.Object = &admissionregistrationv1.ValidatingAdmissionPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingAdmissionPolicy"},
		ObjectMeta: x.metadata(&e), Spec: spec,
	}
	e.Binding = &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingAdmissionPolicyBinding"},
		ObjectMeta: x.metadata(&e),
		Spec:       admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: e.Name, ValidationActions: e.Actions},
	}
	x.result.Exported = append(x.result.Exported, e)
}

func (x *export) metadata(e *Exported) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name:        e.Name,
		Labels:      map[string]string{"app.kubernetes.io/managed-by": "portcullis", BundleLabel: label(x.bundle.Manifest.Name)},
		Annotations: map[string]string{policyAnnotation: e.Policy, profileAnnotation: e.Profile, revisionAnnotation: x.bundle.Revision()},
	}
}

// name is "portcullis-acme.baseline-pods-privileged", of the bundle's name, the profile and the instance, with a hash where it
// would be too long or taken, or where the bundle's name does not stand there as it is.
func (x *export) name(profile, instance string) string {
	const longest = 253 // RFC 1123 subdomain
	bundle := x.bundle.Manifest.Name
	name := "portcullis-" + plain(bundle) + "." + plain(profile) + "-" + plain(instance)
	if x.names[name] || len(name) > longest || plain(bundle) != bundle {
		sum := sha256.Sum256([]byte(bundle + "\x00" + profile + "\x00" + instance))
		name = name[:min(len(name), longest-9)] + "-" + hex.EncodeToString(sum[:4])
	}
	x.names[name] = true
	return name
}

// plain is a text as part of an object's name.
func plain(text string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(text)), "-")
}

// label is a name as the value of a label, which is no longer than 63.
func label(name string) string {
	value := plain(name)
	return strings.Trim(value[:min(len(value), 63)], "-")
}

// notes say what holds for all that was exported.
func (x *export) notes() {
	note := func(text string) { x.result.Notes = append(x.result.Notes, text) }
	if slices.ContainsFunc(x.result.Exported, func(e Exported) bool { return x.bundle.Policies[e.Policy].Subject.Workload != "" }) {
		note("policies about workloads judge Pod, PodTemplate, ReplicationController, Deployment, ReplicaSet, StatefulSet, DaemonSet, Job and CronJob; what custom resources make of pods is judged when the pods are created")
		note("an update that changes a field inside a container of which no policy knows (workingDir) counts as a change of what runs: an object from before the policy is then judged, which the webhook passes over")
	}
	if label := x.bundle.Manifest.ProfileLabel; label != "" && x.options.Profile == "" {
		note("in a namespace whose label " + label + " names no profile of the bundle no exported policy judges; to the webhook that is a fault")
		if slices.ContainsFunc(x.result.Exported, func(e Exported) bool { return about(x.bundle.Policies[e.Policy], "", "namespaces") }) {
			note("an update of a namespace that changes its label " + label + " is judged by the profile that it comes to, by the webhook by the one that it had")
		}
	}
	if x.options.IgnoreClusterExceptions && x.bundle.Manifest.ExceptionsFrom != nil {
		note("exceptions of the cluster do not count: an object that a PolicyException excepts is refused")
	}
}

// both is a selector that selects what both select; nil selects everything.
func both(a, b *metav1.LabelSelector) *metav1.LabelSelector {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	merged := a.DeepCopy()
	merged.MatchExpressions = append(merged.MatchExpressions, b.MatchExpressions...)
	for key, value := range b.MatchLabels {
		merged.MatchExpressions = append(merged.MatchExpressions, metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpIn, Values: []string{value}})
	}
	slices.SortStableFunc(merged.MatchExpressions, func(x, y metav1.LabelSelectorRequirement) int { return strings.Compare(x.Key, y.Key) })
	return merged
}

func selectorOf(match *policies.Match) *metav1.LabelSelector {
	if match == nil {
		return nil
	}
	return match.NamespaceSelector
}

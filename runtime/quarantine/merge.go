package quarantine

import (
	"cmp"
	"regexp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/policies/redaction"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// Limits of lists, as the schema has them.
const (
	maxTriggers = 20
	maxRefused  = 64
	maxImages   = 64
)

// sha256Digest is what digests of images look like here.
var sha256Digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// fromPlan is the Quarantine that a plan asks for.
func fromPlan(plan *response.Plan, p Proposal) *v1alpha1.Quarantine {
	e := &plan.Event
	settings := strictest(plan, p.Settings)
	q := &v1alpha1.Quarantine{ObjectMeta: metav1.ObjectMeta{Name: response.QuarantineName(e.Pod.UID)}}
	q.Spec = v1alpha1.QuarantineSpec{
		Pod: v1alpha1.PodReference{
			Namespace: e.Pod.Namespace, Name: e.Pod.Name, UID: e.Pod.UID, Node: e.Pod.Node, ServiceAccount: e.Pod.ServiceAccount, Images: digests(p.Images),
		},
		Owner: ownerOf(e.Owner), Mode: response.Milder(plan.Mode, response.ModeEnforce), Branch: plan.Branch,
		Triggers: triggers(plan, p), Refused: slices.Clone(plan.Refused[:min(len(plan.Refused), maxRefused)]),
		TTL: metav1.Duration{Duration: plan.TTL}, OnExpiry: plan.OnExpiry,
		IncidentTTL: metav1.Duration{Duration: cmp.Or(p.IncidentTTL, settings.Times().IncidentTTL)}, Settings: settings,
	}
	if p.Trace != "" {
		q.Annotations = map[string]string{TraceAnnotation: p.Trace}
	}
	for _, a := range plan.Actions {
		a.Message, a.Reason = cut(redacted(a.Message), maxMessage), cut(a.Reason, maxMessage)
		a.Parameters.Annotations = redactedValues(a.Parameters.Annotations)
		q.Spec.Actions = append(q.Spec.Actions, a)
	}
	for n := range q.Spec.Refused {
		q.Spec.Refused[n].Reason = cut(q.Spec.Refused[n].Reason, maxMessage)
	}
	return q
}

// digests are those that are in the form of one, sorted, each once.
func digests(all []string) []string {
	var found []string
	for _, d := range all {
		if sha256Digest.MatchString(d) {
			found = append(found, d)
		}
	}
	slices.Sort(found)
	found = slices.Compact(found)
	return found[:min(len(found), maxImages)]
}

func ownerOf(o *response.Owner) *v1alpha1.OwnerReference {
	if o == nil {
		return nil
	}
	return &v1alpha1.OwnerReference{
		Group: o.Group, Version: o.Version, Kind: o.Kind, Name: o.Name, UID: o.UID, Direct: ownerOf(o.Direct), Desired: max(o.Desired, 0), Ready: max(o.Ready, 0),
	}
}

// triggers are the policies that asked, each once, with the event.
func triggers(plan *response.Plan, p Proposal) []v1alpha1.Trigger {
	e := &plan.Event
	made := v1alpha1.Trigger{
		Event: cut(e.ID, 128), Rule: cut(e.Rule, maxRule), Priority: min(max(e.Priority, response.Emergency), response.Debug),
		Time: metav1.NewMicroTime(e.Time), Output: cut(redacted(e.Output), maxOutput), Count: max(p.Count, 1),
	}
	if !p.Received.IsZero() {
		at := metav1.NewMicroTime(p.Received)
		made.Received = &at
	}
	var all []v1alpha1.Trigger
	add := func(policy, instance, bundle, severity, message string) {
		one := made
		same := func(t v1alpha1.Trigger) bool {
			return t.Policy == policy && t.Instance == instance && t.Bundle == bundle
		}
		one.Policy, one.Instance, one.Bundle, one.Revision = policy, instance, bundle, p.Revisions[bundle]
		one.Severity, one.Message = severity, cut(redacted(message), maxMessage)
		if policy != "" && len(all) < maxTriggers && !slices.ContainsFunc(all, same) {
			all = append(all, one)
		}
	}
	for _, a := range plan.Actions {
		add(a.Policy, a.Instance, a.Bundle, a.Severity, a.Message)
	}
	for _, r := range plan.Refused {
		add(r.Policy, "", "", "", "asks for "+string(r.Action)+": "+r.Reason)
	}
	return all
}

// merge adds to a Quarantine what another plan for its pod asks for, and says whether that is anything.
func merge(q, fresh *v1alpha1.Quarantine, now time.Time) bool {
	over := q.Status.Phase.Over() && q.Status.Reopened == q.Spec.Reopened
	if over && !reopens(q, fresh, now) {
		return count(q, fresh)
	}
	changed := count(q, fresh)
	if over {
		q.Spec.Reopened++
		q.Spec.Release, q.Spec.Approval = nil, nil
		q.Spec.Mode, q.Spec.TTL, q.Spec.OnExpiry, q.Spec.Settings = fresh.Spec.Mode, fresh.Spec.TTL, fresh.Spec.OnExpiry, fresh.Spec.Settings
		changed = true
	}
	if addActions(q, fresh.Spec.Actions) {
		changed = true
	}
	if response.Milder(q.Spec.Mode, fresh.Spec.Mode) != fresh.Spec.Mode {
		q.Spec.Mode, changed = fresh.Spec.Mode, true
	}
	return changed
}

// reopens says whether a quarantine that is over begins anew, for a pod that is still there. One that a person has released does not
// for what they have seen: only another policy opens it again. What was only recorded, because nobody asked for more, begins anew at once where somebody
// does: else whoever is in the pod could have a policy that is tried out report it first. After all others the cooldown comes first; what was over a
// limit may be within it by then.
func reopens(q, fresh *v1alpha1.Quarantine, now time.Time) bool {
	switch {
	case q.Status.PodGone || fresh.Spec.Mode == response.ModeAudit || !slices.ContainsFunc(fresh.Spec.Actions, acts):
		return false
	case q.Spec.Release != nil:
		return slices.ContainsFunc(fresh.Spec.Triggers, func(t v1alpha1.Trigger) bool {
			return !slices.ContainsFunc(q.Spec.Triggers, func(old v1alpha1.Trigger) bool { return old.Policy == t.Policy })
		})
	}
	if recordsOnly(q) != "" && recordsOnly(fresh) == "" {
		return true
	}
	return q.Status.Ended == nil || now.Sub(q.Status.Ended.Time) >= q.Spec.Settings.Times().Cooldown
}

// count adds triggers, and counts those that are there already. Only those that are new are worth a write of their own after the
// first thousand: a noisy rule must not write for each of its events for ever.
func count(q, fresh *v1alpha1.Quarantine) (changed bool) {
	for _, t := range fresh.Spec.Triggers {
		same := func(old v1alpha1.Trigger) bool {
			return old.Policy == t.Policy && old.Instance == t.Instance && old.Bundle == t.Bundle
		}
		switch n := slices.IndexFunc(q.Spec.Triggers, same); {
		case n >= 0 && q.Spec.Triggers[n].Event == t.Event:
			// The same event, sent again.
		case n >= 0 && q.Spec.Triggers[n].Count < maxCount:
			q.Spec.Triggers[n].Count += t.Count
			changed = true
		case n < 0 && len(q.Spec.Triggers) < maxTriggers:
			q.Spec.Triggers = append(q.Spec.Triggers, t)
			changed = true
		}
	}
	return changed
}

// maxCount is where counting ends.
const maxCount = 1000

// addActions puts actions into their places. One that is there already stays as it is, unless it now goes further.
func addActions(q *v1alpha1.Quarantine, more []response.Planned) (changed bool) {
	for _, a := range more {
		n := slices.IndexFunc(q.Spec.Actions, func(old response.Planned) bool { return old.Action == a.Action })
		switch {
		case n < 0:
			q.Spec.Actions = slices.Insert(q.Spec.Actions, place(q.Spec.Actions, a.Action), a)
			changed = true
		case response.Milder(q.Spec.Actions[n].Mode, a.Mode) != a.Mode:
			q.Spec.Actions[n] = a
			changed = true
		}
	}
	return changed
}

// place is where an action goes among others: before the first that comes later by its nature.
func place(among []response.Planned, action response.Action) int {
	order := response.Actions()
	mine := slices.Index(order, action)
	n := slices.IndexFunc(among, func(a response.Planned) bool { return slices.Index(order, a.Action) > mine })
	if n < 0 {
		return len(among)
	}
	return n
}

// redacted takes credentials out of what command lines and policies say.
func redacted(text string) string { return new(redaction.Redactor).Text(text) }

func redactedValues(annotations map[string]string) map[string]string {
	if annotations == nil {
		return nil
	}
	all := make(map[string]string, len(annotations))
	for key, value := range annotations {
		all[key] = redacted(value)
	}
	return all
}

// acts says that an action is to be taken, now or once a person agrees.
func acts(a response.Planned) bool {
	return a.Mode == response.ModeEnforce || a.Mode == response.ModeApprove
}

// waitsForApproval says that an action is taken only once a person agrees.
func waitsForApproval(a response.Planned) bool {
	return a.Mode == response.ModeApprove || a.Mode == response.ModeEnforce && a.Parameters.Approval
}

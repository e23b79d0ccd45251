package response

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// ErrUnresolved says that it is not known which pod an event is about. Nothing is ever done about such an event.
var ErrUnresolved = errors.New("planning a response: it is not known which pod the event is about")

// Facts are what a plan needs to know beside the event.
type Facts struct {
	// Own is the namespace of the responder.
	Own string
	// PodLabels are the labels of the pod.
	PodLabels map[string]string
}

// The branches of a plan whose pod the API or network policies do not reach.
const (
	BranchHostNetwork = "hostNetwork" // network policies are not about such pods
	BranchStatic      = "static"      // the kubelet keeps the pod whatever the API says
	BranchHost        = "host"        // a process of the node, outside any pod
)

// NewPlan makes one plan of what policies ask for about an event, under the settings of their bundles, by name of the bundle. It is
// nil where nothing is asked for. The same input has the same plan, in whatever order the policies ask.
//
// An ask of a bundle without settings is only recorded. What is asked for and will not be taken is in Refused.
func NewPlan(e *Event, asks []Ask, settings map[string]Settings, facts Facts) (*Plan, error) {
	switch {
	case len(asks) == 0:
		return nil, nil
	case e == nil, e.Pod == nil && !e.Host, e.Pod != nil && e.Pod.UID == "":
		return nil, ErrUnresolved
	}
	p := &planning{event: e, settings: settings, facts: facts, chosen: map[Action]*Planned{}}
	p.choose(asks)
	p.branch()
	p.protect()
	p.follow()
	p.keepEvidence()
	p.settle()
	return p.plan(asks), nil
}

// planning is a plan that is being made.
type planning struct {
	event    *Event
	settings map[string]Settings
	facts    Facts
	chosen   map[Action]*Planned
	refused  []Refused
	branched string
}

func (p *planning) namespace() string {
	if p.event.Pod == nil {
		return ""
	}
	return p.event.Pod.Namespace
}

// choose takes one ask for each action: the one that goes furthest, of these the most severe one. The mode of an ask is
// the milder one of its policy's and of its bundle's in the namespace.
func (p *planning) choose(asks []Ask) {
	asks = slices.Clone(asks)
	for n := range asks {
		of := p.settings[asks[n].Bundle]
		asks[n].Mode = Milder(asks[n].Mode, of.ModeIn(p.namespace()))
	}
	slices.SortFunc(asks, compareAsks)
	for _, ask := range asks {
		if _, err := ParseAction(string(ask.Action)); err != nil {
			p.refuse(ask, err.Error())
			continue
		}
		if err := ask.Parameters.Check(ask.Action); err != nil {
			p.refuse(ask, fmt.Sprintf("its parameters are wrong: %v", err))
			continue
		}
		if have := p.chosen[ask.Action]; have == nil {
			p.chosen[ask.Action] = &Planned{Ask: ask}
		} else if !have.merge(ask) {
			p.refuse(ask, fmt.Sprintf("policy %s asks for it with other parameters, and goes further or is more severe", have.Policy))
		}
	}
}

// compareAsks orders asks: by action, then the one that goes furthest, the most severe one, and so on to the last field, so that
// equal sets of asks make equal plans.
func compareAsks(a, b Ask) int {
	return cmp.Or(
		cmp.Compare(a.Action, b.Action),
		cmp.Compare(rank(b), rank(a)),
		cmp.Compare(severityRank(a.Severity), severityRank(b.Severity)),
		cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Bundle, b.Bundle), cmp.Compare(a.Message, b.Message),
		cmp.Compare(parametersText(a.Parameters), parametersText(b.Parameters)),
	)
}

func severityRank(severity string) int {
	if n := slices.Index([]string{"critical", "high", "medium", "low"}, strings.ToLower(severity)); n >= 0 {
		return n
	}
	return len(severity) + 4 // unknown ones last, in some order
}

// rank is how far an ask goes: audit 0, approve 1, enforce 2.
func rank(a Ask) int {
	mode := Milder(a.Mode, ModeEnforce)
	if a.Parameters.Approval {
		mode = Milder(mode, ModeApprove)
	}
	return max(0, slices.Index([]Mode{ModeAudit, ModeApprove, ModeEnforce}, mode))
}

// merge adds an ask for the same action that does not go further, and says whether nothing of it is lost.
func (have *Planned) merge(ask Ask) bool {
	mine, other := have.Parameters, ask.Parameters
	mine.TTL, mine.OnExpiry, other.TTL, other.OnExpiry = "", "", "", "" // those of all asks count
	if parametersText(mine) == parametersText(other) || parametersText(other) == parametersText(Parameters{}) {
		return true
	}
	if have.Action != Label && have.Action != Annotate || rank(ask) < rank(have.Ask) {
		return false
	}
	labels, kept := union(mine.Labels, other.Labels)
	annotations, all := union(mine.Annotations, other.Annotations)
	have.Parameters.Labels, have.Parameters.Annotations = labels, annotations
	return kept && all
}

// union is both maps, a's values first, and whether nothing of b is lost.
func union(a, b map[string]string) (map[string]string, bool) {
	if len(b) == 0 {
		return a, true
	}
	all, kept := maps.Clone(b), true
	for key, value := range a {
		if held, ok := b[key]; ok && held != value {
			kept = false
		}
		all[key] = value
	}
	return all, kept
}

// parametersText tells parameters apart, and orders them.
func parametersText(p Parameters) string {
	detach, grace := "", ""
	if p.Detach != nil {
		detach = fmt.Sprint(*p.Detach)
	}
	if p.GracePeriodSeconds != nil {
		grace = fmt.Sprint(*p.GracePeriodSeconds)
	}
	p.Detach, p.GracePeriodSeconds = nil, nil
	return fmt.Sprintf("%q %q %+v", detach, grace, p) // maps are printed in order of their keys
}

// branch turns what cannot be done about the pod into what can.
func (p *planning) branch() {
	switch pod := p.event.Pod; {
	case pod == nil:
		p.branched = BranchHost
		p.branchHost()
	case pod.Static:
		p.branched = BranchStatic
		p.branchStatic()
	case pod.HostNetwork:
		p.branched = BranchHostNetwork
		p.branchHostNetwork()
	}
}

// branchHost leaves people to be told: no object of the API stands for a process of the node.
func (p *planning) branchHost() {
	cause := p.furthest(func(a Action) bool { return a != Notify })
	for _, action := range Actions() {
		if action != Notify {
			p.drop(action, "it happened in a process of the node, outside any pod: look at the node by hand")
		}
	}
	p.add(Notify, cause, "a process of the node is for people to look at")
}

// branchStatic keeps further pods from the node and tells people: the kubelet has such a pod from a file.
func (p *planning) branchStatic() {
	cause := p.furthest(Action.Contains)
	for _, action := range []Action{Annotate, Label, Isolate, Detach, Suspend, Scale, Evict, Delete} {
		p.drop(action, "the pod is static: the kubelet keeps it whatever the API says; remove its manifest from the node")
	}
	p.add(Cordon, cause, "the pod is static and stays where it is, so the node gets no more pods")
	p.add(Notify, cause, "the pod is static: somebody has to remove its manifest from the node")
}

// branchHostNetwork ends the pod where it was to be isolated, and keeps further pods from a node that was possibly escaped to (MITRE ATT&CK T1611).
func (p *planning) branchHostNetwork() {
	cause := p.chosen[Isolate]
	if cause == nil {
		return
	}
	cause = &Planned{Ask: cause.Ask}
	p.drop(Isolate, "the pod uses the network of its node, and network policies are not about such pods: it is evicted instead")
	if p.chosen[Delete] == nil || rank(p.chosen[Delete].Ask) < rank(cause.Ask) {
		p.add(Evict, cause, "the pod uses the network of its node and cannot be isolated")
	}
	switch {
	case slices.Contains(p.event.Tags, "T1611"):
		p.add(Cordon, cause, "the event may be an escape to the node (T1611)")
	case p.event.Pod.Privileged:
		p.add(Cordon, cause, "a privileged container on the network of its node may hold the node")
	}
}

// protect leaves out what would contain a pod that is protected, or change what it runs on.
func (p *planning) protect() {
	if p.event.Pod == nil {
		return
	}
	why := Protected(p.event.Pod, p.settings, p.facts)
	if why == "" {
		return
	}
	for _, action := range Actions() {
		planned := p.chosen[action]
		if planned == nil {
			continue
		}
		if action.Contains() || action == Label || action == Revoke || action == Condemn && planned.Parameters.Effect == EffectDeny {
			p.drop(action, "the pod is protected: "+why+"; act by hand, or change what is protected")
		}
	}
}

// follow makes actions fit the owner of the pod.
func (p *planning) follow() {
	p.followDetach()
	p.followIsolate()
	p.followScale()
	p.followSuspend()
	p.followCondemn()
	if evict := p.chosen[Evict]; evict != nil && p.event.Owner.direct().is("apps", "StatefulSet") {
		evict.addReason("the StatefulSet starts another pod with the same volumes: what was written there is there again")
	}
}

// detachable says whether the pod may be detached under the settings of a bundle.
func (p *planning) detachable(bundle string) (bool, string) {
	if p.event.Pod == nil || p.event.Pod.Static {
		return false, "there is no pod that the API could detach"
	}
	return Detachable(p.event.Owner.direct(), p.settings[bundle])
}

func (p *planning) followDetach() {
	detach := p.chosen[Detach]
	if detach == nil {
		return
	}
	if ok, why := p.detachable(detach.Bundle); !ok {
		p.drop(Detach, why)
	}
}

// followIsolate settles whether isolation also detaches, and what is done about traffic that remains.
func (p *planning) followIsolate() {
	isolate := p.chosen[Isolate]
	if isolate == nil {
		return
	}
	ok, why := p.detachable(isolate.Bundle)
	asked := isolate.Parameters.Detach
	detach := ok && (asked == nil || *asked)
	if asked == nil || *asked != detach {
		isolate.addReason(why)
	}
	isolate.Parameters.Detach = &detach
	if owner := p.event.Owner; detach && owner != nil && owner.Desired == 1 {
		isolate.addReason(fmt.Sprintf("it is the only pod of %s %s: its Services have none until the next one is ready", owner.Kind, owner.Name))
	}

	controller := p.event.Owner.direct()
	settings := p.settings[isolate.Bundle]
	if residual := cmp.Or(isolate.Parameters.Residual, settings.Residual); residual != "" {
		isolate.Parameters.Residual = residual
	} else if controller.is("apps", "StatefulSet") {
		isolate.Parameters.Residual = ResidualEvict
		isolate.addReason("if something remains possible the pod is evicted, and the next one gets its volumes")
	} else {
		isolate.Parameters.Residual = ResidualAlert
	}
	p.suspendAlong(isolate, controller)
}

// suspendAlong adds what keeps a job from starting the same thing again: a CronJob is suspended, which touches nothing that runs; a Job only if no
// other pod of it is deleted by that.
func (p *planning) suspendAlong(isolate *Planned, controller *Owner) {
	owner := p.event.Owner
	if p.chosen[Suspend] != nil || !*isolate.Parameters.Detach {
		return
	}
	cause := &Planned{Ask: isolate.Ask}
	switch {
	case owner.is("batch", "CronJob"):
		p.add(Suspend, cause, fmt.Sprintf("CronJob %s would start the same again; what runs is not touched", owner.Name))
	case controller.is("batch", "Job") && controller.Desired == 1:
		p.add(Suspend, cause, fmt.Sprintf("Job %s would start the same again", controller.Name))
	}
}

// followScale keeps the offender where its owner goes down to fewer pods: its evidence would go with it.
func (p *planning) followScale() {
	scale := p.chosen[Scale]
	if scale == nil {
		return
	}
	owner := p.event.Owner
	switch {
	case owner == nil:
		p.drop(Scale, "no controller stands above the pod: there is nothing to scale")
	case owner.is("apps", "DaemonSet"), owner.Group == "batch":
		p.drop(Scale, fmt.Sprintf("a %s has no number of replicas; use another action", owner.Kind))
	default:
		p.detachFirst(scale, "scaling down would end it")
	}
}

// followSuspend leaves a Job its pod only when that is detached: suspending deletes the active ones
// (https://kubernetes.io/docs/concepts/workloads/controllers/job/#suspending-a-job).
func (p *planning) followSuspend() {
	suspend := p.chosen[Suspend]
	if suspend == nil {
		return
	}
	switch owner := p.event.Owner; {
	case owner.is("batch", "CronJob"):
	case owner.direct().is("batch", "Job"):
		p.detachFirst(suspend, "suspending its Job would end it")
	default:
		p.drop(Suspend, "only Jobs and CronJobs are suspended; use scale for what has replicas")
	}
}

// detachFirst sees to it that the pod is detached before an action that would end it, if its controller lets it go.
func (p *planning) detachFirst(action *Planned, why string) {
	isolate, detach := p.chosen[Isolate], p.chosen[Detach]
	if detach != nil && rank(detach.Ask) >= rank(action.Ask) {
		return
	}
	if isolate != nil && *isolate.Parameters.Detach && rank(isolate.Ask) >= rank(action.Ask) {
		return
	}
	if ok, because := p.detachable(action.Bundle); !ok {
		action.addReason(fmt.Sprintf("it ends the pod, too: %s", because))
		return
	}
	delete(p.chosen, Detach)
	p.add(Detach, action, why)
}

// followCondemn names the image that is condemned.
func (p *planning) followCondemn() {
	condemn := p.chosen[Condemn]
	if condemn == nil {
		return
	}
	switch cmp.Or(condemn.Parameters.Scope, ScopeDigest) {
	case ScopeDigest:
		condemn.Parameters.Scope, condemn.Digest = ScopeDigest, p.event.Container.Digest
	case ScopeOwner:
		if p.event.Owner == nil {
			p.drop(Condemn, "no controller stands above the pod; condemn its digest or service account")
		}
	case ScopeServiceAccount:
		if p.event.Pod == nil || p.event.Pod.ServiceAccount == "" {
			p.drop(Condemn, "the pod has no service account; condemn its digest")
		}
	}
}

// keepEvidence sees to it that evidence is kept before anything is taken from the pod.
func (p *planning) keepEvidence() {
	cause := p.furthest(Action.Contains)
	if cause == nil {
		return
	}
	if have := p.chosen[Snapshot]; have == nil || rank(have.Ask) < rank(cause.Ask) {
		delete(p.chosen, Snapshot)
		p.add(Snapshot, cause, "evidence is kept before anything is taken from the pod")
		// What is kept waits for nobody: a person who is asked may come when the pod is gone.
		p.chosen[Snapshot].Mode = ModeEnforce
		if rank(cause.Ask) == 0 {
			p.chosen[Snapshot].Mode = ModeAudit
		}
	}
}

// settle leaves out what is only recorded, where something that contains is more than that: a plan is
// either carried out or recorded.
func (p *planning) settle() {
	if p.mode() == ModeAudit {
		return
	}
	for action, planned := range p.chosen {
		if action.Contains() && Milder(planned.Mode, ModeEnforce) == ModeAudit {
			p.drop(action, fmt.Sprintf("policy %s only records here; the mode of its bundle, namespace or policy would have to allow more", planned.Policy))
		}
	}
}

// mode is how far what contains goes.
func (p *planning) mode() Mode {
	mode := ModeAudit
	for action, planned := range p.chosen {
		if action.Contains() && Milder(planned.Mode, mode) == mode {
			mode = Milder(planned.Mode, ModeEnforce)
		}
	}
	return mode
}

// plan writes the plan.
func (p *planning) plan(asks []Ask) *Plan {
	plan := &Plan{Event: *p.event, Mode: p.mode(), Refused: p.refused, Branch: p.branched}
	if p.event.Pod != nil {
		plan.Name = QuarantineName(p.event.Pod.UID)
	}
	for _, action := range p.order() {
		if planned := p.chosen[action]; planned != nil {
			plan.Actions = append(plan.Actions, *planned)
		}
	}
	slices.SortFunc(plan.Refused, func(a, b Refused) int {
		return cmp.Or(cmp.Compare(a.Action, b.Action), cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Reason, b.Reason))
	})
	plan.Refused = slices.Compact(plan.Refused)
	plan.TTL, plan.OnExpiry = p.ending(asks)
	return plan
}

// order is that of [Actions], but that a CronJob is suspended before anything is done about the pod: it could start the next one meanwhile.
func (p *planning) order() []Action {
	order := Actions()
	if p.event.Owner.is("batch", "CronJob") {
		order = slices.DeleteFunc(order, func(a Action) bool { return a == Suspend })
		order = slices.Insert(order, slices.Index(order, Isolate), Suspend)
	}
	return order
}

// ending is when and how it ends by itself: the longest time that anybody asks for, and release unless all who say something say delete.
func (p *planning) ending(asks []Ask) (time.Duration, string) {
	var ttl time.Duration
	var onExpiry string
	say := func(what string) {
		if what != "" && onExpiry != OnExpiryRelease {
			onExpiry = what
		}
	}
	for _, ask := range asks {
		if planned := p.chosen[ask.Action]; planned == nil {
			continue
		}
		settings := p.settings[ask.Bundle]
		ttl = max(ttl, orDefault(ask.Parameters.TTL, settings.Times().TTL))
		say(cmp.Or(ask.Parameters.OnExpiry, settings.OnExpiry))
	}
	if ttl == 0 {
		ttl = (&Settings{}).Times().TTL
	}
	return ttl, cmp.Or(onExpiry, OnExpiryRelease)
}

// furthest is the chosen action that goes furthest, of those that are looked for, nil if there is none.
func (p *planning) furthest(looked func(Action) bool) *Planned {
	var best *Planned
	for _, action := range Actions() {
		planned := p.chosen[action]
		if planned != nil && looked(action) && (best == nil || rank(planned.Ask) > rank(best.Ask)) {
			best = &Planned{Ask: planned.Ask}
		}
	}
	return best
}

// add plans an action that follows from another one, unless there is one that goes as far; cause is nil where nothing follows.
func (p *planning) add(action Action, cause *Planned, reason string) {
	if cause == nil {
		return
	}
	if have := p.chosen[action]; have != nil && rank(have.Ask) >= rank(cause.Ask) {
		return
	}
	ask := cause.Ask
	ask.Action, ask.Parameters = action, Parameters{Approval: cause.Parameters.Approval}
	p.chosen[action] = &Planned{Ask: ask, Reason: reason}
}

// drop refuses an action that was chosen.
func (p *planning) drop(action Action, reason string) {
	if planned := p.chosen[action]; planned != nil {
		p.refuse(planned.Ask, reason)
		delete(p.chosen, action)
	}
}

// maxReason bounds a reason, which is kept in an object of the API.
const maxReason = 1000

func (p *planning) refuse(ask Ask, reason string) {
	p.refused = append(p.refused, Refused{Action: ask.Action, Policy: ask.Policy, Reason: strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "")})
}

func (planned *Planned) addReason(reason string) {
	if planned.Reason != "" {
		reason = planned.Reason + "; " + reason
	}
	planned.Reason = reason
}

package quarantine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/runtime/containment"
	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/runtime/notify"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// contain takes all actions, one by one, escalates where the proof says so, and ends in Contained.
func (c *Controller) contain(ctx context.Context, q *v1alpha1.Quarantine) (time.Duration, error) {
	if reason := c.ending(q); reason != "" {
		return 0, c.enter(ctx, q, v1alpha1.PhaseReleasing, reason)
	}
	again, err := c.takeAll(ctx, q, acts)
	if err != nil {
		return 0, err
	}
	if again > 0 { // what is to be tried again keeps nobody from looking after what is done
		if wait := c.untilProof(q.Name); wait > 0 || !done(&q.Status, string(response.Isolate)) {
			return again, nil
		}
		return again, c.prove(ctx, q)
	}
	if err := c.prove(ctx, q); err != nil {
		return 0, err
	}
	if again, err := c.escalate(ctx, q); err != nil || again > 0 {
		return again, err
	}
	complete := c.completeCondition(q)
	if err := c.write(ctx, q, func(s *v1alpha1.QuarantineStatus) { c.condition(s, complete) }); err != nil {
		return 0, err
	}
	return 0, c.enter(ctx, q, v1alpha1.PhaseContained, complete.Message)
}

// takeAll takes those actions of the plan that are wanted and due, in their order, evidence beside the others. What fails does not keep back what
// does not need it. It says after what time to look again, 0 where nothing is left.
func (c *Controller) takeAll(ctx context.Context, q *v1alpha1.Quarantine, wanted func(response.Planned) bool) (time.Duration, error) {
	capture, err := c.beginCapture(ctx, q, wanted)
	if err != nil {
		return 0, err
	}
	defer capture.stop()
	capture.wait(ctx, c.o.SnapshotHead)
	for {
		a, ok, at := c.due(q, wanted)
		switch {
		case ok:
			if err := c.takeUnless(ctx, q, a); err != nil {
				return 0, err
			}
			continue
		case capture.running():
			if err := c.endCapture(ctx, q, capture); err != nil {
				return 0, err
			}
			continue
		case !at.IsZero():
			return max(at.Sub(c.o.Now()), time.Millisecond), nil
		}
		return 0, nil
	}
}

// takeUnless takes an action, unless there is a reason not to that has come up since it was planned.
func (c *Controller) takeUnless(ctx context.Context, q *v1alpha1.Quarantine, a response.Planned) error {
	why := wouldDestroy(q, a)
	if a.Action == response.Cordon && why == "" {
		var err error
		if why, err = c.overNodes(ctx, q); err != nil {
			return err
		}
	}
	if why != "" {
		return c.write(ctx, q, func(s *v1alpha1.QuarantineStatus) { c.skip(s, string(a.Action), why) })
	}
	return c.take(ctx, q, string(a.Action), a, a.Action != response.Notify, c.actOf(a))
}

// due is the first action that can be taken now; otherwise when one that has failed is tried again, the zero time for none.
func (c *Controller) due(q *v1alpha1.Quarantine, wanted func(response.Planned) bool) (a response.Planned, ok bool, at time.Time) {
	for _, a := range q.Spec.Actions {
		step := stepOf(&q.Status, string(a.Action))
		switch {
		case a.Action == response.Snapshot || !wanted(a) || settled(step):
			if a.Action == response.Snapshot && wanted(a) && step != nil && step.State == v1alpha1.StepFailed && step.Next != nil {
				at = earlier(at, step.Next.Time)
			}
		case waitsForApproval(a) && q.Spec.Approval == nil:
		case blocked(q, a, wanted):
		case step != nil && step.Next != nil && step.Next.After(c.o.Now()):
			at = earlier(at, step.Next.Time)
		default:
			return a, true, time.Time{}
		}
	}
	return response.Planned{}, false, at
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// blocked says that an action has to wait for another one. What destroys waits for evidence, and what makes a controller delete pods waits
// until the pod is none of them.
func blocked(q *v1alpha1.Quarantine, a response.Planned, wanted func(response.Planned) bool) bool {
	waitsFor := func(action response.Action) bool {
		return slices.ContainsFunc(q.Spec.Actions, func(other response.Planned) bool {
			return other.Action == action && wanted(other) && !settled(stepOf(&q.Status, string(action))) &&
				(action == response.Snapshot || !waitsForApproval(other) || q.Spec.Approval != nil)
		})
	}
	if touchesNoPod(q, a) {
		return false
	}
	return a.Action.Destructive() && waitsFor(response.Snapshot) ||
		(a.Action == response.Scale || a.Action == response.Suspend) && (waitsFor(response.Detach) || isolationDetaches(q) && waitsFor(response.Isolate))
}

// touchesNoPod says that an action leaves alone what runs: a CronJob that is suspended starts no further Jobs, and nothing else.
func touchesNoPod(q *v1alpha1.Quarantine, a response.Planned) bool {
	return a.Action == response.Suspend && q.Spec.Owner != nil && q.Spec.Owner.Group == "batch" && q.Spec.Owner.Kind == "CronJob"
}

// isolationDetaches says that isolating takes the pod from its controller, too.
func isolationDetaches(q *v1alpha1.Quarantine) bool {
	isolate, ok := planned(q, response.Isolate)
	return ok && isolate.Parameters.Detach != nil && *isolate.Parameters.Detach
}

// wouldDestroy says why an action must not be taken any more: it ends the pod with what could still be found out from it.
func wouldDestroy(q *v1alpha1.Quarantine, a response.Planned) string {
	if a.Action != response.Scale && a.Action != response.Suspend || q.Status.PodGone || touchesNoPod(q, a) {
		return ""
	}
	for _, detaching := range []response.Action{response.Detach, response.Isolate} {
		step := stepOf(&q.Status, string(detaching))
		if step != nil && givenUp(step) && (detaching == response.Detach || isolationDetaches(q)) {
			return fmt.Sprintf("the pod could not be taken from its controller (%s), which would delete it; act by hand", detaching)
		}
	}
	return ""
}

// actOf is how an action of a plan is taken.
func (c *Controller) actOf(a response.Planned) act {
	if a.Action != response.Notify {
		return c.o.Cluster.Do
	}
	return func(_ context.Context, q *v1alpha1.Quarantine, a response.Planned) (containment.Outcome, error) {
		at := c.o.Now()
		if s := stepOf(&q.Status, string(a.Action)); s != nil && s.Started != nil {
			at = s.Started.Time // the same message after a crash
		}
		c.tell(notify.KindTold, q, at, a.Message)
		return containment.Outcome{Result: "handed to the receivers of notifications"}, nil
	}
}

// ending says why a quarantine ends, "" where it does not.
func (c *Controller) ending(q *v1alpha1.Quarantine) string {
	switch s := q.Spec.Release; {
	case s != nil:
		return fmt.Sprintf("released by %s: %s", s.By, s.Reason)
	case !c.expires(q).After(c.o.Now()):
		return fmt.Sprintf("its time of %s is over", lasting(q))
	}
	return ""
}

// expires is when it ends by itself.
func (c *Controller) expires(q *v1alpha1.Quarantine) time.Time {
	if q.Status.Admitted == nil {
		return q.CreationTimestamp.Add(lasting(q))
	}
	return q.Status.Admitted.Add(lasting(q))
}

// planned is an action of the plan, and whether it is there and to be taken.
func planned(q *v1alpha1.Quarantine, action response.Action) (response.Planned, bool) {
	n := slices.IndexFunc(q.Spec.Actions, func(a response.Planned) bool { return a.Action == action && acts(a) })
	if n < 0 {
		return response.Planned{}, false
	}
	return q.Spec.Actions[n], true
}

// escalate does what is asked for where the pod is not isolated after all, once.
func (c *Controller) escalate(ctx context.Context, q *v1alpha1.Quarantine) (time.Duration, error) {
	isolate, asked := planned(q, response.Isolate)
	open := q.Status.Verdict == string(isolation.Residual) || q.Status.Verdict == string(isolation.Unenforceable)
	if !asked || !open || q.Status.PodGone || waitsForApproval(isolate) && q.Spec.Approval == nil {
		return 0, nil
	}
	how := cmp.Or(isolate.Parameters.Residual, q.Spec.Settings.Residual, response.ResidualAlert)
	action, ok := map[string]response.Action{
		response.ResidualEvict: response.Evict, response.ResidualDelete: response.Delete, response.ResidualRestrict: response.Restrict,
	}[how]
	if _, twice := planned(q, action); !ok || twice {
		return 0, nil // the verdict was told, which is all that alert asks for
	}
	name := escalatePrefix + string(action)
	step := stepOf(&q.Status, name)
	switch {
	case action == response.Restrict && step != nil && step.State == v1alpha1.StepDone:
		return 0, c.restrictAgain(ctx, q, isolate, step)
	case settled(step):
		return 0, nil
	case step != nil && step.Next != nil && step.Next.After(c.o.Now()):
		return step.Next.Sub(c.o.Now()), nil
	case action.Destructive():
		if again, err := c.evidence(ctx, q); err != nil || again > 0 {
			return again, err
		}
	}
	if err := c.take(ctx, q, name, escalation(q, isolate, action), true, c.o.Cluster.Do); err != nil {
		return 0, err
	}
	if step := stepOf(&q.Status, name); step != nil && step.Next != nil {
		return max(step.Next.Sub(c.o.Now()), time.Millisecond), nil
	}
	return 0, c.prove(ctx, q)
}

// escalation is the action that follows where isolation has left something open.
func escalation(q *v1alpha1.Quarantine, isolate response.Planned, action response.Action) response.Planned {
	more := response.Planned{Ask: isolate.Ask, Reason: fmt.Sprintf("the pod is not isolated (%s), and residual asks for it then", q.Status.Verdict)}
	more.Action, more.Mode = action, response.ModeEnforce
	return more
}

// restrictAgain narrows NetworkPolicies again that allow something again, or allow it newly.
func (c *Controller) restrictAgain(ctx context.Context, q *v1alpha1.Quarantine, isolate response.Planned, step *v1alpha1.Step) error {
	allowed := slices.ContainsFunc(q.Status.Residual, func(flow string) bool { return strings.Contains(flow, ": NetworkPolicy ") })
	if !allowed || step.Reapplied > maxReapplied {
		return nil
	}
	if err := c.again(ctx, q, step.Name, escalation(q, isolate, response.Restrict), "a NetworkPolicy allows something again"); err != nil {
		return err
	}
	return c.prove(ctx, q)
}

// evidence sees to it that there is some before the pod is ended, though the plan did not ask for it.
func (c *Controller) evidence(ctx context.Context, q *v1alpha1.Quarantine) (time.Duration, error) {
	if settled(stepOf(&q.Status, string(response.Snapshot))) {
		return 0, nil
	}
	capture, err := c.startCapture(ctx, q)
	if err != nil {
		return 0, err
	}
	if capture == nil {
		return firstPause, nil
	}
	defer capture.stop()
	if err := c.endCapture(ctx, q, capture); err != nil {
		return 0, err
	}
	if step := stepOf(&q.Status, string(response.Snapshot)); step.Next != nil {
		return max(step.Next.Sub(c.o.Now()), time.Millisecond), nil
	}
	return 0, nil
}

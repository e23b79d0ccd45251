package quarantine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// release takes back what was done, the policy that isolates last, and ends in Released. What fails is tried again for as long as it takes:
// a pod that is cut off and that nobody knows of helps nobody.
func (c *Controller) release(ctx context.Context, q *v1alpha1.Quarantine) (time.Duration, error) {
	if q.Spec.Release == nil && q.Spec.OnExpiry == response.OnExpiryDelete && !q.Status.PodGone {
		if again, err := c.endPod(ctx, q); err != nil || again > 0 {
			return again, err
		}
	}
	var at time.Time
	for _, a := range undoable(q) {
		name := releasePrefix + string(a.Action)
		step := stepOf(&q.Status, name)
		if step != nil && step.Next != nil && step.Next.After(c.o.Now()) {
			at = earlier(at, step.Next.Time)
			if a.Action == response.Detach { // what isolates is only taken away once the pod is back in its place, or gone
				break
			}
			continue
		}
		if a.Action == response.Isolate && !at.IsZero() {
			break
		}
		if err := c.take(ctx, q, name, a, false, c.o.Cluster.Undo); err != nil {
			return 0, err
		}
		if step := stepOf(&q.Status, name); step.Next != nil {
			at = earlier(at, step.Next.Time)
		} else if err := c.write(ctx, q, func(s *v1alpha1.QuarantineStatus) { c.takenBack(s, a.Action) }); err != nil {
			return 0, err
		}
	}
	if !at.IsZero() {
		return max(at.Sub(c.o.Now()), time.Millisecond), nil
	}
	if err := c.ledgerRelease(ctx, q); err != nil {
		return 0, err
	}
	c.forget(q.Name)
	return 0, c.enter(ctx, q, v1alpha1.PhaseReleased, q.Status.Reason)
}

// takenBack marks the steps of an action as undone.
func (c *Controller) takenBack(s *v1alpha1.QuarantineStatus, action response.Action) {
	for _, name := range []string{string(action), escalatePrefix + string(action)} {
		if step := stepOf(s, name); step != nil && step.State != v1alpha1.StepSkipped {
			step.State = v1alpha1.StepUndone
		}
	}
	if action == response.Condemn {
		s.Incidents = nil
	}
	if action == response.Isolate {
		s.Connections = ""
	}
}

// reversible are the actions that can be taken back, in that order: others go on before the pod is let go, and what cuts it off
// goes last.
func reversible() []response.Action {
	return []response.Action{
		response.Scale, response.Suspend, response.Cordon, response.Condemn, response.Label, response.Annotate, response.Detach, response.Restrict, response.Isolate,
	}
}

// undoable are the actions that were begun and are not taken back yet. One that failed may have been done in part. Incidents outlive a
// quarantine whose time is over: they have a time of their own, and only a person lifts them.
func undoable(q *v1alpha1.Quarantine) []response.Planned {
	var all []response.Planned
	for _, action := range reversible() {
		if action == response.Condemn && q.Spec.Release == nil {
			continue
		}
		began := slices.ContainsFunc([]string{string(action), escalatePrefix + string(action)}, func(name string) bool {
			s := stepOf(&q.Status, name)
			return s != nil && (s.State == v1alpha1.StepDone || s.State == v1alpha1.StepRunning || s.State == v1alpha1.StepFailed)
		})
		if !began || settledRelease(stepOf(&q.Status, releasePrefix+string(action))) {
			continue
		}
		a := response.Planned{Ask: response.Ask{Action: action, Mode: response.ModeEnforce}}
		if n := slices.IndexFunc(q.Spec.Actions, func(p response.Planned) bool { return p.Action == action }); n >= 0 {
			a = q.Spec.Actions[n]
		}
		all = append(all, a)
	}
	return all
}

func settledRelease(s *v1alpha1.Step) bool {
	return s != nil && (s.State == v1alpha1.StepDone || s.State == v1alpha1.StepSkipped)
}

// endPod ends the pod whose time in quarantine is over, where that was asked for, with its evidence kept.
func (c *Controller) endPod(ctx context.Context, q *v1alpha1.Quarantine) (time.Duration, error) {
	const name = releasePrefix + string(response.Delete)
	step := stepOf(&q.Status, name)
	switch {
	case settledRelease(step):
		return 0, nil
	case step != nil && step.Next != nil && step.Next.After(c.o.Now()):
		return step.Next.Sub(c.o.Now()), nil
	}
	if again, err := c.evidence(ctx, q); err != nil || again > 0 {
		return again, err
	}
	a := response.Planned{Ask: response.Ask{Action: response.Delete, Mode: response.ModeEnforce, Message: "its time in quarantine is over"}}
	if err := c.take(ctx, q, name, a, true, c.o.Cluster.Do); err != nil {
		return 0, err
	}
	if step := stepOf(&q.Status, name); step.Next != nil {
		return max(step.Next.Sub(c.o.Now()), time.Millisecond), nil
	}
	return 0, nil
}

// ledgerRelease lets others be contained in its place.
func (c *Controller) ledgerRelease(ctx context.Context, q *v1alpha1.Quarantine) error {
	err := c.ledger.change(ctx, func(l *response.Ledger) { l.End(q.Name, c.o.Now()) })
	if err != nil {
		return fmt.Errorf("ending the quarantine %s in the ledger: %w", strings.TrimSpace(q.Name), err)
	}
	return nil
}

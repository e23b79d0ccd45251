package quarantine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/portcullis-dev/portcullis/runtime/containment"
	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/runtime/notify"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// keep looks after a pod in quarantine: whether it is to end, whether more was asked for, whether somebody has undone
// something, and whether the proof still holds.
func (c *Controller) keep(ctx context.Context, q *v1alpha1.Quarantine) (time.Duration, error) {
	if reason := c.ending(q); reason != "" {
		return 0, c.enter(ctx, q, v1alpha1.PhaseReleasing, reason)
	}
	if _, more, at := c.due(q, acts); more || !at.IsZero() {
		return 0, c.enter(ctx, q, v1alpha1.PhaseContaining, "more was asked for")
	}
	left := c.expires(q).Sub(c.o.Now())
	if q.Status.PodGone {
		return left, nil
	}
	if wait := c.untilProof(q.Name); wait > 0 {
		return min(wait, left), nil
	}
	// First of all: in a cluster that was restored, a node or an owner of the name may be another one.
	there, err := c.pod(ctx, q)
	if err != nil {
		return 0, err
	}
	if there == nil {
		return left, c.gone(ctx, q)
	}
	if err := c.reapply(ctx, q); err != nil {
		return 0, err
	}
	if err := c.prove(ctx, q); err != nil {
		return 0, err
	}
	if again, err := c.escalate(ctx, q); err != nil || again > 0 {
		return again, err
	}
	return min(c.reproveEvery(), max(left, time.Millisecond)), nil
}

// proofsApart is the time between two proofs that only the clock asks for: each lists pods and policies of the cluster, and a hundred quarantines
// must be no load for the API server.
const proofsApart = 2 * time.Second

// reproveEvery is the time between two proofs of one pod while nothing changes that is watched.
func (c *Controller) reproveEvery() time.Duration {
	return max(c.o.Reprove, time.Duration(c.contained())*proofsApart)
}

// contained counts the pods in quarantine that are still there.
func (c *Controller) contained() (n int) {
	c.mu.Lock()
	informer := c.informer
	c.mu.Unlock()
	if informer == nil {
		return 0
	}
	for _, object := range informer.GetStore().List() {
		o, ok := object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		phase, _, _ := unstructured.NestedString(o.Object, "status", "phase")
		gone, _, _ := unstructured.NestedBool(o.Object, "status", "podGone")
		if phase == string(v1alpha1.PhaseContained) && !gone {
			n++
		}
	}
	return n
}

// untilProof is how long the last proof of a quarantine is good.
func (c *Controller) untilProof(name string) time.Duration {
	every := c.reproveEvery()
	c.mu.Lock()
	defer c.mu.Unlock()
	return every - c.o.Now().Sub(c.proved[name])
}

// prove says what traffic remains possible now, and tells of what has changed.
func (c *Controller) prove(ctx context.Context, q *v1alpha1.Quarantine) error {
	began := c.o.Now()
	if _, asked := planned(q, response.Isolate); !asked || q.Status.PodGone {
		return c.look(ctx, q)
	}
	bounded, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	var report isolation.Report
	err := guard(func() (err error) {
		report, err = c.o.Cluster.Prove(bounded, q)
		return err
	})
	switch {
	case errors.Is(err, containment.ErrGone):
		return c.gone(ctx, q)
	case err != nil && ctx.Err() == nil:
		// A proof that cannot be made proves nothing: what was said before must not stand.
		c.log.Error("proving an isolation: it is tried again", "quarantine", q.Name, "error", err)
		report = isolation.Report{Verdict: isolation.Unverified, Connections: q.Status.Connections, Notes: []string{"the proof failed: " + err.Error()}}
	case err != nil:
		return context.Cause(ctx)
	}
	c.mu.Lock()
	c.proved[q.Name] = began
	c.mu.Unlock()
	before := q.Status
	described := before
	described.Conditions = slices.Clone(before.Conditions)
	c.describe(&described, &report)
	if described.Verdict == before.Verdict && described.Connections == before.Connections && slices.Equal(described.Residual, before.Residual) {
		return nil
	}
	if err := c.write(ctx, q, func(s *v1alpha1.QuarantineStatus) { c.describe(s, &report) }); err != nil {
		return err
	}
	if before.Verdict != "" && before.Verdict != q.Status.Verdict {
		c.o.Metrics.changed(before.Verdict, q.Status.Verdict)
		c.record(q, "verdict", before.Verdict, q.Status.Verdict, strings.Join(q.Status.Residual, "; "))
		c.tell(notify.KindVerdictChanged, q, c.o.Now(), fmt.Sprintf("it was %s and is %s", before.Verdict, q.Status.Verdict))
	}
	return nil
}

// look finds out whether a pod is still there that nothing is proved about.
func (c *Controller) look(ctx context.Context, q *v1alpha1.Quarantine) error {
	c.mu.Lock()
	c.proved[q.Name] = c.o.Now()
	c.mu.Unlock()
	if q.Status.PodGone {
		return nil
	}
	there, err := c.pod(ctx, q)
	if err != nil {
		return err
	}
	if there == nil {
		return c.gone(ctx, q)
	}
	return nil
}

// gone writes down that the pod is. Its incidents stay, and so does what was done to others.
func (c *Controller) gone(ctx context.Context, q *v1alpha1.Quarantine) error {
	if err := c.write(ctx, q, func(s *v1alpha1.QuarantineStatus) { s.PodGone = true }); err != nil {
		return err
	}
	c.log.Info("the pod of a quarantine is gone", "quarantine", q.Name, "pod", q.Spec.Pod.Namespace+"/"+q.Spec.Pod.Name)
	return c.ledgerEnd(ctx, q)
}

// ledgerEnd lets others of its owner be contained where this pod is none of them any more. A node that is cordoned stays counted.
func (c *Controller) ledgerEnd(ctx context.Context, q *v1alpha1.Quarantine) error {
	if !q.Status.Phase.Over() && done(&q.Status, string(response.Cordon)) {
		return nil
	}
	return c.ledger.change(ctx, func(l *response.Ledger) { l.End(q.Name, c.o.Now()) })
}

// maxReapplied is how often an action is done again that somebody undoes. Whoever it is, an autoscaler or what applies a repository, will not
// stop; a person has to.
const maxReapplied = 10

// reapply does again what somebody has undone.
func (c *Controller) reapply(ctx context.Context, q *v1alpha1.Quarantine) error {
	for _, a := range q.Spec.Actions {
		step := stepOf(&q.Status, string(a.Action))
		if !acts(a) || step == nil || step.State != v1alpha1.StepDone || step.Reapplied > maxReapplied {
			continue
		}
		undone, err := c.undone(ctx, q, a)
		if errors.Is(err, containment.ErrGone) {
			return c.gone(ctx, q)
		}
		if err != nil {
			return fmt.Errorf("looking whether %s still holds: %w", a.Action, err)
		}
		if undone == "" {
			continue
		}
		if err := c.again(ctx, q, step.Name, a, undone); err != nil {
			return err
		}
	}
	return nil
}

// again does an action again, and says so.
func (c *Controller) again(ctx context.Context, q *v1alpha1.Quarantine, name string, a response.Planned, undone string) error {
	err := c.write(ctx, q, func(s *v1alpha1.QuarantineStatus) {
		step := recorded(s, name)
		step.Reapplied++
		c.condition(s, stableCondition(step, undone))
	})
	if err != nil {
		return err
	}
	times := stepOf(&q.Status, name).Reapplied
	c.record(q, name, "", "Reverted", undone)
	c.o.Metrics.reverted(name)
	c.log.Warn("somebody has undone a step of a quarantine", "quarantine", q.Name, "step", name, "what", undone, "times", times)
	if times == 1 || times > maxReapplied {
		c.tell(notify.KindReverted, q, c.o.Now(), fmt.Sprintf("%s: %s, %d times by now", name, undone, times))
	}
	if times > maxReapplied {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	outcome, err := c.o.Cluster.Do(bounded, q, a)
	if errors.Is(err, containment.ErrGone) {
		return c.gone(ctx, q)
	}
	if err != nil {
		return fmt.Errorf("doing %s again: %w", name, err)
	}
	if outcome.Report == nil {
		return nil
	}
	return c.write(ctx, q, func(s *v1alpha1.QuarantineStatus) { c.describe(s, outcome.Report) })
}

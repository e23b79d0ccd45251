package quarantine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/runtime/notify"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// maxMoves bounds how many phases one look takes a quarantine through: there are fewer.
const maxMoves = 12

// settle takes a quarantine as far as it can be taken now, and says after what time to look again; 0 is when something
// happens.
func (c *Controller) settle(ctx context.Context, name string) (time.Duration, error) {
	q, err := c.objects.get(ctx, name)
	if apierrors.IsNotFound(err) {
		c.forget(name)
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the Quarantine: %w", err)
	}
	for range maxMoves {
		before, life := q.Status.Phase, q.Status.Reopened
		again, err := c.move(ctx, q)
		switch {
		case errors.Is(err, errMoved), apierrors.IsNotFound(err):
			return firstPause, nil // another replica acts, or somebody has deleted it: look at what is there now
		case err != nil:
			return 0, err
		case q.Status.Phase == before && q.Status.Reopened == life:
			return again, nil
		}
	}
	return firstPause, nil
}

// move does what the phase of a quarantine calls for.
func (c *Controller) move(ctx context.Context, q *v1alpha1.Quarantine) (time.Duration, error) {
	switch phase := q.Status.Phase; {
	case phase.Over() && q.Spec.Reopened > q.Status.Reopened:
		return 0, c.reopen(ctx, q)
	case phase == v1alpha1.PhaseAudited && q.Spec.Release != nil && len(undoable(q)) > 0:
		return 0, c.enter(ctx, q, v1alpha1.PhaseReleasing, "")
	case phase.Over():
		return 0, nil
	case phase == v1alpha1.PhaseContaining:
		return c.contain(ctx, q)
	case phase == v1alpha1.PhaseContained:
		return c.keep(ctx, q)
	case phase == v1alpha1.PhaseReleasing:
		return c.release(ctx, q)
	default:
		return c.admit(ctx, q)
	}
}

// enter goes on to a phase.
func (c *Controller) enter(ctx context.Context, q *v1alpha1.Quarantine, phase v1alpha1.Phase, reason string) error {
	from := q.Status.Phase
	err := c.write(ctx, q, func(s *v1alpha1.QuarantineStatus) {
		s.Phase, s.Reason = phase, cut(reason, maxResult)
		switch {
		case phase == v1alpha1.PhaseContaining && s.Admitted == nil:
			s.Admitted = c.stamp()
		case phase == v1alpha1.PhaseContained:
			s.Contained = c.stamp()
		case phase.Over():
			s.Ended = c.stamp()
		}
	})
	if err != nil {
		return err
	}
	c.log.Info("a quarantine has gone on", "quarantine", q.Name, "pod", q.Spec.Pod.Namespace+"/"+q.Spec.Pod.Name, "from", from, "to", phase, "reason", reason, "verdict", q.Status.Verdict)
	c.record(q, "phase", string(from), string(phase), reason)
	if kind := announced(phase); kind != "" {
		c.tell(kind, q, c.o.Now(), reason)
	}
	return nil
}

// announced is what people are told of a phase.
func announced(phase v1alpha1.Phase) notify.Kind {
	switch phase {
	case v1alpha1.PhaseAwaitingApproval:
		return notify.KindAwaitingApproval
	case v1alpha1.PhaseContaining:
		return notify.KindContaining
	case v1alpha1.PhaseContained:
		return notify.KindContained
	case v1alpha1.PhaseReleased:
		return notify.KindReleased
	case v1alpha1.PhaseRefused:
		return notify.KindRefused
	case v1alpha1.PhaseAudited:
		return notify.KindAudited
	default:
		return ""
	}
}

// reopen begins a life of its own for a pod that was reported again.
func (c *Controller) reopen(ctx context.Context, q *v1alpha1.Quarantine) error {
	const keptLives = 5 // as the schema allows
	return c.write(ctx, q, func(s *v1alpha1.QuarantineStatus) {
		earlier := append(s.Earlier, v1alpha1.Earlier{Phase: s.Phase, Reason: s.Reason, Admitted: s.Admitted, Ended: s.Ended, Verdict: s.Verdict})
		*s = v1alpha1.QuarantineStatus{
			Phase: v1alpha1.PhasePending, Reopened: q.Spec.Reopened, Earlier: earlier[max(len(earlier)-keptLives, 0):],
			Evidence: s.Evidence, Incidents: s.Incidents, Revoked: s.Revoked,
		}
	})
}

// admit decides what becomes of a quarantine that is new, or waits for a person.
func (c *Controller) admit(ctx context.Context, q *v1alpha1.Quarantine) (time.Duration, error) {
	if q.Spec.Release != nil {
		return 0, c.enter(ctx, q, v1alpha1.PhaseReleased, fmt.Sprintf("released by %s before anything was done: %s", q.Spec.Release.By, q.Spec.Release.Reason))
	}
	if reason := recordsOnly(q); reason != "" {
		return c.audit(ctx, q, reason)
	}
	waiting := q.Status.Phase == v1alpha1.PhaseAwaitingApproval
	needsApproval := q.Spec.Mode == response.ModeApprove && q.Spec.Approval == nil
	if waiting && needsApproval {
		return c.await(ctx, q)
	}
	refusal, opened, err := c.count(ctx, q, !waiting, needsApproval)
	switch {
	case err != nil:
		return 0, err
	case !opened.IsZero():
		c.openBreaker(q, opened)
		return c.audit(ctx, q, fmt.Sprintf("the circuit breaker is open since %s: more is asked for than can be true; see what asks, then delete the Lease %s to close it",
			opened.UTC().Format(time.RFC3339), c.ledger.name))
	case needsApproval:
		return 0, c.enter(ctx, q, v1alpha1.PhaseAwaitingApproval, fmt.Sprintf("waits for a person: portcullis quarantine approve %s", q.Name))
	case refusal != "":
		c.o.Metrics.refused(refusal)
		return 0, c.enter(ctx, q, v1alpha1.PhaseRefused, refusal)
	}
	return 0, c.enter(ctx, q, v1alpha1.PhaseContaining, "")
}

// recordsOnly says why nothing that contains is done, "" where something is.
func recordsOnly(q *v1alpha1.Quarantine) string {
	switch {
	case !slices.ContainsFunc(q.Spec.Actions, containing):
		return "no policy that is enforced asks for anything that contains"
	case q.Spec.Mode == response.ModeAudit:
		return "the mode is audit: nothing that contains is done"
	}
	return ""
}

// containing says that an action is to be taken and takes something from the pod or its owner.
func containing(a response.Planned) bool { return acts(a) && a.Action.Contains() }

// count counts a quarantine: for the breaker, where it is new, and against the limits, unless it waits for a person first. It is one write for both.
func (c *Controller) count(ctx context.Context, q *v1alpha1.Quarantine, proposed, waits bool) (refusal string, opened time.Time, err error) {
	settings := q.Spec.Settings
	number, err := c.counted(ctx, q)
	if err != nil {
		return "", time.Time{}, err
	}
	err = c.ledger.change(ctx, func(l *response.Ledger) {
		now := c.o.Now() // after what is counted already: another one may have been faster
		refusal, opened = "", time.Time{}
		var open bool
		var since time.Time
		switch {
		case q.Spec.Approval != nil: // a person has looked, which is what the breaker waits for
		case proposed:
			open, since = l.Proposed(now, settings)
		default:
			open, since = l.Open(now, settings)
		}
		if open {
			opened = since
			return
		}
		if !waits {
			refusal = l.Admit(entryOf(q, now), number, settings, now)
		}
	})
	c.closeBreaker()
	return refusal, opened, err
}

// overNodes says which limit keeps a node from being cordoned, "" for none. The action may have been added to a quarantine that was
// admitted without it.
func (c *Controller) overNodes(ctx context.Context, q *v1alpha1.Quarantine) (refusal string, err error) {
	number, err := c.counted(ctx, q)
	if err != nil {
		return "", err
	}
	err = c.ledger.change(ctx, func(l *response.Ledger) {
		now := c.o.Now()
		refusal = l.Admit(entryOf(q, now), number, q.Spec.Settings, now)
	})
	return refusal, err
}

// counted is what limits in percent are of. Nodes are only counted for what cordons one.
func (c *Controller) counted(ctx context.Context, q *v1alpha1.Quarantine) (response.Count, error) {
	var n response.Count
	if o := q.Spec.Owner; o != nil {
		n.Desired, n.Ready = o.Desired, o.Ready
	}
	if !cordons(q) {
		return n, nil
	}
	list, err := c.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: 1, ResourceVersion: ""})
	if err != nil {
		return n, fmt.Errorf("counting the nodes: %w", err)
	}
	n.Nodes = int64(len(list.Items))
	if list.RemainingItemCount != nil {
		n.Nodes += *list.RemainingItemCount
	}
	return n, nil
}

func cordons(q *v1alpha1.Quarantine) bool {
	return slices.ContainsFunc(q.Spec.Actions, func(a response.Planned) bool { return a.Action == response.Cordon && acts(a) })
}

// entryOf is what the ledger knows of a quarantine.
func entryOf(q *v1alpha1.Quarantine, now time.Time) response.Entry {
	owner := q.Spec.Pod.UID
	if o := q.Spec.Owner; o != nil {
		owner = strings.Join([]string{o.Group, o.Kind, q.Spec.Pod.Namespace, o.Name}, "/")
	}
	return response.Entry{Quarantine: q.Name, Namespace: q.Spec.Pod.Namespace, Owner: owner, Node: q.Spec.Pod.Node, Time: now, Cordons: cordons(q)}
}

// await keeps evidence while a person thinks, and gives up when nobody answers for as long as the quarantine would have lasted.
func (c *Controller) await(ctx context.Context, q *v1alpha1.Quarantine) (time.Duration, error) {
	if left := q.CreationTimestamp.Add(lasting(q)).Sub(c.o.Now()); left <= 0 {
		return 0, c.enter(ctx, q, v1alpha1.PhaseReleased, "nobody has approved it in time; nothing was done")
	}
	again, err := c.takeAll(ctx, q, func(a response.Planned) bool { return a.Action == response.Snapshot })
	if err != nil || again > 0 {
		return again, err
	}
	return max(q.CreationTimestamp.Add(lasting(q)).Sub(c.o.Now()), time.Second), nil
}

// lasting is how long a quarantine lasts.
func lasting(q *v1alpha1.Quarantine) time.Duration {
	if q.Spec.TTL.Duration > 0 {
		return q.Spec.TTL.Duration
	}
	return q.Spec.Settings.Times().TTL
}

// audit takes what contains nothing, says what isolation would come to, and ends.
func (c *Controller) audit(ctx context.Context, q *v1alpha1.Quarantine, reason string) (time.Duration, error) {
	again, err := c.takeAll(ctx, q, func(a response.Planned) bool {
		return a.Mode == response.ModeEnforce && !a.Action.Contains() && !a.Parameters.Approval
	})
	if err != nil || again > 0 {
		return again, err
	}
	if report, ok := c.foresee(ctx, q); ok {
		if err := c.write(ctx, q, func(s *v1alpha1.QuarantineStatus) { c.describe(s, &report); s.Connections = "" }); err != nil {
			return 0, err
		}
		reason = fmt.Sprintf("%s; isolation would give %s", reason, report.Verdict)
	}
	return 0, c.enter(ctx, q, v1alpha1.PhaseAudited, reason)
}

// foresee proves what isolation would give. Nothing depends on it.
func (c *Controller) foresee(ctx context.Context, q *v1alpha1.Quarantine) (isolation.Report, bool) {
	viewer, ok := c.o.Cluster.(Viewer)
	if !ok || !slices.ContainsFunc(q.Spec.Actions, func(a response.Planned) bool { return a.Action == response.Isolate }) {
		return isolation.Report{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	view, err := viewer.View(ctx, q.Spec.Pod.Namespace)
	if err != nil {
		c.log.Warn("what isolation would give cannot be said", "quarantine", q.Name, "error", err)
		return isolation.Report{}, false
	}
	n := slices.IndexFunc(view.Pods, func(p isolation.Pod) bool { return p.UID == q.Spec.Pod.UID })
	if n < 0 {
		return isolation.Report{}, false
	}
	detach := slices.ContainsFunc(q.Spec.Actions, func(a response.Planned) bool { return a.Action == response.Detach })
	after, subject := isolation.Simulate(view, view.Pods[n], isolation.Measures{Quarantine: q.Name, Detach: detach, Standing: true})
	var report isolation.Report
	err = guard(func() (err error) {
		report, err = isolation.Evaluate(after, subject)
		return err
	})
	if err != nil {
		c.log.Warn("what isolation would give cannot be said", "quarantine", q.Name, "error", err)
		return isolation.Report{}, false
	}
	return report, true
}

// forget drops what is remembered of a quarantine.
func (c *Controller) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.proved, name)
}

package quarantine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/policies/tracing"
	"github.com/portcullis-dev/portcullis/runtime/containment"
	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/runtime/notify"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// maxAttempts is how often a step is tried: two and a half minutes with the pauses of backoff. An API server that restarts is back by then.
const maxAttempts = 10

// maxCaptures is how often evidence is tried to be kept: what destroys waits for it, and a node that is gone gives no logs ever.
const maxCaptures = 3

// maxEvictions is how often an eviction is tried: twenty minutes, in which a disruption budget may allow it.
const maxEvictions = 45

func attemptsFor(name string) int64 {
	switch name {
	case string(response.Snapshot):
		return maxCaptures
	case string(response.Evict), escalatePrefix + string(response.Evict):
		return maxEvictions
	}
	return maxAttempts
}

// stepTimeout bounds one attempt.
const stepTimeout = 30 * time.Second

// Prefixes of the names of steps that are no action of the plan.
const (
	escalatePrefix = "escalate/"
	releasePrefix  = "release/"
)

// errMoved says that a Quarantine has gone on to another phase, by another replica, since it was read, or has come to ask for what was not asked for then.
var errMoved = errors.New("the quarantine has moved on")

// write changes the status, whatever others write into the object beside, and leaves q as it is then. It fails with errMoved if the phase
// is not that of q any more: then another replica acts; or if q only recorded what came, and is to contain it now: what was decided does not hold.
func (c *Controller) write(ctx context.Context, q *v1alpha1.Quarantine, change func(*v1alpha1.QuarantineStatus)) error {
	phase, life := q.Status.Phase, q.Status.Reopened
	var err error
	for range conflicts {
		change(&q.Status)
		if err = c.objects.updateStatus(ctx, q); !apierrors.IsConflict(err) {
			break
		}
		fresh, failed := c.objects.get(ctx, q.Name)
		if failed != nil {
			return failed
		}
		overtaken := recordsOnly(q) != "" && recordsOnly(fresh) == ""
		if *q = *fresh; q.Status.Phase != phase || q.Status.Reopened != life || overtaken {
			return errMoved
		}
	}
	if err != nil {
		return fmt.Errorf("writing the status: %w", err)
	}
	return nil
}

// stepOf is the record of a step, nil where it has none.
func stepOf(status *v1alpha1.QuarantineStatus, name string) *v1alpha1.Step {
	n := slices.IndexFunc(status.Steps, func(s v1alpha1.Step) bool { return s.Name == name })
	if n < 0 {
		return nil
	}
	return &status.Steps[n]
}

// recorded is the record of a step, made where it has none.
func recorded(status *v1alpha1.QuarantineStatus, name string) *v1alpha1.Step {
	if s := stepOf(status, name); s != nil {
		return s
	}
	status.Steps = append(status.Steps, v1alpha1.Step{Name: name})
	return &status.Steps[len(status.Steps)-1]
}

// settled says that nothing will be done about a step any more.
func settled(s *v1alpha1.Step) bool {
	return s != nil && (s.State == v1alpha1.StepDone || s.State == v1alpha1.StepSkipped || s.State == v1alpha1.StepUndone || givenUp(s))
}

func givenUp(s *v1alpha1.Step) bool { return s.State == v1alpha1.StepFailed && s.Next == nil }

// done says that a step was taken.
func done(status *v1alpha1.QuarantineStatus, name string) bool {
	s := stepOf(status, name)
	return s != nil && s.State == v1alpha1.StepDone
}

func (c *Controller) stamp() *metav1.MicroTime {
	at := metav1.NewMicroTime(c.o.Now())
	return &at
}

// act is how a step acts.
type act func(ctx context.Context, q *v1alpha1.Quarantine, a response.Planned) (containment.Outcome, error)

// take takes one step: what is about to be done is written down with what was there before, then done, then what came of it is written down. A
// process that dies between is followed by one that begins the step again. An error is of the record alone; a
// step that fails is recorded, and others go on.
func (c *Controller) take(whole context.Context, q *v1alpha1.Quarantine, name string, a response.Planned, prepare bool, do act) (failed error) {
	whole, span := c.o.Traces.Continue(whole, "quarantine step", q.Annotations[TraceAnnotation])
	defer func() { tracing.End(span, failed) }()
	if span.IsRecording() {
		span.SetAttributes(tracing.Text("quarantine", q.Name), tracing.Text("step", name))
	}
	ctx, cancel := context.WithTimeout(whole, stepTimeout)
	defer cancel()
	if s := stepOf(&q.Status, name); s != nil && s.State == v1alpha1.StepRunning && s.Attempts >= attemptsFor(name) {
		return c.failed(whole, q, name, errors.New("it was begun as often and never came to an end"))
	}
	var prepared containment.Preparation
	if prepare {
		err := guard(func() (err error) {
			prepared, err = c.o.Cluster.Prepare(ctx, q, a)
			return err
		})
		if err != nil {
			return c.failed(whole, q, name, err)
		}
		if prepared.Skip != "" {
			return c.write(ctx, q, func(s *v1alpha1.QuarantineStatus) { c.skip(s, name, prepared.Skip) })
		}
	}
	err := c.write(ctx, q, func(s *v1alpha1.QuarantineStatus) { c.begin(s, name, prepared) })
	if err != nil {
		return err
	}
	c.o.After(q.Name, name, PointPrepared)
	var outcome containment.Outcome
	err = guard(func() (err error) {
		outcome, err = do(ctx, q, a)
		return err
	})
	if err != nil {
		tracing.Fail(span, err.Error())
		return c.failed(whole, q, name, err)
	}
	c.o.After(q.Name, name, PointDone)
	err = c.write(ctx, q, func(s *v1alpha1.QuarantineStatus) { c.finish(s, name, outcome) })
	if err != nil {
		return err
	}
	c.o.After(q.Name, name, PointRecorded)
	c.o.Metrics.step(stepOf(&q.Status, name))
	c.record(q, name, "", string(v1alpha1.StepDone), outcome.Result)
	if a.Action == response.Isolate && name == string(a.Action) {
		c.o.Metrics.isolated(q, c.o.Now())
	}
	c.log.Info("a step of a quarantine is done", "quarantine", q.Name, "pod", q.Spec.Pod.Namespace+"/"+q.Spec.Pod.Name, "step", name, "result", outcome.Result)
	return nil
}

// guard makes an error of a panic: what one pod brings about must not end the quarantines of all others.
func guard(do func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("a fault of the program, please report it: %v\n%s", cause, debug.Stack())
		}
	}()
	return do()
}

func (c *Controller) begin(s *v1alpha1.QuarantineStatus, name string, p containment.Preparation) {
	step := recorded(s, name)
	step.State, step.Precondition, step.Result, step.Next, step.Finished = v1alpha1.StepRunning, cut(p.Precondition, maxPrecondition), "", nil, nil
	step.Attempts++
	if step.Started == nil {
		step.Started = c.stamp()
	}
	s.Originals = keepOriginals(s.Originals, p.Originals)
}

func (c *Controller) finish(s *v1alpha1.QuarantineStatus, name string, outcome containment.Outcome) {
	step := recorded(s, name)
	step.State, step.Result, step.Next, step.Finished = v1alpha1.StepDone, cut(outcome.Result, maxResult), nil, c.stamp()
	s.Incidents = append(s.Incidents, outcome.Incidents...)
	slices.Sort(s.Incidents)
	s.Incidents = slices.Compact(s.Incidents)
	if outcome.Report != nil {
		c.describe(s, outcome.Report)
	}
}

func (c *Controller) skip(s *v1alpha1.QuarantineStatus, name, why string) {
	step := recorded(s, name)
	step.State, step.Result, step.Next, step.Finished = v1alpha1.StepSkipped, cut(why, maxResult), nil, c.stamp()
}

// failed records that a step has failed, and when it is tried again. One about a pod that is gone is not to be taken any more.
func (c *Controller) failed(ctx context.Context, q *v1alpha1.Quarantine, name string, cause error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx) // this replica ends: another one begins the step again
	}
	if errors.Is(cause, containment.ErrGone) {
		return c.write(ctx, q, func(s *v1alpha1.QuarantineStatus) {
			s.PodGone = true
			c.skip(s, name, "the pod does not exist any more")
		})
	}
	release := strings.HasPrefix(name, releasePrefix)
	err := c.write(ctx, q, func(s *v1alpha1.QuarantineStatus) {
		step := recorded(s, name)
		if step.State != v1alpha1.StepRunning { // it could not even be prepared
			step.Attempts++
			if step.Started == nil {
				step.Started = c.stamp()
			}
		}
		step.State, step.Finished = v1alpha1.StepFailed, c.stamp()
		if step.Attempts >= attemptsFor(name) && !release {
			step.Next, step.Result = nil, cut(fmt.Sprintf("given up after %d attempts: %v", step.Attempts, cause), maxResult)
			return
		}
		next := metav1.NewMicroTime(c.o.Now().Add(c.backoff(step.Attempts)))
		step.Next, step.Result = &next, cut(cause.Error(), maxResult)
	})
	if err != nil {
		return err
	}
	step := stepOf(&q.Status, name)
	c.o.Metrics.step(step)
	c.log.Warn("a step of a quarantine has failed", "quarantine", q.Name, "step", name, "attempt", step.Attempts, "given up", givenUp(step), "error", cause)
	if givenUp(step) || release && step.Attempts == maxAttempts {
		c.record(q, name, "", string(v1alpha1.StepFailed), step.Result)
		c.tell(notify.KindStepFailed, q, step.Finished.Time, fmt.Sprintf("%s: %s", name, step.Result))
	}
	return nil
}

// keepOriginals adds what was there before to what is kept. What is kept already stays: a step that is begun again sees what it has
// changed itself.
func keepOriginals(kept *v1alpha1.Originals, more v1alpha1.Originals) *v1alpha1.Originals {
	if kept == nil {
		kept = &v1alpha1.Originals{}
	}
	if kept.Labels == nil {
		kept.Labels = more.Labels
	}
	if kept.OwnerReferences == nil {
		kept.OwnerReferences = more.OwnerReferences
	}
	kept.Annotations, kept.Policies = addMissing(kept.Annotations, more.Annotations), addMissing(kept.Policies, more.Policies)
	if kept.Replicas == nil {
		kept.Replicas = more.Replicas
	}
	if kept.Suspended == nil {
		kept.Suspended = more.Suspended
	}
	if kept.Unschedulable == nil {
		kept.Unschedulable = more.Unschedulable
	}
	return kept
}

func addMissing(kept, more map[string]string) map[string]string {
	if len(more) == 0 {
		return kept
	}
	all := maps.Clone(more)
	maps.Copy(all, kept)
	return all
}

// maxResidual is how many flows a status names, maxFlow how long each may be.
const (
	maxResidual = 50
	maxFlow     = 1024
)

// describe writes down what a proof has shown.
func (c *Controller) describe(s *v1alpha1.QuarantineStatus, r *isolation.Report) {
	s.Verdict, s.Connections, s.Residual = string(r.Verdict), r.Connections, nil
	for n, flow := range r.Residual {
		if n == maxResidual-1 && len(r.Residual) > maxResidual {
			s.Residual = append(s.Residual, fmt.Sprintf("and %d more", len(r.Residual)-n))
			break
		}
		s.Residual = append(s.Residual, cut(flow.String(), maxFlow))
	}
	c.condition(s, isolatedCondition(s, r))
}

// tell tells people about a quarantine. It never waits.
func (c *Controller) tell(kind notify.Kind, q *v1alpha1.Quarantine, at time.Time, reason string) {
	c.o.Notifier.Notify(notify.About(kind, q, at, reason))
}

// silent tells nobody.
type silent struct{}

// Notify implements [Notifier].
func (silent) Notify(notify.Message) {}

package responder

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/tracing"
	"github.com/portcullis-dev/portcullis/runtime/pods"
	"github.com/portcullis-dev/portcullis/runtime/quarantine"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

// requestOf is the request by which policies judge an event; object is the pod, nil where there is none.
func requestOf(e *response.Event, object json.RawMessage) admission.Request {
	request := admission.Request{
		Door: admission.DoorResponder, UID: e.ID, Operation: policies.OperationEvent,
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Object:   object, Event: e,
	}
	if e.Pod != nil {
		request.Namespace, request.Name = e.Pod.Namespace, e.Pod.Name
	}
	return request
}

// handle takes one event to its Quarantine. A panic is its fault, and costs no other event anything.
func (r *Responder) handle(ctx context.Context, w work) {
	defer func() {
		if cause := recover(); cause != nil {
			r.options.Logger.Error("dealing with an event panicked", "event", w.event.ID, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
			r.options.Metrics.count(outcomeFault)
			w.item.Done() // it would panic again, for ever
		}
	}()
	began := r.options.Now()
	ctx, cancel := context.WithTimeout(ctx, r.options.JudgeFor)
	defer cancel()
	ctx, span := r.options.Traces.Serve(ctx, "event", w.item.Trace)
	defer span.End()
	if span.IsRecording() {
		span.SetAttributes(tracing.Text("event", w.event.ID), tracing.Text("rule", w.event.Rule), tracing.Flag("replayed", w.item.Replayed))
	}
	resolution, err := r.options.Resolver.Complete(ctx, w.event, w.found)
	if err != nil {
		r.again(w.item, err)
		return
	}
	request := requestOf(w.event, resolution.Object)
	verdict := r.options.Reviewer.Respond(ctx, request)
	decision := &admission.Decision{ID: uuid.NewString(), Trace: tracing.TraceID(ctx), Time: began, Request: request, Verdict: verdict}
	if r.mayKnowLater(w.item, &verdict) {
		_, _ = r.propose(ctx, w, resolution, decision) // what is known already does not wait; where it fails it comes again
		r.options.Metrics.retries.Inc()
		w.item.Again(minAgain)
		return
	}
	for _, fault := range verdict.Faults {
		r.options.Metrics.faults.WithLabelValues(fault.Policy, string(fault.Kind)).Inc()
		r.options.Logger.ErrorContext(ctx, "a policy could not judge an event", "event", w.event.ID, "policy", fault.Policy, "kind", string(fault.Kind), "message", fault.Message)
	}
	became, err := r.propose(ctx, w, resolution, decision)
	if err != nil {
		r.again(w.item, err)
		return
	}
	span.SetAttributes(tracing.Text("outcome", string(became)), tracing.Text("decision", decision.ID))
	r.options.Metrics.count(became)
	decision.Duration = r.options.Now().Sub(began)
	if became != outcomeRepeated { // its Quarantine counts it: a pod that reports without end must not wash out the journal
		decision.Outcome = recordedAs[became]
		r.record(ctx, decision)
	}
	w.item.Done()
}

// mayKnowLater says whether a policy could not judge for want of a fact that may be known in a moment.
func (r *Responder) mayKnowLater(item Item, verdict *admission.Verdict) bool {
	return r.options.Now().Sub(item.Received) < faultFor && slices.ContainsFunc(verdict.Faults, func(f policies.Fault) bool {
		return f.Kind == policies.FaultFacts || f.Kind == policies.FaultDeadline
	})
}

// propose plans what policies ask for and writes it down. The error is that of the API server, and may be gone in a while.
func (r *Responder) propose(ctx context.Context, w work, resolution pods.Resolution, decision *admission.Decision) (outcome, error) {
	verdict := &decision.Verdict
	asks := asksOf(verdict)
	if len(asks) == 0 {
		if len(verdict.Faults) > 0 {
			return outcomeFault, nil
		}
		return outcomeIgnored, nil
	}
	plan, err := response.NewPlan(w.event, asks, r.settings(verdict), response.Facts{Own: r.options.Namespace, PodLabels: resolution.Labels})
	if err != nil {
		r.options.Logger.Error("no plan can be made of what policies ask for", "event", w.event.ID, "error", err)
		decision.Reason = err.Error()
		return outcomeFault, nil
	}
	if plan == nil {
		return outcomeIgnored, nil
	}
	if w.event.Pod == nil {
		r.tell(plan)
		return outcomeTold, nil
	}
	return r.write(ctx, w, plan, asks, resolution, decision)
}

// write writes a plan down, unless the same was a moment ago.
func (r *Responder) write(ctx context.Context, w work, plan *response.Plan, asks []response.Ask, resolution pods.Resolution, decision *admission.Decision) (outcome, error) {
	same := fingerprint(w.event.Pod.UID, asks)
	if r.memory.repeats(same) {
		return outcomeRepeated, nil
	}
	name, created, err := r.options.Proposer.Propose(ctx, plan, quarantine.Proposal{
		Settings: r.settings(&decision.Verdict), Revisions: revisionsOf(&decision.Verdict), Images: resolution.Images,
		Received: w.item.Received, Count: r.memory.since(same), Trace: tracing.Traceparent(ctx),
	})
	switch {
	case apierrors.IsInvalid(err) || apierrors.IsRequestEntityTooLargeError(err):
		r.options.Logger.Error("the API server does not take a Quarantine", "event", w.event.ID, "quarantine", plan.Name, "error", err)
		decision.Reason = err.Error()
		return outcomeRefused, nil
	case err != nil:
		return "", err
	}
	r.failures.Store(0)
	r.memory.note(same)
	r.options.Metrics.asked(asks)
	r.options.Metrics.took(r.options.Now().Sub(w.item.Received))
	r.options.Logger.InfoContext(ctx, "wrote a plan down", "event", w.event.ID, "rule", w.event.Rule, "pod", w.event.Pod.Namespace+"/"+w.event.Pod.Name,
		"quarantine", name, "new", created, "mode", string(plan.Mode), "actions", actionsOf(plan))
	return outcomeProposed, nil
}

// asksOf are the actions that policies ask for and no exception waives.
func asksOf(verdict *admission.Verdict) []response.Ask {
	var asks []response.Ask
	for n := range verdict.Responses {
		if verdict.Responses[n].ExceptedBy == "" {
			asks = append(asks, verdict.Responses[n].Ask)
		}
	}
	return asks
}

// settings are those of the bundles that judged. In a dry run all of them only record.
func (r *Responder) settings(verdict *admission.Verdict) map[string]response.Settings {
	settings := verdict.Settings()
	if r.options.DryRun {
		for name, one := range settings {
			one.Mode, one.Namespaces = response.ModeAudit, nil
			settings[name] = one
		}
	}
	return settings
}

// revisionsOf are the revisions that judged, by the names that asks have for their bundles.
func revisionsOf(verdict *admission.Verdict) map[string]string {
	revisions := map[string]string{}
	for n := range verdict.Parts {
		ready := verdict.Parts[n].Ready
		revisions[ready.Bundle] = ready.Revision
		if len(verdict.Parts) == 1 {
			revisions[""] = ready.Revision
		}
	}
	return revisions
}

func actionsOf(plan *response.Plan) []string {
	var names []string
	for _, planned := range plan.Actions {
		names = append(names, string(planned.Action))
	}
	return names
}

// again has an event taken once more because of a failure of the API server, the later the more often it fails.
func (r *Responder) again(item Item, err error) {
	wait := maxAgain
	if n := r.failures.Add(1); n < 7 {
		wait = min(minAgain<<(n-1), maxAgain)
	}
	r.options.Metrics.retries.Inc()
	r.options.Logger.Warn("an event is taken again later", "event", item.Event.ID, "in", wait.String(), "error", err)
	item.Again(wait)
}

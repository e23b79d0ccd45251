package webhook

import (
	"context"
	"net/http"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies/tracing"
	"go.opentelemetry.io/otel/attribute"
)

// untraced ends the span that there is none of.
func untraced() {}

// trace begins the span of an exchange, below that of the API server where it traces (KEP-647), and returns what ends it. Callers are asked who they
// are before: nobody else has anything traced.
func (e *exchange) trace(r *http.Request) (end func()) {
	source := e.handler.options.Traces
	if source == nil {
		return untraced
	}
	ctx, span := source.Serve(e.ctx, "admission review", r.Header.Get(tracing.Header))
	e.ctx, e.traceID = ctx, tracing.TraceID(ctx)
	if !span.IsRecording() {
		return untraced
	}
	e.span = span
	span.SetAttributes(tracing.Text("webhook", string(e.door)), attribute.String("http.route", "/"+string(e.door)))
	return func() {
		e.describe()
		span.End()
	}
}

// describe says what was asked for: nothing that an object contains.
func (e *exchange) describe() {
	e.span.SetAttributes(tracing.Text("uid", e.uid), tracing.Text("decision", e.id))
	request := e.request
	if request == nil {
		return
	}
	e.span.SetAttributes(
		tracing.Text("operation", request.Operation), tracing.Text("resource", request.Resource.Resource), tracing.Text("group", request.Resource.Group),
		tracing.Text("subresource", request.SubResource), tracing.Flag("dry_run", request.DryRun),
		attribute.String("k8s.namespace.name", request.Namespace), tracing.Text("name", request.Name),
	)
}

// ended notes how an exchange ended.
func (e *exchange) ended(outcome outcome) {
	if e.span == nil {
		return
	}
	e.span.SetAttributes(tracing.Text("outcome", string(outcome)))
	switch outcome {
	case outcomeFault, outcomeRejected, outcomeShed:
		tracing.Fail(e.span, string(outcome))
	}
}

// tell notes what a verdict consists of.
func (e *exchange) tell(verdict admission.Verdict) {
	if e.span == nil {
		return
	}
	e.span.SetAttributes(
		tracing.Text("bundle.revision", verdict.Bundle), tracing.Text("profile", verdict.Profile),
		attribute.StringSlice(tracing.Prefix+"policies", policiesOf(denying(verdict.Findings))),
	)
}

// waitForPlace waits for a place among the reviews that run.
func (e *exchange) waitForPlace(ctx context.Context, share string, size int64) error {
	if e.span == nil {
		return e.handler.limiter.acquire(ctx, share, size)
	}
	ctx, span := tracing.Start(ctx, "wait for a place")
	err := e.handler.limiter.acquire(ctx, share, size)
	tracing.End(span, err)
	return err
}

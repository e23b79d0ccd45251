package admission

import (
	"context"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/tracing"
	"go.opentelemetry.io/otel/trace"
)

// tracedJudge is a judge each of whose steps has a span. One that is not traced is asked without it.
type tracedJudge struct {
	Judge
	ctx context.Context //nolint:containedctx // Needs takes none
}

// Needs implements [Judge].
func (j tracedJudge) Needs(request *Request, phase policies.Phase) policies.Needs {
	_, span := tracing.Start(j.ctx, "find needs")
	defer span.End()
	return j.Judge.Needs(request, phase)
}

// Evaluate implements [Judge].
func (j tracedJudge) Evaluate(ctx context.Context, request *Request, facts *policies.Facts, now time.Time, phase policies.Phase) policies.Result {
	ctx, span := tracing.Start(ctx, "evaluate")
	defer span.End()
	return j.Judge.Evaluate(ctx, request, facts, now, phase)
}

// gather gathers the facts that a judge needs.
func (r *Reviewer) gather(ctx context.Context, needs policies.Needs) policies.Facts {
	ctx, span := tracing.Start(ctx, "gather facts")
	defer span.End()
	if span.IsRecording() {
		span.SetAttributes(tracing.Count("images", len(needs.Images.Images)))
	}
	return r.facts.Gather(ctx, needs)
}

// tell writes into the span of a judge what it said: numbers, and which revision it is.
func (p *Part) tell(span trace.Span) {
	if !span.IsRecording() {
		return
	}
	defer span.End()
	result := &p.Result
	span.SetAttributes(
		tracing.Text("bundle.revision", p.Ready.Revision), tracing.Flag("bundle.candidate", p.Candidate), tracing.Text("profile", result.Profile),
		tracing.Count("policies.matched", result.Matched), tracing.Count("findings", len(result.Findings)),
		tracing.Count("faults", len(result.Faults)), tracing.Count("undecided", len(result.Undecided)),
	)
	if len(result.Faults) > 0 {
		tracing.Fail(span, string(result.Faults[0].Kind)+": "+result.Faults[0].Policy)
	}
}

package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// nothing is a span that does nothing.
var nothing trace.Span = noop.Span{}

// Start makes a span below the one of ctx, if that one is kept. Set attributes on it only where it records: making them costs.
func Start(ctx context.Context, name string) (context.Context, trace.Span) {
	return start(ctx, name, trace.SpanKindInternal)
}

// Ask is Start for a request to another program.
func Ask(ctx context.Context, name string) (context.Context, trace.Span) {
	return start(ctx, name, trace.SpanKindClient)
}

func start(ctx context.Context, name string, kind trace.SpanKind) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.SpanContext().IsSampled() { // and not IsRecording: one that has ended may be continued in the background
		return ctx, nothing
	}
	return parent.TracerProvider().Tracer(instrumentation).Start(ctx, name, trace.WithSpanKind(kind))
}

// End ends a span, as failed where err says so.
func End(span trace.Span, err error) {
	if span.IsRecording() {
		if err != nil {
			Fail(span, err.Error())
		}
		span.End()
	}
}

// Fail says why what a span stands for has failed.
func Fail(span trace.Span, message string) { span.SetStatus(codes.Error, message) }

// Carry gives a context the span of another one, for what goes on in the background and outlives who asked for it.
func Carry(ctx, from context.Context) context.Context {
	span := trace.SpanFromContext(from)
	if !span.SpanContext().IsSampled() {
		return ctx
	}
	return trace.ContextWithSpan(ctx, span)
}

// TraceID is the W3C trace id of what goes on, 32 hexadecimal digits, "" where there is none. A trace that began elsewhere has one even if
// it is not kept.
func TraceID(ctx context.Context) string {
	if of := trace.SpanContextFromContext(ctx); of.HasTraceID() {
		return of.TraceID().String()
	}
	return ""
}

// Sampled is TraceID of a trace that is kept, "" of any other: what an exemplar may point to.
func Sampled(ctx context.Context) string {
	if of := trace.SpanContextFromContext(ctx); of.IsSampled() && of.HasTraceID() {
		return of.TraceID().String()
	}
	return ""
}

// Prefix of the names of attributes that OpenTelemetry has no name for.
const Prefix = "portcullis."

// Text, Count and Flag are attributes of Portcullis's own.
func Text(name, value string) attribute.KeyValue { return attribute.String(Prefix+name, value) }

// Count is a number of something.
func Count(name string, value int) attribute.KeyValue { return attribute.Int(Prefix+name, value) }

// Flag is a yes or no.
func Flag(name string, value bool) attribute.KeyValue { return attribute.Bool(Prefix+name, value) }

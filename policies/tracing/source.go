package tracing

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// Header is the header that carries who asks (W3C Trace Context, section 3.2).
const Header = "Traceparent"

// instrumentation names who makes spans.
const instrumentation = "github.com/portcullis-dev/portcullis"

// Source begins traces. Nil begins none.
type Source struct {
	tracer trace.Tracer
	ratio  float64
	dice   func() float64
}

// NewSource makes a Source of spans of this provider, which must sample whatever is begun. ratio, from 0 to 1, is the share of traces that
// are kept of those that begin here; those that began elsewhere are kept if whoever began them does.
func NewSource(provider trace.TracerProvider, ratio float64) *Source {
	return &Source{tracer: provider.Tracer(instrumentation), ratio: ratio, dice: rand.Float64}
}

// Serve begins the span of something that was asked for from outside, traceparent is the request's header or "". Where the trace is not
// kept the span does nothing, and ctx is as it was, but for the id of a trace that began elsewhere: [TraceID] gives it.
func (s *Source) Serve(ctx context.Context, name, traceparent string) (context.Context, trace.Span) {
	if s == nil {
		return ctx, nothing
	}
	if traceparent != "" {
		if remote := Parse(traceparent); remote.IsValid() {
			return s.below(ctx, name, remote)
		}
	}
	return s.begin(ctx, name, trace.SpanKindServer)
}

// Begin begins the span of something that the program does by itself.
func (s *Source) Begin(ctx context.Context, name string) (context.Context, trace.Span) {
	if s == nil {
		return ctx, nothing
	}
	return s.begin(ctx, name, trace.SpanKindInternal)
}

// Continue goes on with a trace that was written down, such as in an object; where there is none, or nobody keeps it, nothing is traced.
func (s *Source) Continue(ctx context.Context, name, traceparent string) (context.Context, trace.Span) {
	if s == nil || traceparent == "" {
		return ctx, nothing
	}
	remote := Parse(traceparent)
	if !remote.IsSampled() {
		return ctx, nothing
	}
	return s.tracer.Start(trace.ContextWithRemoteSpanContext(ctx, remote), name)
}

// below continues the trace of whoever asked.
func (s *Source) below(ctx context.Context, name string, remote trace.SpanContext) (context.Context, trace.Span) {
	ctx = trace.ContextWithRemoteSpanContext(ctx, remote)
	if !remote.IsSampled() {
		return ctx, nothing
	}
	return s.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer))
}

func (s *Source) begin(ctx context.Context, name string, kind trace.SpanKind) (context.Context, trace.Span) {
	if s.ratio <= 0 || s.ratio < 1 && s.dice() >= s.ratio {
		return ctx, nothing
	}
	return s.tracer.Start(ctx, name, trace.WithNewRoot(), trace.WithSpanKind(kind))
}

// Parse reads a traceparent header of version 00 or later. One that is malformed or all zero, which the specification has ignored, is an
// invalid span context.
func Parse(header string) trace.SpanContext {
	const version, traceID, parentID, flags = 2, 32, 16, 2
	const longest = 512 // what a later version may add
	if len(header) > longest {
		return trace.SpanContext{}
	}
	parts := strings.SplitN(header, "-", 5)
	if len(parts) < 4 || len(parts[0]) != version || len(parts[1]) != traceID || len(parts[2]) != parentID || len(parts[3]) != flags ||
		parts[0] == "ff" || parts[0] == "00" && len(parts) != 4 {
		return trace.SpanContext{}
	}
	var config trace.SpanContextConfig
	var octet, sampled [1]byte
	if !decode(octet[:], parts[0]) || !decode(config.TraceID[:], parts[1]) || !decode(config.SpanID[:], parts[2]) || !decode(sampled[:], parts[3]) {
		return trace.SpanContext{}
	}
	config.TraceFlags, config.Remote = trace.TraceFlags(sampled[0])&trace.FlagsSampled, true
	made := trace.NewSpanContext(config)
	if !made.IsValid() {
		return trace.SpanContext{}
	}
	return made
}

// decode reads hexadecimal digits in lower case, which the specification demands.
func decode(into []byte, digits string) bool {
	for _, c := range []byte(digits) {
		if c >= 'A' && c <= 'F' {
			return false
		}
	}
	n, err := hex.Decode(into, []byte(digits))
	return err == nil && n == len(into)
}

// Traceparent is the header for the span of a context, "" where its trace is not kept.
func Traceparent(ctx context.Context) string {
	of := trace.SpanContextFromContext(ctx)
	if !of.IsValid() || !of.IsSampled() {
		return ""
	}
	return header(of)
}

func header(of trace.SpanContext) string {
	return "00-" + of.TraceID().String() + "-" + of.SpanID().String() + "-" + of.TraceFlags().String()
}

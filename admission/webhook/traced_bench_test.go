package webhook

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/portcullis-dev/portcullis/policies/tracing"
	"go.opentelemetry.io/otel/sdk/trace"
)

// BenchmarkTraced measures what traces cost a review: without them, where none is kept, where the caller keeps none, and where all are.
func BenchmarkTraced(b *testing.B) {
	const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0"
	source := tracing.NewSource(trace.NewTracerProvider(trace.WithSpanProcessor(nowhere{})), 0)
	traced := newHandler(b, admits(nil), func(o *Options) { o.Traces = source })
	for _, bench := range []struct {
		name, header string
		handler      http.Handler
	}{
		{"off", "", newHandler(b, admits(nil))}, {"unsampled", "", traced}, {"unsampled by the caller", traceparent + "0", traced}, {"sampled", traceparent + "1", traced},
	} {
		b.Run(bench.name, func(b *testing.B) {
			content := []byte(pod6KB())
			b.ReportAllocs()
			for b.Loop() {
				request := httptest.NewRequest(http.MethodPost, ValidatePath+"?timeout=10s", bytes.NewReader(content))
				request.Header.Set("Content-Type", "application/json")
				if bench.header != "" {
					request.Header.Set("Traceparent", bench.header)
				}
				bench.handler.ServeHTTP(httptest.NewRecorder(), request)
			}
		})
	}
}

// nowhere takes spans and forgets them.
type nowhere struct{}

func (nowhere) OnStart(context.Context, trace.ReadWriteSpan) {}
func (nowhere) OnEnd(trace.ReadOnlySpan)                     {}
func (nowhere) Shutdown(context.Context) error               { return nil }
func (nowhere) ForceFlush(context.Context) error             { return nil }

package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/cmd/internal/version"
	"github.com/portcullis-dev/portcullis/policies/tracing"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"k8s.io/client-go/rest"
)

// endTimeout is how long what waits for the collector is still sent when the program ends.
const endTimeout = 3 * time.Second

// tracesPath is where collectors take traces over HTTP (OTLP specification, "OTLP/HTTP Request").
const tracesPath = "/v1/traces"

// Telemetry is what a program tells while it runs.
type Telemetry struct {
	// Traces begins traces, nil where nothing is traced.
	Traces *tracing.Source

	provider *sdk.TracerProvider
	queue    *queue
	lines    *lines
	log      *slog.Logger

	mu      sync.Mutex
	failing bool
}

// Start begins to trace where the flags say so. program is the name of the program, log hears when the collector takes nothing. It connects to
// nothing: a collector may come later than the program. Its errors are those of the environment (OTEL_EXPORTER_OTLP_HEADERS and the like).
func (f *Flags) Start(ctx context.Context, program string, log *slog.Logger) (*Telemetry, error) {
	t := &Telemetry{lines: f.lines, log: log}
	if t.lines == nil { // another logger than ours
		t.lines = newLines()
	}
	if f.Endpoint == "" {
		return t, nil
	}
	about, err := describe(ctx, program)
	if err != nil {
		return nil, fmt.Errorf("describing the program for traces: %w: correct OTEL_RESOURCE_ATTRIBUTES", err)
	}
	exporter, err := newExporter(ctx, f.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("making a client of the collector %s: %w: correct --otlp-endpoint, or the environment variables OTEL_EXPORTER_OTLP_…", f.Endpoint, err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Debug("tracing failed", "error", err) })) // the SDK would write to standard error
	t.begin(exporter, about, f.Sample, maxQueue, batchEvery)
	log.Info("tracing", "collector", f.Endpoint, "share", f.Sample)
	return t, nil
}

// begin makes the provider of spans.
func (t *Telemetry) begin(exporter sdk.SpanExporter, about *resource.Resource, ratio float64, size int, every time.Duration) {
	t.queue = newQueue(exporter, size, every, t.tell)
	t.provider = sdk.NewTracerProvider(
		sdk.WithResource(about),
		sdk.WithSpanProcessor(t.queue),
		sdk.WithSampler(sdk.ParentBased(sdk.AlwaysSample())), // the Source has decided already
		sdk.WithRawSpanLimits(sdk.SpanLimits{
			AttributeValueLengthLimit: 2 * maxValue, AttributeCountLimit: 48, EventCountLimit: 16, LinkCountLimit: 4,
			AttributePerEventCountLimit: 8, AttributePerLinkCountLimit: 8,
		}),
	)
	t.Traces = tracing.NewSource(t.provider, ratio)
}

// describe is what the collector is told of the program: its name and version, and what OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME say.
func describe(ctx context.Context, program string) (*resource.Resource, error) {
	return resource.New(ctx, resource.WithAttributes(
		// Names of OpenTelemetry's semantic conventions for resources.
		attribute.String("service.name", program), attribute.String("service.version", version.String()), attribute.String("service.namespace", "portcullis"),
	), resource.WithHost(), resource.WithFromEnv())
}

func newExporter(ctx context.Context, endpoint string) (sdk.SpanExporter, error) {
	parsed, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	if strings.Trim(parsed.Path, "/") == "" {
		parsed.Path = tracesPath
	}
	return otlptrace.New(ctx, otlptracehttp.NewClient(
		otlptracehttp.WithEndpointURL(parsed.String()),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression),
		otlptracehttp.WithTimeout(exportTimeout),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: 500 * time.Millisecond, MaxInterval: 4 * time.Second, MaxElapsedTime: exportTimeout}),
	))
}

// tell logs when the collector begins to take nothing, and when it takes something again.
func (t *Telemetry) tell(err error) {
	t.mu.Lock()
	changed := t.failing != (err != nil)
	t.failing = err != nil
	t.mu.Unlock()
	switch {
	case !changed:
	case err != nil:
		t.log.Warn("traces do not reach the collector and are lost until they do; nothing else suffers: see that it runs, and that --otlp-endpoint is its address", "error", err)
	default:
		t.log.Info("traces reach the collector again")
	}
}

// Close sends what waits, within a few seconds.
func (t *Telemetry) Close(ctx context.Context) {
	if t.provider == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.log.Warn("the last traces have not reached the collector", "error", err)
	}
}

// Cluster has requests to the API server traced, those that are made for something that is. It changes config, which may be nil.
func (t *Telemetry) Cluster(config *rest.Config) {
	if t.Traces != nil && config != nil {
		config.Wrap(func(next http.RoundTripper) http.RoundTripper { return tracing.Kubernetes(next) })
	}
}

// Describe implements [prometheus.Collector].
func (t *Telemetry) Describe(descs chan<- *prometheus.Desc) {
	t.lines.left.Describe(descs)
	if t.queue != nil {
		t.queue.vector.Describe(descs)
	}
}

// Collect implements [prometheus.Collector].
func (t *Telemetry) Collect(metrics chan<- prometheus.Metric) {
	t.lines.left.Collect(metrics)
	if t.queue != nil {
		t.queue.vector.Collect(metrics)
	}
}

// TraceID is the trace id of what goes on, "" where there is none: see [tracing.TraceID].
func TraceID(ctx context.Context) string { return tracing.TraceID(ctx) }

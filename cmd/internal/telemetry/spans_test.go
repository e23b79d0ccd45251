package telemetry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/portcullis-dev/portcullis/policies/tracing"
	"github.com/portcullis-dev/portcullis/test/otlp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// begun is a program that traces everything.
func begun(t *testing.T, endpoint string) (*Telemetry, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	flags := Flags{Endpoint: endpoint, Sample: 1, LogFormat: FormatJSON}
	if err := flags.Check(); err != nil {
		t.Fatal(err)
	}
	made, err := flags.Start(t.Context(), "portcullis-test", flags.Logger(log, slog.LevelDebug))
	if err != nil {
		t.Fatal(err)
	}
	return made, log
}

func count(t *testing.T, made *Telemetry, result string) float64 {
	t.Helper()
	return testutil.ToFloat64(made.queue.vector.WithLabelValues(result))
}

func TestSpansArriveWithoutCredentials(t *testing.T) {
	to := otlp.Start(t)
	made, _ := begun(t, to.URL)
	ctx, span := made.Traces.Serve(t.Context(), "review", "")
	_, step := tracing.Start(ctx, "step")
	step.SetAttributes(tracing.Text("error", "calling https://ann:hunter2@example.org"), attribute.StringSlice("list", []string{"--password=hunter2"}),
		tracing.Text("long", strings.Repeat("ü", 4*maxValue)))
	tracing.End(step, errors.New("Authorization: Bearer hunter2hunter2"))
	span.End()
	made.Close(t.Context())
	spans := to.Spans("")
	if len(spans) != 2 {
		t.Fatalf("%d spans have arrived, want 2", len(spans))
	}
	if got := otlp.Tree(spans); got != "review\n  step\n" {
		t.Errorf("the trace is\n%s", got)
	}
	for _, span := range spans {
		if written := span.String(); strings.Contains(written, "hunter2") {
			t.Errorf("a span holds a credential: %s", written)
		}
		if got := span.Attribute("portcullis.long"); len(got) > maxValue {
			t.Errorf("an attribute has %d bytes, want %d at most", len(got), maxValue)
		}
		if span.Resource["service.name"] != "portcullis-test" || span.Resource["service.version"] == "" {
			t.Errorf("the resource is %v, want name and version", span.Resource)
		}
	}
	if got := count(t, made, resultExported); got != 2 {
		t.Errorf("%v spans are counted, want 2", got)
	}
}

func TestACollectorThatRefusesIsSaidOnceAndWhenItIsBack(t *testing.T) {
	made := &Telemetry{log: slog.New(slog.DiscardHandler)}
	log := &bytes.Buffer{}
	made.log = slog.New(slog.NewTextHandler(log, nil))
	to := &exporter{err: errors.New("no route")}
	made.begin(to, nil, 1, 16, time.Millisecond)
	one := func() {
		_, span := made.Traces.Begin(context.Background(), "a")
		span.End()
		to.wait(t)
	}
	one()
	one()
	to.set(nil)
	one()
	made.Close(t.Context())
	if got := log.String(); strings.Count(got, "do not reach the collector") != 1 || strings.Count(got, "reach the collector again") != 1 {
		t.Errorf("the log is %s, want one line when it began and one when it ended", got)
	}
	if failed, sent := count(t, made, resultFailed), count(t, made, resultExported); failed != 2 || sent != 1 {
		t.Errorf("%v failed and %v sent, want 2 and 1", failed, sent)
	}
}

func TestACollectorThatHangsHoldsUpNothing(t *testing.T) {
	made := &Telemetry{log: slog.New(slog.DiscardHandler)}
	to := &exporter{hang: make(chan struct{}), begun: make(chan struct{}, 1)}
	const size = 16
	made.begin(to, nil, 1, size, time.Millisecond)
	begin := func() {
		_, span := made.Traces.Begin(context.Background(), "a")
		span.End()
	}
	begin()
	<-to.begun // the one that is being sent
	for range 10 * size {
		begin() // would hang here
	}
	if dropped := count(t, made, resultDropped); dropped != 9*size {
		t.Errorf("%v spans are dropped, want all but those that may wait: %d", dropped, 9*size)
	}
	close(to.hang)
	made.Close(t.Context())
	if sent := count(t, made, resultExported); sent != size+1 {
		t.Errorf("%v spans are sent in the end, want %d", sent, size+1)
	}
	begin() // after the end
	if dropped := count(t, made, resultDropped); dropped != 9*size {
		t.Logf("a span after the end counts as dropped: %v", dropped)
	}
}

// exporter is a collector with faults.
type exporter struct {
	mu    sync.Mutex
	err   error
	calls int
	seen  int
	hang  chan struct{}
	begun chan struct{}
}

func (e *exporter) ExportSpans(context.Context, []sdk.ReadOnlySpan) error {
	if e.begun != nil {
		select {
		case e.begun <- struct{}{}:
		default:
		}
	}
	if e.hang != nil {
		<-e.hang
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls++
	return e.err
}

func (e *exporter) Shutdown(context.Context) error { return nil }

func (e *exporter) set(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err = err
}

// wait waits for one more call.
func (e *exporter) wait(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // polls a condition
		e.mu.Lock()
		done := e.calls > e.seen
		if done {
			e.seen = e.calls
		}
		e.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing is sent")
		}
	}
}

func TestWithoutAnEndpointNothingIsTraced(t *testing.T) {
	made, log := begun(t, "")
	if made.Traces != nil || log.Len() > 0 {
		t.Errorf("there are traces %v, and the log %s", made.Traces, log)
	}
	made.Close(t.Context())
	if got := testutil.CollectAndCount(made); got != 1 {
		t.Errorf("%d metrics, want that of the log", got)
	}
}

func TestMistakesInFlags(t *testing.T) {
	for name, test := range map[string]struct {
		flags Flags
		want  string // "" for none
	}{
		"nothing is given":          {Flags{LogFormat: "json"}, ""},
		"all is given":              {Flags{LogFormat: "text", Sample: 1, Endpoint: "https://collector:4318/otlp/v1/traces"}, ""},
		"a form that is none":       {Flags{LogFormat: "xml"}, "json or text"},
		"a share above one":         {Flags{LogFormat: "json", Sample: 1.1}, "from 0 to 1"},
		"a share that is no number": {Flags{LogFormat: "json", Sample: nan()}, "from 0 to 1"},
		"no scheme":                 {Flags{LogFormat: "json", Endpoint: "collector:4318"}, "give a URL"},
		"another scheme":            {Flags{LogFormat: "json", Endpoint: "grpc://collector:4317"}, "give a URL"},
		"credentials in the URL":    {Flags{LogFormat: "json", Endpoint: "https://ann:hunter2@collector"}, "OTEL_EXPORTER_OTLP_HEADERS"},
		"a query":                   {Flags{LogFormat: "json", Endpoint: "https://collector?token=hunter2"}, "leave it out"},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.flags.Check()
			switch {
			case test.want == "" && err != nil:
				t.Errorf("got %v, want none", err)
			case test.want != "" && (err == nil || !usage.Is(err) || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want one of usage with %q", err, test.want)
			case err != nil && strings.Contains(err.Error(), "hunter2"):
				t.Errorf("the message tells the credential: %v", err)
			}
		})
	}
}

func nan() float64 { zero := 0.0; return zero / zero }

package tracing_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/policies/tracing"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

const (
	traceID  = "4bf92f3577b34da6a3ce929d0e0e4736"
	kept     = "00-" + traceID + "-00f067aa0ba902b7-01"
	notKept  = "00-" + traceID + "-00f067aa0ba902b7-00"
	parentID = "00f067aa0ba902b7"
)

// recording makes a source whose spans can be looked at.
func recording(ratio float64) (*tracing.Source, *tracetest.SpanRecorder) {
	recorder := tracetest.NewSpanRecorder()
	return tracing.NewSource(sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder)), ratio), recorder
}

func TestWhichTracesAreKept(t *testing.T) {
	for name, test := range map[string]struct {
		ratio  float64
		header string
		keeps  bool
		id     string // "" for one of its own, where it is kept
	}{
		"the caller keeps it":                          {0, kept, true, traceID},
		"the caller does not":                          {1, notKept, false, traceID},
		"it begins here and all are kept":              {1, "", true, ""},
		"it begins here and none is":                   {0, "", false, ""},
		"the header makes no sense and all are kept":   {1, "00-" + strings.ToUpper(traceID) + "-" + parentID + "-01", true, ""},
		"the header makes no sense and none is":        {0, "nonsense", false, ""},
		"flags that nobody knows change nothing":       {0, "00-" + traceID + "-" + parentID + "-03", true, traceID},
		"a header longer than any version has any use": {0, kept[:53] + "01-" + strings.Repeat("x", 600), false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			source, recorder := recording(test.ratio)
			ctx, span := source.Serve(context.Background(), "review", test.header)
			if got := span.IsRecording(); got != test.keeps {
				t.Errorf("the trace is kept: %v, want %v", got, test.keeps)
			}
			if got := tracing.TraceID(ctx); test.id != "" && got != test.id || test.id == "" && (got != "") != test.keeps {
				t.Errorf("the trace id is %q, want %q", got, test.id)
			}
			if got := tracing.Sampled(ctx) != ""; got != test.keeps {
				t.Errorf("an exemplar may point to it: %v, want %v", got, test.keeps)
			}
			_, below := tracing.Start(ctx, "step")
			below.End()
			span.End()
			want := 0
			if test.keeps {
				want = 2
			}
			if got := len(recorder.Ended()); got != want {
				t.Errorf("%d spans have ended, want %d", got, want)
			}
			if test.keeps && test.id != "" {
				if got := recorder.Ended()[1].Parent().SpanID().String(); got != parentID {
					t.Errorf("the parent is %s, want the caller's %s", got, parentID)
				}
			}
		})
	}
}

func TestWhereNothingIsTracedNothingIsMade(t *testing.T) {
	var none *tracing.Source
	ctx := context.Background()
	for name, begin := range map[string]func() (context.Context, trace.Span){
		"no source serves":        func() (context.Context, trace.Span) { return none.Serve(ctx, "a", kept) },
		"no source begins":        func() (context.Context, trace.Span) { return none.Begin(ctx, "a") },
		"a step without a parent": func() (context.Context, trace.Span) { return tracing.Start(ctx, "a") },
		"a call without a parent": func() (context.Context, trace.Span) { return tracing.Ask(ctx, "a") },
	} {
		t.Run(name, func(t *testing.T) {
			made, span := begin()
			if span.IsRecording() || made != ctx || tracing.TraceID(made) != "" {
				t.Errorf("a span was made: %v", span.SpanContext())
			}
			tracing.End(span, errors.New("failed")) // does nothing
			if allocations := testing.AllocsPerRun(100, func() { begin() }); allocations != 0 {
				t.Errorf("it allocates %v times, want none", allocations)
			}
		})
	}
}

func TestWhatOutlivesItsAskerStaysInItsTrace(t *testing.T) {
	source, recorder := recording(1)
	asker, span := source.Begin(context.Background(), "review")
	background := tracing.Carry(context.Background(), asker)
	span.End()
	_, step := tracing.Start(background, "find out")
	tracing.End(step, errors.New("no answer"))
	ended := recorder.Ended()
	if len(ended) != 2 || ended[1].Parent().SpanID() != span.SpanContext().SpanID() {
		t.Fatalf("the spans are %v, want the second below the first", ended)
	}
	if status := ended[1].Status(); status.Code != codes.Error || status.Description != "no answer" {
		t.Errorf("the status is %v, want why it failed", status)
	}
}

func TestRequestsAreTold(t *testing.T) {
	var header string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Get(tracing.Header)
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer server.Close()
	plain := func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) { return tracing.RoundTrip("registry", next, r) })
	}
	for name, test := range map[string]struct {
		wrap   func(http.RoundTripper) http.RoundTripper
		path   string
		traced bool
		span   string
		told   bool // the server hears of the trace
		failed bool
	}{
		"a registry hears nothing":            {plain, "/v2/", true, "registry GET", false, false},
		"an API server hears of it":           {tracing.Kubernetes, "/api", true, "kubernetes GET", true, false},
		"a server that fails":                 {plain, "/broken", true, "registry GET", false, true},
		"a request of nothing that is traced": {tracing.Kubernetes, "/api", false, "", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			source, recorder := recording(1)
			ctx := context.Background()
			if test.traced {
				var span trace.Span
				ctx, span = source.Begin(ctx, "review")
				defer span.End()
			}
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+test.path+"?token=hunter2", nil)
			if err != nil {
				t.Fatal(err)
			}
			header = ""
			response, err := test.wrap(http.DefaultTransport).RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, response.Body)
			response.Body.Close()
			if got := header != ""; got != test.told {
				t.Errorf("the server got the header %q, want one: %v", header, test.told)
			}
			if request.Header.Get(tracing.Header) != "" {
				t.Error("the request that was given was changed")
			}
			ended := recorder.Ended()
			if !test.traced {
				if len(ended) != 0 {
					t.Errorf("spans were made: %v", ended)
				}
				return
			}
			if len(ended) != 1 || ended[0].Name() != test.span || ended[0].SpanKind() != trace.SpanKindClient {
				t.Fatalf("the spans are %v, want %q of a client", ended, test.span)
			}
			if test.told && header != "00-"+ended[0].SpanContext().TraceID().String()+"-"+ended[0].SpanContext().SpanID().String()+"-01" {
				t.Errorf("the header is %q, want the span", header)
			}
			if got := ended[0].Status().Code == codes.Error; got != test.failed {
				t.Errorf("it counts as failed: %v, want %v", got, test.failed)
			}
			for _, attribute := range ended[0].Attributes() {
				if strings.Contains(attribute.Value.String(), "hunter2") {
					t.Errorf("%s tells the query: %s", attribute.Key, attribute.Value.String())
				}
			}
		})
	}
}

func TestARequestWithoutAnswerSaysWhyWithoutItsURL(t *testing.T) {
	source, recorder := recording(1)
	ctx, span := source.Begin(context.Background(), "review")
	defer span.End()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:1/?token=hunter2", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tracing.RoundTrip("registry", http.DefaultTransport, request); err == nil {
		t.Fatal("there was an answer")
	}
	status := recorder.Ended()[0].Status()
	if status.Code != codes.Error || status.Description == "" || strings.Contains(status.Description, "hunter2") {
		t.Errorf("the status is %v, want why it failed, without the query", status)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func FuzzParse(f *testing.F) {
	for _, header := range []string{"", kept, notKept, "01-" + traceID + "-" + parentID + "-01-x", "00--", "ff-"} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		of := tracing.Parse(header)
		if !of.IsValid() {
			return
		}
		if !of.IsRemote() || !strings.Contains(header, "-"+of.TraceID().String()+"-"+of.SpanID().String()+"-") {
			t.Errorf("of %q trace %s and span %s are read, want what is in it", header, of.TraceID(), of.SpanID())
		}
	})
}

func BenchmarkStart(b *testing.B) {
	source, _ := recording(1)
	sampled, span := source.Begin(context.Background(), "review")
	defer span.End()
	for _, bench := range []struct {
		name string
		ctx  context.Context
	}{{"off", context.Background()}, {"sampled", sampled}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, span := tracing.Start(bench.ctx, "step")
				span.End()
			}
		})
	}
}

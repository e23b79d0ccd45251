package tracing

import (
	"errors"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// longestPath is how much of a path is told, in bytes.
const longestPath = 200

// RoundTrip sends a request with a span for it, where its context has one that is kept. name says what is asked, such as "registry". The path of
// the URL is told, its query never: it may hold credentials.
func RoundTrip(name string, next http.RoundTripper, request *http.Request) (*http.Response, error) {
	if !trace.SpanContextFromContext(request.Context()).IsSampled() {
		return next.RoundTrip(request)
	}
	return traced(name, next, request, false)
}

// Kubernetes is a transport to an API server, which hears of the trace: with APIServerTracing it adds what it does itself.
func Kubernetes(next http.RoundTripper) http.RoundTripper { return kubernetes{next} }

type kubernetes struct{ next http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (k kubernetes) RoundTrip(request *http.Request) (*http.Response, error) {
	if !trace.SpanContextFromContext(request.Context()).IsSampled() {
		return k.next.RoundTrip(request)
	}
	return traced("kubernetes", k.next, request, true)
}

// WrappedRoundTripper is what client-go looks through transports by (k8s.io/apimachinery/pkg/util/net.RoundTripperWrapper).
func (k kubernetes) WrappedRoundTripper() http.RoundTripper { return k.next }

func traced(name string, next http.RoundTripper, request *http.Request, tell bool) (*http.Response, error) {
	ctx, span := Ask(request.Context(), name+" "+request.Method)
	defer span.End()
	request = request.WithContext(ctx)
	if tell {
		request.Header = request.Header.Clone() // a RoundTripper must not change what it is given
		if request.Header == nil {
			request.Header = http.Header{}
		}
		request.Header.Set(Header, header(span.SpanContext()))
	}
	// Names of OpenTelemetry's semantic conventions for HTTP clients.
	span.SetAttributes(
		attribute.String("http.request.method", request.Method),
		attribute.String("server.address", request.URL.Host),
		attribute.String("url.path", strings.ToValidUTF8(request.URL.Path[:min(len(request.URL.Path), longestPath)], "")),
	)
	response, err := next.RoundTrip(request)
	switch {
	case err != nil:
		Fail(span, cause(err))
	default:
		span.SetAttributes(attribute.Int("http.response.status_code", response.StatusCode))
		if response.StatusCode >= http.StatusInternalServerError {
			Fail(span, response.Status)
		}
	}
	return response, err
}

// cause is why a request got no answer, without the URL that errors of net/http quote.
func cause(err error) string {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}

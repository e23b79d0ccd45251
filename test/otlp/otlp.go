// Package otlp is an OpenTelemetry collector for tests: it takes traces over HTTP (OTLP/HTTP, binary protobuf) and keeps them.
package otlp

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is one that arrived.
type Span struct {
	*trace.Span
	// Resource are the attributes of who made it.
	Resource map[string]string
}

// Attribute is the text of an attribute, "" where it has none.
func (s Span) Attribute(key string) string { return attributes(s.Attributes)[key] }

// Collector keeps what arrives.
type Collector struct {
	URL string
	// Answer is the status of each answer, 200 if 0.
	Answer int

	mu      sync.Mutex
	spans   []Span
	headers []http.Header
}

// Start starts one until the test ends.
func Start(t testing.TB) *Collector {
	c := &Collector{}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

// ServeHTTP implements [http.Handler].
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, "this takes traces as protobuf at /v1/traces", http.StatusNotFound)
		return
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = unzipped
	}
	content, err := io.ReadAll(body)
	var request collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(content, &request)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Answer != 0 {
		w.WriteHeader(c.Answer)
		return
	}
	c.headers = append(c.headers, r.Header)
	for _, resource := range request.ResourceSpans {
		of := attributes(resource.Resource.GetAttributes())
		for _, scope := range resource.ScopeSpans {
			for _, span := range scope.Spans {
				c.spans = append(c.spans, Span{span, of})
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	answer, _ := proto.Marshal(&collector.ExportTraceServiceResponse{})
	_, _ = w.Write(answer)
}

// Spans are those that have arrived of a trace, all for "".
func (c *Collector) Spans(traceID string) []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var of []Span
	for _, span := range c.spans {
		if traceID == "" || fmt.Sprintf("%x", span.TraceId) == traceID {
			of = append(of, span)
		}
	}
	return of
}

// Headers are those of the requests that have come.
func (c *Collector) Headers() []http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.headers)
}

// Tree is a trace as lines of names, each indented below its parent, each once among its siblings; those without a parent here come first.
func Tree(spans []Span) string {
	known := map[string]bool{}
	for _, span := range spans {
		known[string(span.SpanId)] = true
	}
	children := map[string][]Span{}
	for _, span := range spans {
		parent := string(span.ParentSpanId)
		if !known[parent] {
			parent = ""
		}
		children[parent] = append(children[parent], span)
	}
	var lines strings.Builder
	var write func(parents []string, depth int)
	write = func(parents []string, depth int) {
		byName := map[string][]string{}
		for _, parent := range parents {
			for _, child := range children[parent] {
				byName[child.Name] = append(byName[child.Name], string(child.SpanId))
			}
		}
		names := make([]string, 0, len(byName))
		for name := range byName {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			lines.WriteString(strings.Repeat("  ", depth) + name + "\n")
			write(byName[name], depth+1)
		}
	}
	write([]string{""}, 0)
	return lines.String()
}

func attributes(all []*common.KeyValue) map[string]string {
	of := map[string]string{}
	for _, one := range all {
		of[one.Key] = text(one.Value)
	}
	return of
}

func text(value *common.AnyValue) string {
	switch value := value.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return value.StringValue
	case *common.AnyValue_BoolValue:
		return fmt.Sprint(value.BoolValue)
	case *common.AnyValue_IntValue:
		return fmt.Sprint(value.IntValue)
	case *common.AnyValue_ArrayValue:
		var parts []string
		for _, one := range value.ArrayValue.GetValues() {
			parts = append(parts, text(one))
		}
		return strings.Join(parts, ",")
	}
	return value.String()
}

package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/portcullis-dev/portcullis/policies/journal"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/cosign/cosigntest"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
	"github.com/portcullis-dev/portcullis/test/otlp"
)

const (
	traceID     = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceparent = "00-" + traceID + "-00f067aa0ba902b7-01"
)

// sendTraced sends a review as an API server with APIServerTracing does.
func sendTraced(t *testing.T, client *http.Client, url, body, header string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Traceparent", header)
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("HTTP %d", response.StatusCode)
	}
}

// spansOf waits until a span of a name has arrived in a trace: the one that ends last.
func spansOf(t *testing.T, from *otlp.Collector, trace, last string) []otlp.Span {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) { // polls a condition
		spans := from.Spans(trace)
		if slices.ContainsFunc(spans, func(s otlp.Span) bool { return s.Name == last }) {
			return spans
		}
		if time.Now().After(deadline) {
			t.Fatalf("no span %q arrives, but:\n%s", last, otlp.Tree(spans))
		}
	}
}

// TestAReviewIsOneTraceFromTheAPIServerToTheRegistry sends a pod with a signed image through the whole program to a real registry.
func TestAReviewIsOneTraceFromTheAPIServerToTheRegistry(t *testing.T) {
	server, err := registrytest.Start(registrytest.TLS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	registryClient, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	key := cosigntest.NewKey(t)
	public, err := key.PublicPEM()
	if err != nil {
		t.Fatal(err)
	}
	image, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	repository := server.Repository("acme/app")
	pushed, err := registryClient.PushImage(t.Context(), repository, "signed", image)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cosign.Sign(t.Context(), registryClient, cosign.Target{Repository: repository, Digest: pushed.Digest}, key, cosign.SignOptions{}); err != nil {
		t.Fatal(err)
	}
	bundle, certificates, kept := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, bundle, signedBundle(server.Host(), public))
	to := otlp.Start(t)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20of-the-collector")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.cluster.name=tower")
	p := start(t, "--caller=open", "--no-cluster", "--certificate-dir="+certificates, "--bundle="+bundle, "--journal="+kept,
		"--registry-ca="+server.AuthorityFile(), "--allow-registry="+server.Host(), "--otlp-endpoint="+to.URL, "--trace-sample=0")
	reviews := client(t, certificates)
	sendTraced(t, reviews, p.url+"/validate?timeout=10s", podOf(repository.String()+":signed"), traceparent)
	sendTraced(t, reviews, p.url+"/validate?timeout=10s", podOf(repository.String()+":gone"), traceparent[:len(traceparent)-2]+"00")
	sendTraced(t, reviews, p.url+"/validate?timeout=10s", podOf(repository.String()+":gone"), "")

	spans := spansOf(t, to, traceID, "admission review")
	const want = `admission review
  judge
    evaluate
    find needs
    gather facts
      image evidence
        find out
          registry GET
  wait for a place
`
	if got := otlp.Tree(spans); got != want {
		t.Errorf("the trace is\n%s\nwant\n%s", got, want)
	}
	for _, span := range spans {
		if span.Resource["service.name"] != "portcullis-webhook" || span.Resource["k8s.cluster.name"] != "tower" {
			t.Errorf("the resource is %v, want the program, and what the environment adds", span.Resource)
		}
		switch span.Name {
		case "admission review":
			for key, value := range map[string]string{
				"portcullis.outcome": "admitted", "portcullis.webhook": "validate", "portcullis.resource": "pods", "portcullis.operation": "CREATE",
				"k8s.namespace.name": "shop", "portcullis.name": "",
			} {
				if got := span.Attribute(key); got != value {
					t.Errorf("%s is %q, want %q", key, got, value)
				}
			}
			if id := span.Attribute("portcullis.decision"); id == "" || journalled(t, kept, id) != traceID {
				t.Errorf("the journal has the trace %q for decision %q, want %s", journalled(t, kept, id), id, traceID)
			}
		case "registry GET":
			if span.Attribute("server.address") != server.Host() || span.Attribute("http.response.status_code") == "" {
				t.Errorf("a registry request tells %v, want host and status", span.Attributes)
			}
		}
	}
	if got := to.Headers()[0].Get("Authorization"); got != "Bearer of-the-collector" {
		t.Errorf("the collector was shown %q, want what the environment says", got)
	}
	waitForProbe(t, p.probes+"/metrics", 200, `portcullis_tracing_spans_total{result="dropped"} 0`, `portcullis_tracing_spans_total{result="failed"} 0`)
	p.stop()
	p.wait(t)
	if all := to.Spans(""); len(all) != len(spans) {
		t.Errorf("%d spans arrived, %d of the trace that is kept: want no others", len(all), len(spans))
	}
	if line := lineOf(t, p.log.String(), "reviewed"); line["trace_id"] != traceID {
		t.Errorf("the line of a denial is %v, want its trace though that is not kept", line)
	}
}

// journalled is the trace in the journal's line of a decision.
func journalled(t *testing.T, dir, id string) string {
	t.Helper()
	line, err := journal.Find(t.Context(), dir, id)
	if err != nil {
		t.Fatal(err)
	}
	return line.Decision.Trace
}

// lineOf is the first line of the log with a message.
func lineOf(t *testing.T, log, message string) map[string]any {
	t.Helper()
	for line := range strings.Lines(log) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) == nil && entry["msg"] == message {
			return entry
		}
	}
	t.Fatalf("no line %q in\n%s", message, log)
	return nil
}

// TestACollectorThatIsGoneCostsNothing but its spans, which are counted.
func TestACollectorThatIsGoneCostsNothing(t *testing.T) {
	certificates := t.TempDir()
	p := start(t, "--caller=open", "--no-cluster", "--certificate-dir="+certificates, "--otlp-endpoint=http://127.0.0.1:1", "--trace-sample=1")
	reviews := client(t, certificates)
	_, answer := send(t, reviews, p.url+"/validate?timeout=10s", strings.ReplaceAll(review, "%t", "false"))
	if answer == nil {
		t.Fatal("there was no answer")
	}
	if !strings.Contains(p.log.String(), `"collector":"http://127.0.0.1:1"`) {
		t.Errorf("the log does not say where traces go: %s", p.log)
	}
	began := time.Now()
	p.stop()
	if code := p.wait(t); code != exitOK {
		t.Errorf("exit code %d: %s", code, p.log)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("ending took %s, want a few seconds", took)
	}
}

package metrics

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func ask(t *testing.T, handler http.Handler, path, accept string) (contentType, body string) {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	request.Header.Set("Accept", accept)
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	if answer.Code != http.StatusOK {
		t.Fatalf("got %d: %s", answer.Code, answer.Body)
	}
	return answer.Header().Get("Content-Type"), answer.Body.String()
}

func TestExemplarsAreGivenToWhoUnderstandsThem(t *testing.T) {
	r := NewRegistry("test")
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "portcullis_webhook_things_seconds", Help: "Things."})
	r.MustRegister(h)
	h.(prometheus.ExemplarObserver).ObserveWithExemplar(.2, prometheus.Labels{"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"})
	handler := r.Handler(slog.New(slog.DiscardHandler))

	kind, body := ask(t, handler, "/metrics", "application/openmetrics-text;version=1.0.0")
	if !strings.HasPrefix(kind, "application/openmetrics-text") || !strings.Contains(body, `# {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 0.2`) || !strings.HasSuffix(body, "# EOF\n") {
		t.Errorf("got %s:\n%s", kind, body)
	}
	kind, body = ask(t, handler, "/metrics", "text/plain")
	if !strings.HasPrefix(kind, "text/plain") || strings.Contains(body, "trace_id") || !strings.Contains(body, "portcullis_webhook_things_seconds_count 1") {
		t.Errorf("got %s:\n%s", kind, body)
	}
}

func TestTheCatalogListsWhatHasNoValueYet(t *testing.T) {
	r := NewRegistry("test")
	r.MustRegister(prometheus.NewCounterVec(prometheus.CounterOpts{Name: things, Help: "Things."}, []string{"policy"}))
	handler := r.Handler(slog.New(slog.DiscardHandler))
	if _, body := ask(t, handler, "/metrics", "text/plain"); strings.Contains(body, things) {
		t.Fatal("it has a value already")
	}
	_, body := ask(t, handler, "/metrics?catalog", "")
	var all []Description
	if err := json.Unmarshal([]byte(body), &all); err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		if d.Name == things && d.Type == "counter" && d.Series == DefaultSeries && len(d.Labels) == 1 {
			return
		}
	}
	t.Errorf("got %s", body)
}

// inconsistent gives a metric twice.
type inconsistent struct{ desc *prometheus.Desc }

func (i inconsistent) Describe(to chan<- *prometheus.Desc) { to <- i.desc }
func (i inconsistent) Collect(to chan<- prometheus.Metric) {
	for range 2 {
		to <- prometheus.MustNewConstMetric(i.desc, prometheus.GaugeValue, 1)
	}
}

func TestOneMetricThatIsWrongDoesNotHideTheOthers(t *testing.T) {
	var log strings.Builder
	r := NewRegistry("test")
	r.MustRegister(inconsistent{prometheus.NewDesc("portcullis_webhook_things", "Things.", nil, nil)})
	_, body := ask(t, r.Handler(slog.New(slog.NewTextHandler(io.Writer(&log), nil))), "/metrics", "text/plain")
	if !strings.Contains(body, "portcullis_build_info{") || !strings.Contains(log.String(), "portcullis_webhook_things") {
		t.Errorf("got\n%s\nand the log\n%s", body, log.String())
	}
}

package metrics

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Limits of reading metrics.
const (
	// readTimeout is how long it may take: Prometheus waits ten seconds unless told otherwise.
	readTimeout = 9 * time.Second
	// readers is how many may read at once: two Prometheis and somebody who looks.
	readers = 4
)

// Handler serves the metrics, as OpenMetrics with exemplars to who asks for that, else as Prometheus' text. With the query ?catalog it serves
// the catalog as JSON instead.
func (r *Registry) Handler(log *slog.Logger) http.Handler {
	values := promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelError),
		ErrorHandling:       promhttp.ContinueOnError, // one metric that is wrong must not hide all others
		Registry:            r,
		MaxRequestsInFlight: readers,
		CoalesceGather:      true,
		Timeout:             readTimeout,
		EnableOpenMetrics:   true,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if !request.URL.Query().Has("catalog") {
			values.ServeHTTP(w, request)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_ = json.NewEncoder(w).Encode(r.Catalog()) // the reader is gone, and with it whom to tell
	})
}

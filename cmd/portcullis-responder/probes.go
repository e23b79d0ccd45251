package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/portcullis-dev/portcullis/cmd/internal/metrics"
)

// part is one part of the program whose state is asked for.
type part struct {
	name string
	// check says why events cannot be dealt with, notes what else to know. Either may be nil.
	check func() error
	notes func() []string
}

// probes answer /livez, /readyz and /metrics.
//
// Ready is who takes events: they are safe on disk, whether or not the API server answers. A replica that were not
// ready without it would have all events refused just when somebody attacks it, and Falco sends nothing twice. What keeps events
// from being dealt with is in the body, and in the metric portcullis_responder_acting.
type probes struct {
	parts    []part
	mux      http.ServeMux
	draining atomic.Bool
}

func newProbes(registry *metrics.Registry, log *slog.Logger, parts ...part) *probes {
	p := &probes{parts: parts}
	p.mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok\n") })
	p.mux.HandleFunc("GET /readyz", p.readyz)
	p.mux.Handle("GET /metrics", registry.Handler(log))
	registry.Gauge("portcullis_responder_acting", "1 where events can be dealt with; 0 where they wait, and /readyz says why.", func() float64 {
		if p.waiting() != nil {
			return 0
		}
		return 1
	})
	return p
}

// waiting is why events cannot be dealt with, nil where they can.
func (p *probes) waiting() error {
	for _, part := range p.parts {
		if part.check == nil {
			continue
		}
		if err := part.check(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

func (p *probes) readyz(w http.ResponseWriter, _ *http.Request) {
	code := http.StatusOK
	var lines strings.Builder
	if p.draining.Load() {
		code = http.StatusServiceUnavailable
		lines.WriteString("[-] draining failed: this replica is shutting down\n")
	}
	for _, part := range p.parts {
		if part.check != nil {
			if err := part.check(); err != nil {
				fmt.Fprintf(&lines, "[!] %s: events are kept and wait: %v\n", part.name, err)
				continue
			}
		}
		fmt.Fprintf(&lines, "[+] %s ok\n", part.name)
		if part.notes == nil {
			continue
		}
		for _, note := range part.notes() {
			fmt.Fprintf(&lines, "[!] %s: %s\n", part.name, note)
		}
	}
	writeText(w, code, lines.String())
}

func writeText(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // the prober is gone, and with it whom to tell
}

// server answers probes; kubelet and Prometheus have no client certificate.
func (p *probes) server() *http.Server {
	const timeout = 5 * time.Second
	return &http.Server{Handler: &p.mux, ReadHeaderTimeout: timeout, ReadTimeout: timeout, WriteTimeout: 15 * time.Second, MaxHeaderBytes: 16 << 10}
}

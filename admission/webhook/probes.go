package webhook

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
)

// Check is one condition of readiness. It returns why it does not hold.
type Check struct {
	Name  string
	Check func() error
	// Notes are what to know although it holds; nil for none.
	Notes func() []string
}

// Probes answers /livez, /readyz and /metrics.
//
// Live is who answers at all. Ready is who passes every check and is not draining;
// the body says which checks fail and why, and what to know of the others.
type Probes struct {
	checks   []Check
	mux      http.ServeMux
	draining atomic.Bool
}

// NewProbes makes probes from checks. metrics answers for what is counted.
func NewProbes(metrics http.Handler, checks ...Check) *Probes {
	probes := &Probes{checks: checks}
	probes.mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok\n") })
	probes.mux.HandleFunc("GET /readyz", probes.readyz)
	probes.mux.Handle("GET /metrics", metrics)
	return probes
}

// Drain makes readiness fail for good.
func (p *Probes) Drain() { p.draining.Store(true) }

// ServeHTTP answers a probe.
func (p *Probes) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.mux.ServeHTTP(w, r) }

func (p *Probes) readyz(w http.ResponseWriter, _ *http.Request) {
	code := http.StatusOK
	var lines strings.Builder
	report := func(name string, err error) {
		if err == nil {
			fmt.Fprintf(&lines, "[+] %s ok\n", name)
			return
		}
		code = http.StatusServiceUnavailable
		fmt.Fprintf(&lines, "[-] %s failed: %v\n", name, err)
	}
	if p.draining.Load() {
		report("draining", fmt.Errorf("this replica is shutting down"))
	}
	for _, check := range p.checks {
		err := check.Check()
		report(check.Name, err)
		if err != nil || check.Notes == nil {
			continue
		}
		for _, note := range check.Notes() {
			fmt.Fprintf(&lines, "[!] %s: %s\n", check.Name, note)
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

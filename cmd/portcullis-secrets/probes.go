package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// part is one part of the program whose state is asked for.
type part struct {
	name string
	// check says why the program is not ready, notes what else to know. Notes may be nil.
	check func(context.Context) error
	notes func() []string
}

// probes answers /livez, /readyz and /metrics. Ready is who could act, whether or not he leads.
func probes(metrics http.Handler, parts ...part) *http.Server {
	const timeout = 5 * time.Second
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		code := http.StatusOK
		var lines strings.Builder
		for _, part := range parts {
			if err := part.check(ctx); err != nil {
				code = http.StatusServiceUnavailable
				fmt.Fprintf(&lines, "[-] %s failed: %v\n", part.name, err)
				continue
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
	})
	mux.Handle("GET /metrics", metrics)
	return &http.Server{Handler: mux, ReadHeaderTimeout: timeout, ReadTimeout: timeout, WriteTimeout: 15 * time.Second, MaxHeaderBytes: 16 << 10}
}

func writeText(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // the prober is gone, and with it whom to tell
}

// served says why our objects cannot be read. It asks for one of them: with a resource version of 0 the API server would give all, whatever the limit.
func served(client dynamic.Interface) func(context.Context) error {
	return func(ctx context.Context) error {
		if _, err := client.Resource(v1alpha1.VaultSecrets).List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
			return fmt.Errorf("the VaultSecrets cannot be listed: %w: apply what portcullis-secrets crd and roles print", err)
		}
		return nil
	}
}

package registrytest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/portcullis-dev/portcullis/signer/registry"
)

// Shape is a way in which registries differ.
type Shape string

// The shapes.
const (
	// Referrers has the referrers API of OCI 1.1.
	Referrers Shape = "with the referrers API"
	// Fallback has none, as ghcr.io: referrers are listed under a tag.
	Fallback Shape = "without the referrers API"
	// Basic asks for [Username] and [Password].
	Basic Shape = "with a password"
	// Bearer asks for a token of its own token server, which asks for the password.
	Bearer Shape = "with tokens"
	// TLS has a certificate of a private authority.
	TLS Shape = "with a private certificate authority"
)

// Shapes are all of them.
func Shapes() []Shape { return []Shape{Referrers, Fallback, Basic, Bearer, TLS} }

// What [Basic] and [Bearer] want.
const (
	Username = "alice"
	Password = "correct horse"
)

// Server is a running registry.
type Server struct {
	shape    Shape
	host     string
	listener net.Listener
	server   *http.Server
	store    http.Handler
	tokens   *tokens
	// directory holds the certificate of the private authority.
	directory string

	mu       sync.Mutex
	faults   []Fault
	requests []Request
}

// Request is what was asked and how it was answered.
type Request struct {
	Method, Path, Query string
	Header              http.Header
	Status              int
}

// Start runs a registry on a free port of 127.0.0.1, with faults if any are given: the
// first is the outermost.
func Start(shape Shape, faults ...Fault) (*Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting a registry: %w", err)
	}
	s := &Server{shape: shape, host: listener.Addr().String(), listener: listener, faults: faults}
	s.store = withSubjects(ggcr.New(ggcr.WithReferrersSupport(shape != Fallback), ggcr.Logger(log.New(io.Discard, "", 0))), shape != Fallback)
	s.tokens = newTokens()
	s.server = &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	if shape == TLS {
		if err := s.secure(); err != nil {
			return nil, errors.Join(fmt.Errorf("starting a registry: %w", err), s.Close())
		}
	}
	go func() { _ = s.server.Serve(s.listener) }()
	return s, nil
}

// secure makes a certificate authority and a certificate.
func (s *Server) secure() error {
	authority, certificate, err := newCertificate()
	if err != nil {
		return err
	}
	if s.directory, err = os.MkdirTemp("", "registry"); err != nil {
		return err
	}
	if err := os.WriteFile(s.AuthorityFile(), authority, 0o600); err != nil {
		return err
	}
	s.server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	s.listener = tls.NewListener(s.listener, s.server.TLSConfig)
	return nil
}

// Close ends the registry and its connections.
func (s *Server) Close() error {
	err := s.server.Close()
	if s.directory != "" {
		err = errors.Join(err, os.RemoveAll(s.directory))
	}
	return errors.Join(err, ignoreClosed(s.listener.Close()))
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Host is "127.0.0.1:PORT".
func (s *Server) Host() string { return s.host }

// URL is the address with its scheme.
func (s *Server) URL() string {
	if s.shape == TLS {
		return "https://" + s.host
	}
	return "http://" + s.host
}

// Repository of this registry.
func (s *Server) Repository(path string) registry.Repository {
	return registry.Repository{Registry: s.host, Path: path}
}

// AuthorityFile is the certificate of the private authority in PEM, of shape [TLS].
func (s *Server) AuthorityFile() string { return filepath.Join(s.directory, "ca.pem") }

// Options are those of a client that may speak with this registry, and with no other on
// a loopback address.
func (s *Server) Options() registry.Options {
	options := registry.Options{Allow: []string{s.host}}
	if s.shape != TLS {
		options.PlainHTTP = []string{s.host}
	} else {
		options.Authorities = []registry.Authority{{File: s.AuthorityFile()}}
	}
	if s.shape == Basic || s.shape == Bearer {
		options.Credentials = registry.Static{s.host: {Username: Username, Password: Password}}
	}
	return options
}

// Client is a client with [Server.Options].
func (s *Server) Client() (*registry.Client, error) { return registry.New(s.Options()) }

// Inject puts faults in place of those that there are; without any the registry is well again.
func (s *Server) Inject(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faults
}

// Requests are those since the start or the last [Server.Forget], in the order of their answers.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Forget forgets the requests.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

// serve records a request and answers it, through the faults.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	recorder := &recorder{ResponseWriter: w}
	record := Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Header: r.Header.Clone()}
	defer func() {
		record.Status = recorder.status
		s.mu.Lock()
		s.requests = append(s.requests, record)
		s.mu.Unlock()
	}()
	s.mu.Lock()
	var handler http.Handler = http.HandlerFunc(s.answer)
	for i := len(s.faults) - 1; i >= 0; i-- {
		handler = s.faults[i](handler)
	}
	s.mu.Unlock()
	handler.ServeHTTP(recorder, r)
}

// answer is the registry without faults.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" && s.shape == Bearer {
		s.tokens.serve(w, r)
		return
	}
	switch s.shape {
	case Basic:
		if name, password, ok := r.BasicAuth(); !ok || name != Username || password != Password {
			unauthorized(w, `Basic realm="registry"`)
			return
		}
	case Bearer:
		scope := scopeOf(r)
		if !s.tokens.allows(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), scope) {
			unauthorized(w, fmt.Sprintf(`Bearer realm="%s/token",service="registry",scope="%s"`, s.URL(), scope))
			return
		}
	}
	s.store.ServeHTTP(w, r)
}

// recorder remembers the status.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// withSubjects adds the OCI-Subject header to answers to pushed referrers, which the
// distribution specification demands of a registry with the API, and remembers nothing.
func withSubjects(store http.Handler, api bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if api && r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
			raw, err := io.ReadAll(io.LimitReader(r.Body, registry.DefaultMaxManifest))
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			var manifest struct {
				Subject *struct {
					Digest string `json:"digest"`
				} `json:"subject"`
			}
			if json.Unmarshal(raw, &manifest) == nil && manifest.Subject != nil {
				w.Header().Set("OCI-Subject", manifest.Subject.Digest)
			}
			r = r.Clone(r.Context())
			r.Body = io.NopCloser(bytes.NewReader(raw))
		}
		store.ServeHTTP(w, r)
	})
}

// wait ends with the time or the request.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Timeouts of the TLS server. A client that sends slowly holds a connection and
// nothing else, and not for long.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
	// The API server opens one HTTP/2 connection and sends all its requests on it.
	maxStreams = 1000
)

// Server serves a [Handler] over TLS and its probes beside it, until its context
// ends.
type Server struct {
	Handler *Handler
	// Certificate is the serving certificate, asked for at each handshake.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Probes answers /livez, /readyz and /metrics on a port of its own, since kubelet and
	// Prometheus have no client certificate.
	Probes *Probes
	// Beside answers paths of its own on the port of reviews, for callers that show who they are in other ways than [Callers] asks for; nil for none.
	Beside map[string]http.Handler
	// DrainDelay is how long requests are still taken after the context ends: until
	// the cluster has noticed that the replica is not ready any more. DrainGrace is how long
	// those under way may then take.
	DrainDelay, DrainGrace time.Duration
	// ReadTimeout limits how long a request may take to arrive; 15 s if 0.
	ReadTimeout time.Duration
	Logger      *slog.Logger
}

// Serve serves reviews on one listener and probes on the other. After ctx ends it
// drains: readiness fails first, then answers ask their callers to go elsewhere, then
// what is under way is finished. It returns nil after a clean drain.
func (s *Server) Serve(ctx context.Context, reviews, probes net.Listener) error {
	server, probeServer := s.reviewServer(), s.probeServer()
	ended := make(chan error, 2)
	go func() { ended <- probeServer.Serve(probes) }()
	go func() { ended <- server.ServeTLS(reviews, "", "") }()
	defer probeServer.Close()
	s.Logger.Info("serving", "reviews", reviews.Addr().String(), "probes", probes.Addr().String())
	select {
	case err := <-ended:
		server.Close()
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	return s.drain(server, ended)
}

func (s *Server) drain(server *http.Server, ended <-chan error) error {
	s.Logger.Info("draining", "delay", s.DrainDelay.String(), "grace", s.DrainGrace.String())
	s.Probes.Drain()
	s.Handler.Drain()
	select {
	case err := <-ended:
		return fmt.Errorf("serving while draining: %w", err)
	case <-time.After(s.DrainDelay):
	}
	grace, cancel := context.WithTimeout(context.Background(), s.DrainGrace)
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		server.Close()
		return fmt.Errorf("draining: requests were still under way after %s: raise --drain-grace", s.DrainGrace)
	}
	if err != nil {
		return fmt.Errorf("draining: %w", err)
	}
	s.Logger.Info("drained")
	return nil
}

func (s *Server) reviewServer() *http.Server {
	read := s.ReadTimeout
	if read <= 0 {
		read = readTimeout
	}
	return &http.Server{
		Handler:           s.reviews(),
		TLSConfig:         tlsConfig(s.Certificate, s.Handler.callers.Mode),
		ReadHeaderTimeout: min(readHeaderTimeout, read),
		ReadTimeout:       read,
		WriteTimeout:      read + s.Handler.options.TimeoutCap,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:          slog.NewLogLogger(s.Logger.Handler(), slog.LevelWarn),
	}
}

// reviews is the handler, with what is beside it.
func (s *Server) reviews() http.Handler {
	if len(s.Beside) == 0 {
		return s.Handler
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if beside := s.Beside[r.URL.Path]; beside != nil {
			beside.ServeHTTP(w, r)
			return
		}
		s.Handler.ServeHTTP(w, r)
	})
}

func (s *Server) probeServer() *http.Server {
	return &http.Server{
		Handler:           s.Probes,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.Logger.Handler(), slog.LevelWarn),
	}
}

// tlsConfig asks for a client certificate where one is wanted, and leaves verifying
// it to [Callers].
func tlsConfig(certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), mode CallerMode) *tls.Config {
	config := &tls.Config{
		GetCertificate: certificate,
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
	}
	if mode == CallerCertificate {
		config.ClientAuth = tls.RequestClientCert
	}
	return config
}

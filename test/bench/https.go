package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/test/pki"
)

// A Service is a webhook served over HTTPS on loopback, as webhook.Server serves:
// by net/http with a certificate of ECDSA P-256.
type Service struct {
	URL    string
	server *http.Server
	roots  *x509.CertPool
}

// Serve starts a webhook; its certificate lies in a folder.
func Serve(handler http.Handler, dir string) (*Service, error) {
	authority, err := pki.NewAuthority(dir, "bench-ca")
	if err != nil {
		return nil, err
	}
	pair, err := authority.Issue("webhook")
	if err != nil {
		return nil, err
	}
	roots, err := readRoots(authority.File)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serving the webhook: %w", err)
	}
	s := &Service{
		URL:    "https://" + listener.Addr().String() + "/validate?timeout=10s",
		server: &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second},
		roots:  roots,
	}
	go func() { _ = s.server.ServeTLS(listener, pair.CertFile, pair.KeyFile) }() // ends with Close
	return s, nil
}

// Close ends it.
func (s *Service) Close() { _ = s.server.Close() }

func readRoots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the authority: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return roots, nil
}

// Load is a number of connections on which requests follow each other without a pause.
type Load struct {
	url     string
	accept  func(status int, answer []byte) error
	workers []*worker
}

type worker struct {
	client *http.Client
	bodies *Template
}

// NewLoad prepares connections of their own: HTTP/1.1, so that each is one.
func NewLoad(url string, roots *x509.CertPool, clientPair *pki.Pair, connections int, bodies *Template, admitted bool) (*Load, error) {
	config := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	if clientPair != nil {
		certificate, err := tls.LoadX509KeyPair(clientPair.CertFile, clientPair.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("reading the client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	l := &Load{url: url, accept: accepting(wanted(admitted))}
	for n := range connections {
		transport := &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: 1, DisableCompression: true}
		l.workers = append(l.workers, &worker{&http.Client{Transport: transport, Timeout: time.Minute}, bodies.Clone(n)})
	}
	return l, nil
}

// Throughput is what a load achieved.
type Throughput struct {
	PerSecond float64
	P50, P99  time.Duration
}

// Run loads the webhook for a time.
func (l *Load) Run(ctx context.Context, duration time.Duration) (Throughput, error) {
	ctx, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	durations := make([][]time.Duration, len(l.workers))
	problems := make([]error, len(l.workers))
	start := time.Now()
	var group sync.WaitGroup
	for i, w := range l.workers {
		group.Go(func() {
			for ctx.Err() == nil && problems[i] == nil {
				began := time.Now()
				if problems[i] = w.ask(l.url, l.accept); problems[i] == nil {
					durations[i] = append(durations[i], time.Since(began))
				}
			}
		})
	}
	group.Wait()
	elapsed := time.Since(start)
	all := slices.Concat(durations...)
	problems = slices.DeleteFunc(problems, func(err error) bool { return err == nil })
	if len(problems) > 0 {
		return Throughput{}, fmt.Errorf("loading %s: %d of %d connections failed, the first because of: %w", l.url, len(problems), len(l.workers), problems[0])
	}
	if len(all) == 0 {
		return Throughput{}, fmt.Errorf("loading %s: nothing was answered within %s", l.url, duration)
	}
	return Throughput{float64(len(all)) / elapsed.Seconds(), percentile(all, 50), percentile(all, 99)}, nil
}

// Close ends the connections.
func (l *Load) Close() {
	for _, w := range l.workers {
		w.client.CloseIdleConnections()
	}
}

// accepting takes answers that hold something, and no others.
func accepting(want []byte) func(int, []byte) error {
	return func(status int, answer []byte) error {
		if !bytes.Contains(answer, want) {
			return fmt.Errorf("the answer is %d %.300s: want %s", status, answer, want)
		}
		return nil
	}
}

func (w *worker) ask(url string, accept func(int, []byte) error) error {
	response, err := w.client.Post(url, "application/json", bytes.NewReader(w.bodies.Next()))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	return accept(response.StatusCode, answer)
}

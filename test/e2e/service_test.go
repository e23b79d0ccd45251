package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/test/programs"
)

// service is one address in front of several replicas, as a Kubernetes Service is:
// new connections go in turn to those that are ready, established ones stay where
// they are. What is inside them, TLS, it does not see.
type service struct {
	listener net.Listener
	mu       sync.Mutex
	backends []*backend
	next     int
	done     context.CancelFunc
	running  sync.WaitGroup
}

// backend is one replica: where it serves and where it says that it is ready.
type backend struct {
	address, readyURL string
	ready             bool
}

// probeInterval is how often readiness is asked for. A cluster asks every few
// seconds; a test has less time.
const probeInterval = 50 * time.Millisecond

func newService() (*service, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting a service: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &service{listener: listener, done: cancel}
	s.running.Go(func() { s.accept(ctx) })
	s.running.Go(func() { s.probe(ctx) })
	return s, nil
}

func (s *service) address() string { return s.listener.Addr().String() }

func (s *service) stop() {
	s.done()
	s.listener.Close()
	s.running.Wait()
}

// add puts a replica behind the address as soon as it says that it is ready.
func (s *service) add(address, readyURL string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backends = append(s.backends, &backend{address: address, readyURL: readyURL})
}

// ready counts the replicas that are.
func (s *service) ready() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.readyBackends())
}

func (s *service) readyBackends() []*backend {
	return slices.DeleteFunc(slices.Clone(s.backends), func(b *backend) bool { return !b.ready })
}

func (s *service) accept(ctx context.Context) {
	for {
		client, err := s.listener.Accept()
		if err != nil {
			return // closed by stop
		}
		s.running.Go(func() { s.forward(ctx, client) })
	}
}

// forward copies both ways until one side is done or the service stops.
func (s *service) forward(ctx context.Context, client net.Conn) {
	defer client.Close()
	replica, err := s.dial(ctx)
	if err != nil {
		return // the client sees its connection closed, as with a Service without endpoints
	}
	defer replica.Close()
	ended := make(chan struct{}, 2)
	go func() { _, _ = io.Copy(replica, client); ended <- struct{}{} }() // an error is an end as well
	go func() { _, _ = io.Copy(client, replica); ended <- struct{}{} }()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// dial connects to the next ready replica that answers.
func (s *service) dial(ctx context.Context) (net.Conn, error) {
	s.mu.Lock()
	candidates := s.readyBackends()
	s.next++
	first := s.next
	s.mu.Unlock()
	for i := range candidates {
		replica, err := (&net.Dialer{}).DialContext(ctx, "tcp", candidates[(first+i)%len(candidates)].address)
		if err == nil {
			return replica, nil
		}
	}
	return nil, errors.New("no replica is ready")
}

func (s *service) probe(ctx context.Context) {
	client := &http.Client{Timeout: 2 * time.Second}
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	for {
		s.mu.Lock()
		backends := slices.Clone(s.backends)
		s.mu.Unlock()
		for _, backend := range backends {
			ready := programs.Probe(ctx, client, backend.readyURL) == nil
			s.mu.Lock()
			backend.ready = ready
			s.mu.Unlock()
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

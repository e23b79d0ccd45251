package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/portcullis-dev/portcullis/runtime/falco"
	"github.com/portcullis-dev/portcullis/runtime/falco/falcotest"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/test/pki"
)

const (
	// budgetAcknowledged is for how long one Falco waits for the answer to an event, budgetSent how many it sends in a second meanwhile.
	budgetAcknowledged = time.Millisecond
	budgetSent         = 5000
	// budgetStorm is how many events all Falcos together send in a second: what one node can make (falco-performance-testing).
	budgetStorm = 10_000
	// budgetGrowth is what memory may grow by in a storm: what is remembered to recognise duplicates has a bound.
	budgetGrowth = 16 << 20
	stormNodes   = 8
	// stormRate is what is sent, so that the pauses of the senders do not make it less than the budget.
	stormRate = budgetStorm * 21 / 20
)

// sensors is a receiver of events with mutual TLS, and what the Falcos of nodes need to send some. Its events are taken by one goroutine.
type sensors struct {
	address   string
	queue     *falco.Queue
	server    *http.Server
	authority *pki.Authority
	roots     *tls.Config
	taken     atomic.Int64
	critical  atomic.Int64
	stop      context.CancelFunc
	taker     sync.WaitGroup
}

func newSensors(ctx context.Context, dir string) (*sensors, error) {
	authority, err := pki.NewAuthority(dir, "falco-ca")
	if err != nil {
		return nil, err
	}
	pair, err := authority.Issue("responder")
	if err != nil {
		return nil, err
	}
	roots, err := readRoots(authority.File)
	if err != nil {
		return nil, err
	}
	certificate, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the receiver's certificate: %w", err)
	}
	queue, err := falco.OpenQueue(falco.QueueOptions{Dir: filepath.Join(dir, "events")})
	if err != nil {
		return nil, err
	}
	receiver, err := falco.NewReceiver(falco.Options{Queue: queue, ClientCAs: func() *x509.CertPool { return roots }})
	if err != nil {
		return nil, errors.Join(err, queue.Close())
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("serving the receiver: %w", err), queue.Close())
	}
	s := &sensors{address: listener.Addr().String(), queue: queue, authority: authority, roots: &tls.Config{RootCAs: roots, ServerName: "localhost"}}
	s.server = receiver.Server(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate, nil })
	go func() { _ = s.server.ServeTLS(falco.Limit(listener, 0), "", "") }() // ends with close
	ctx, s.stop = context.WithCancel(ctx)
	s.taker.Go(func() { s.take(ctx) })
	return s, nil
}

func (s *sensors) take(ctx context.Context) {
	for {
		item, err := s.queue.Take(ctx)
		if err != nil {
			return
		}
		s.taken.Add(1)
		if item.Message.Event.Priority == response.Critical {
			s.critical.Add(1)
		}
		item.Done()
	}
}

func (s *sensors) close() error {
	s.stop()
	s.taker.Wait()
	return errors.Join(s.server.Close(), s.queue.Close())
}

// dial connects as the Falco of a node.
func (s *sensors) dial(ctx context.Context, node string) (*falcotest.Sensor, error) {
	pair, err := s.authority.Issue("system:node:" + node)
	if err != nil {
		return nil, err
	}
	certificate, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate of a node: %w", err)
	}
	config := s.roots.Clone()
	config.Certificates = []tls.Certificate{certificate}
	return falcotest.Dial(ctx, s.address, falco.Path, config)
}

// eventRows measure how events of Falco come in, over TLS with certificates on both sides, sensors and receiver on the same processors.
func eventRows(ctx context.Context, size Size, dir string) (rows []Row, err error) {
	s, err := newSensors(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	one, err := s.oneConnection(ctx, size)
	if err != nil {
		return nil, err
	}
	storm, err := s.storm(ctx, size)
	return append(one, storm...), err
}

// sending is what one round on one connection came to.
type sending struct {
	perSecond float64
	cpu, p99  time.Duration
}

// oneConnection sends one event after the other, as Falco does.
func (s *sensors) oneConnection(ctx context.Context, size Size) ([]Row, error) {
	sensor, err := s.dial(ctx, "node-one")
	if err != nil {
		return nil, err
	}
	defer sensor.Close()
	var rounds []sending
	number := 0
	for range size.LoadRounds + 1 {
		var waits []time.Duration
		began, cpu := time.Now(), processTime()
		for time.Since(began) < size.Load {
			number++
			event := falcotest.Event("Run shell untrusted", "Warning", number, time.Now())
			sent := time.Now()
			status, text, err := sensor.Send(event)
			if err != nil || status != http.StatusOK {
				return nil, errors.Join(fmt.Errorf("an event was answered with %d %s", status, text), err)
			}
			waits = append(waits, time.Since(sent))
		}
		took := time.Since(began)
		rounds = append(rounds, sending{perSecond: float64(len(waits)) / took.Seconds(), cpu: (processTime() - cpu) / time.Duration(len(waits)), p99: percentile(waits, 99)})
	}
	rounds = rounds[1:] // the first one is for handshakes
	perSecond := median(rounds, func(s sending) float64 { return s.perSecond })
	cpu := median(rounds, func(s sending) time.Duration { return s.cpu })
	waiting := durationRow("  acknowledged, kept on disk: p99", median(rounds, func(s sending) time.Duration { return s.p99 }), budgetAcknowledged)
	waiting.Note = fmt.Sprintf("the processor time is %.0f µs: what is beyond is waiting, for other programs or for the disk", micros(cpu))
	return []Row{
		{What: "events of one Falco on one connection", Got: fmt.Sprintf("%5.0f/s, CPU %.0f µs of both sides for each", perSecond, micros(cpu)),
			Budget: fmt.Sprintf("%d/s", budgetSent), Of: budgetSent / perSecond},
		waiting.noteIfMissed(),
	}, nil
}

// storm sends budgetStorm events a second from several nodes. One in a hundred is Critical, one in ten was sent before.
func (s *sensors) storm(ctx context.Context, size Size) ([]Row, error) {
	duration := size.Load * time.Duration(size.LoadRounds)
	takenBefore, heapBefore := s.taken.Load(), heapInUse()
	var critical, sent, refused atomic.Int64
	problems := make([]error, stormNodes)
	var group sync.WaitGroup
	began := time.Now()
	for node := range stormNodes {
		sensor, err := s.dial(ctx, fmt.Sprint("node-", node))
		if err != nil {
			return nil, err
		}
		defer sensor.Close()
		group.Go(func() {
			var event []byte
			for n := 0; ; n++ {
				due := time.Duration(n) * time.Second * stormNodes / stormRate
				if due >= duration || ctx.Err() != nil {
					return
				}
				if early := due - time.Since(began); early > time.Millisecond {
					time.Sleep(early) // the rate, in bursts of a millisecond
				}
				priority := "Notice"
				if n%100 == 50 {
					priority = "Critical"
					critical.Add(1)
				}
				if n%10 != 9 {
					event = falcotest.Event("Run shell untrusted", priority, n, began.Add(due))
				}
				status, _, err := sensor.Send(event)
				if err != nil {
					problems[node] = err
					return
				}
				if sent.Add(1); status != http.StatusOK {
					refused.Add(1)
				}
			}
		})
	}
	group.Wait()
	took := time.Since(began)
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	grown := max(heapInUse()-heapBefore, 0)
	lost := critical.Load() - s.critical.Load()
	rate := float64(sent.Load()) / took.Seconds()
	return []Row{
		Row{What: fmt.Sprintf("events of %d nodes at once: read, kept, recognised when they came again, taken", stormNodes),
			Got: fmt.Sprintf("%5.0f/s, %d taken, %d shed", rate, s.taken.Load()-takenBefore, refused.Load()), Budget: fmt.Sprintf("%d/s", budgetStorm), Of: budgetStorm / rate,
			Note: "sent at that rate from the same two sides of the processors; what is missing of it is what other programs took"}.noteIfMissed(),
		noneRow("  Critical ones lost", lost, critical.Load()),
		bytesRow("  memory that stays", float64(grown), budgetGrowth),
	}, nil
}

// settle waits until everything is taken.
func (s *sensors) settle(ctx context.Context) error {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		status := s.queue.Status()
		if status.Held+status.Lanes["urgent"].Waiting+status.Lanes["ordinary"].Waiting == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// noteIfMissed leaves a note out where the budget is met, within what the pacing of the sender costs.
func (r Row) noteIfMissed() Row {
	if r.Of <= 1 {
		r.Note = ""
	}
	return r
}

// heapInUse is how many bytes are in use after a collection.
func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

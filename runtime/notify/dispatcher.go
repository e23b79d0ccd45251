package notify

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Receiver gets messages.
type Receiver interface {
	// Name is its label in metrics.
	Name() string
	// Send tells one message. An error means that it is to be told again, unless it wraps [ErrRefused]; a
	// [RetryError] says when at the earliest. It returns when ctx ends. It is called by one goroutine at a time.
	Send(ctx context.Context, m Message) error
}

// ErrRefused is wrapped by the errors of a [Receiver] that will not take a message however often it is sent.
var ErrRefused = errors.New("the receiver refuses it")

// RetryError says when a receiver wants to be asked again.
type RetryError struct {
	After time.Duration
	Err   error
}

func (e *RetryError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *RetryError) Unwrap() error { return e.Err }

// Route is a receiver, and what it is told. The zero filter lets everything pass.
type Route struct {
	Receiver Receiver
	// Severity is the lowest one that is told, "" for all. What pages is always told.
	Severity Severity
	// Kinds are what is told, none for all.
	Kinds []Kind
}

// wants says whether a message is for the receiver.
func (r *Route) wants(m Message) bool {
	if len(r.Kinds) > 0 && !slices.Contains(r.Kinds, m.details.Kind) {
		return false
	}
	return r.Severity == "" || m.Page() || m.details.Severity.rank() <= r.Severity.rank()
}

// Bounds of a queue, and of sending.
const (
	// DefaultQueue is far above what limits and circuit breaker let happen within an hour.
	DefaultQueue = 1000
	// DefaultMaxAge is after what time a message is given up: by then people have looked elsewhere.
	DefaultMaxAge = time.Hour
	// sendTimeout bounds one attempt.
	sendTimeout = 15 * time.Second
	// The first pause after a failure, and the longest.
	minPause = 500 * time.Millisecond
	maxPause = 30 * time.Second
	// maxRetryAfter bounds what a receiver may ask for: whoever answers in its place must not silence it for long.
	maxRetryAfter = 5 * time.Minute
)

// Options of a [Dispatcher].
type Options struct {
	Routes []Route
	// Queue is how many messages may wait for one receiver, MaxAge for how long.
	Queue  int
	MaxAge time.Duration
	// Metrics count; nil makes some that nobody sees.
	Metrics *Metrics
	// Logger hears of what is lost and of receivers that fail; nil discards.
	Logger *slog.Logger
	// Now, Wait and Jitter (0 to 1) are the clock, the waiting and the chance, for tests.
	Now    func() time.Time
	Wait   func(context.Context, time.Duration) error
	Jitter func() float64
}

func (o Options) withDefaults() Options {
	if o.Queue <= 0 {
		o.Queue = DefaultQueue
	}
	if o.MaxAge <= 0 {
		o.MaxAge = DefaultMaxAge
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Wait == nil {
		o.Wait = wait
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	return o
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Dispatcher hands messages to receivers. It is for use by several goroutines. The nil Dispatcher tells nobody.
type Dispatcher struct {
	queues []*queue
}

// NewDispatcher starts a goroutine for each receiver. Close ends them.
func NewDispatcher(options Options) *Dispatcher {
	options = options.withDefaults()
	d := &Dispatcher{}
	for _, route := range options.Routes {
		q := newQueue(route, &options)
		d.queues = append(d.queues, q)
		q.running.Go(q.run)
	}
	return d
}

// Notify gives a message to all receivers that want it. It never waits, and nothing depends on it: what cannot be told is counted.
func (d *Dispatcher) Notify(m Message) {
	if d == nil || m.id == "" {
		return
	}
	for _, q := range d.queues {
		q.offer(m)
	}
}

// Close lets receivers have what waits for them until ctx ends, and drops the rest.
func (d *Dispatcher) Close(ctx context.Context) {
	if d == nil {
		return
	}
	var all sync.WaitGroup
	for _, q := range d.queues {
		all.Go(func() { q.close(ctx) })
	}
	all.Wait()
}

package notify

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Reasons why a message is lost, as the metric has them.
const (
	lostQueue   = "queue"   // too many wait
	lostRefused = "refused" // the receiver will never take it
	lostExpired = "expired" // it could not be told in time
	lostClosed  = "closed"  // the program ended
)

// waiting is a message in a queue.
type waiting struct {
	message Message
	since   time.Time
}

// urgency orders messages where not all find a place: 0 is what pages.
func (w *waiting) urgency() int {
	if w.message.Page() {
		return 0
	}
	return 1 + w.message.details.Severity.rank()
}

// queue is what waits for one receiver.
type queue struct {
	route   Route
	options *Options

	mu      sync.Mutex
	waiting []waiting
	closed  bool
	wake    chan struct{}

	ctx     context.Context //nolint:containedctx // that of sending, ended by close
	cancel  context.CancelFunc
	running sync.WaitGroup
	// failures are how often it has failed since it last took a message. Only run uses it.
	failures int
}

func newQueue(route Route, options *Options) *queue {
	q := &queue{route: route, options: options, wake: make(chan struct{}, 1)}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	options.Metrics.begin(route.Receiver.Name())
	return q
}

// offer takes a message if the receiver wants it. Where there is no room the least urgent message goes, of several the oldest.
func (q *queue) offer(m Message) {
	if !q.route.wants(m) {
		return
	}
	entry := waiting{message: m, since: q.options.Now()}
	q.mu.Lock()
	lost, dropped := q.put(entry)
	q.count()
	q.mu.Unlock()
	if dropped {
		q.lose(lost.message, lostQueue, nil)
	}
	q.signal()
}

// put adds an entry, and says what had to go for it. The caller holds the lock.
func (q *queue) put(entry waiting) (lost waiting, dropped bool) {
	if q.closed {
		return entry, true
	}
	if len(q.waiting) < q.options.Queue {
		q.waiting = append(q.waiting, entry)
		return waiting{}, false
	}
	least := 0
	for n := range q.waiting {
		if q.waiting[n].urgency() > q.waiting[least].urgency() {
			least = n
		}
	}
	if q.waiting[least].urgency() <= entry.urgency() {
		return entry, true
	}
	lost = q.waiting[least]
	q.waiting = append(append(q.waiting[:least:least], q.waiting[least+1:]...), entry)
	return lost, true
}

// take removes the first entry; done says that none will come.
func (q *queue) take() (entry waiting, ok, done bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return waiting{}, false, q.closed
	}
	entry, q.waiting = q.waiting[0], q.waiting[1:]
	q.count()
	return entry, true, false
}

// again puts an entry behind all others, with those about the same subject behind it: a message that a receiver does not
// get over keeps nothing else waiting, and what is told of one quarantine keeps its order.
func (q *queue) again(entry waiting) {
	q.mu.Lock()
	defer q.mu.Unlock()
	subject := entry.message.subject()
	var others []waiting
	same := []waiting{entry}
	for _, w := range q.waiting {
		if w.message.subject() == subject {
			same = append(same, w)
		} else {
			others = append(others, w)
		}
	}
	q.waiting = append(others, same...)
	q.count()
}

// count says how many wait. The caller holds the lock.
func (q *queue) count() { q.options.Metrics.wait(q.route.Receiver.Name(), len(q.waiting)) }

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) run() {
	for {
		entry, ok, done := q.take()
		if done {
			return
		}
		if !ok {
			<-q.wake
			continue
		}
		q.tell(entry)
	}
}

// tell sends one message once, and pauses after a failure.
func (q *queue) tell(entry waiting) {
	if q.ctx.Err() != nil {
		q.lose(entry.message, lostClosed, nil)
		return
	}
	if q.options.Now().Sub(entry.since) > q.options.MaxAge {
		q.lose(entry.message, lostExpired, nil)
		return
	}
	ctx, cancel := context.WithTimeout(q.ctx, sendTimeout)
	err := q.route.Receiver.Send(ctx, entry.message)
	cancel()
	switch {
	case err == nil:
		q.failures = 0
		q.options.Metrics.sent(q.route.Receiver.Name(), q.options.Now().Sub(entry.since))
	case errors.Is(err, ErrRefused):
		q.lose(entry.message, lostRefused, err)
	default:
		q.failures++
		q.options.Metrics.failed(q.route.Receiver.Name())
		q.options.Logger.Warn("a receiver of notifications does not take a message: it is told again", "receiver", q.route.Receiver.Name(), "failures", q.failures, "error", err)
		q.again(entry)
		_ = q.options.Wait(q.ctx, q.pause(err)) // ended early, the rest is dropped
	}
}

// pause is how long nothing is sent after a failure. Half of it is chance, so that replicas do not come back together.
func (q *queue) pause(err error) time.Duration {
	pause := maxPause
	if doublings := q.failures - 1; doublings < 10 { // beyond it the shift only overflows
		pause = min(minPause<<doublings, maxPause)
	}
	pause = pause/2 + time.Duration(q.options.Jitter()*float64(pause/2))
	var later *RetryError
	if errors.As(err, &later) {
		pause = max(pause, min(later.After, maxRetryAfter))
	}
	return pause
}

func (q *queue) lose(m Message, reason string, cause error) {
	q.options.Metrics.lost(q.route.Receiver.Name(), reason)
	q.options.Logger.Error("a notification is lost", "receiver", q.route.Receiver.Name(), "reason", reason, "kind", m.details.Kind, "about", m.subject(), "error", cause)
}

// close lets the receiver have what waits, until ctx ends.
func (q *queue) close(ctx context.Context) {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
	stop := context.AfterFunc(ctx, q.cancel)
	q.running.Wait()
	stop()
	q.cancel()
	if closer, ok := q.route.Receiver.(interface{ Close() }); ok {
		closer.Close()
	}
}

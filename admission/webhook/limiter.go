package webhook

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// errOverloaded says that a request found no room in time.
var errOverloaded = errors.New("overloaded")

// limiter bounds how many reviews run at once, and how many wait for one of them to
// end. Whoever finds the queue full is told so at once: a request that waits past its
// deadline costs as much as one that is served and helps nobody.
type limiter struct {
	running chan struct{}
	waiting atomic.Int64
	queue   int64
}

func newLimiter(running, waiting int) *limiter {
	return &limiter{running: make(chan struct{}, running), queue: int64(waiting)}
}

// acquire takes a place, which release gives back, or fails with errOverloaded.
func (l *limiter) acquire(ctx context.Context) error {
	select {
	case l.running <- struct{}{}:
		return nil
	default:
	}
	if l.waiting.Add(1) > l.queue {
		l.waiting.Add(-1)
		return errOverloaded
	}
	defer l.waiting.Add(-1)
	select {
	case l.running <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errOverloaded
	}
}

func (l *limiter) release() { <-l.running }

// throttle lets something happen once a second and counts what it kept back.
type throttle struct {
	mu      sync.Mutex
	last    time.Time
	skipped int
}

// allow says whether it may happen now, and how often it might not since last time.
func (t *throttle) allow(now time.Time) (skipped int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.last) < time.Second {
		t.skipped++
		return 0, false
	}
	skipped = t.skipped
	t.last, t.skipped = now, 0
	return skipped, true
}

package webhook

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
)

var (
	// errOverloaded says that a request found no room in time.
	errOverloaded = errors.New("overloaded")
	// errShareUsed says that its subject has had the room it may have.
	errShareUsed = errors.New("the subject's share is used")
)

// shareDivisor is what part of all places one subject may have: half, so that nobody alone
// can have the requests of the others denied, and somebody who is alone (the one
// pipeline that deploys everything) still keeps all processors busy with the usual four
// places for each.
const shareDivisor = 2

// limiter bounds how many reviews run at once, and how many wait for one of them to
// end. Whoever finds the queue full is told so at once: a request that waits past its
// deadline costs as much as one that is served and helps nobody. Each subject has a share
// of the places and of the memory, and only its own requests are shed beyond it.
type limiter struct {
	maxRunning, maxWaiting int
	maxBytes               int64 // of one subject

	mu      sync.Mutex
	running int
	waiting []*waiter // in order of arrival
	shares  map[string]*share
}

// share is what one subject has under way; one that has nothing is forgotten.
type share struct {
	running, waiting int
	bytes            int64 // of the bodies of both
}

// waiter is a request that waits for a place.
type waiter struct {
	subject string
	share   *share
	granted chan struct{} // closed with the lock held
}

// newLimiter makes a limiter; subjectBytes is how much of the bodies may be one subject's.
func newLimiter(running, waiting int, subjectBytes int64) *limiter {
	return &limiter{maxRunning: running, maxWaiting: waiting, maxBytes: subjectBytes, shares: map[string]*share{}}
}

// part is the share of one subject, never nothing.
func part(all int) int { return (all + shareDivisor - 1) / shareDivisor }

// acquire takes a place for a body of that many bytes, which release gives back. It fails
// with errShareUsed where the subject, with errOverloaded where all together leave no room.
func (l *limiter) acquire(ctx context.Context, subject string, bytes int64) error {
	w, err := l.enter(subject, bytes)
	if err != nil {
		return err
	}
	select {
	case <-w.granted:
		return nil
	default:
	}
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
		return l.leave(w, bytes)
	}
}

// enter runs a request at once where it may, and else has it wait.
func (l *limiter) enter(subject string, bytes int64) (*waiter, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.shares[subject]
	if own == nil {
		own = &share{}
	}
	w := &waiter{subject: subject, share: own, granted: make(chan struct{})}
	runs := l.mayRun(own)
	switch {
	case own.bytes > 0 && own.bytes+bytes > l.maxBytes: // a single one has passed --max-body
		return nil, errShareUsed
	case !runs && own.waiting >= part(l.maxWaiting):
		return nil, errShareUsed
	case !runs && len(l.waiting) >= l.maxWaiting:
		return nil, errOverloaded
	}
	l.shares[subject] = own
	own.bytes += bytes
	if runs {
		l.run(w)
		return w, nil
	}
	own.waiting++
	l.waiting = append(l.waiting, w)
	return w, nil
}

// mayRun says whether there is a place that a subject may have.
func (l *limiter) mayRun(own *share) bool {
	return l.running < l.maxRunning && own.running < part(l.maxRunning)
}

func (l *limiter) run(w *waiter) {
	l.running++
	w.share.running++
	close(w.granted)
}

// leave is for a request that waits no longer. It may have got its place in the meantime.
func (l *limiter) leave(w *waiter, bytes int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.Index(l.waiting, w)
	if at < 0 {
		return nil
	}
	l.waiting = slices.Delete(l.waiting, at, at+1)
	w.share.waiting--
	l.settle(w.subject, w.share, bytes)
	if l.running < l.maxRunning { // places were free, but not for this subject
		return errShareUsed
	}
	return errOverloaded
}

// release ends a review and gives its place to the first who may have it.
func (l *limiter) release(subject string, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.shares[subject]
	l.running--
	own.running--
	l.settle(subject, own, bytes)
	next := slices.IndexFunc(l.waiting, func(w *waiter) bool { return l.mayRun(w.share) })
	if next < 0 {
		return
	}
	w := l.waiting[next]
	l.waiting = slices.Delete(l.waiting, next, next+1)
	w.share.waiting--
	l.run(w)
}

// settle gives a body's bytes back.
func (l *limiter) settle(subject string, own *share, bytes int64) {
	own.bytes -= bytes
	if own.running == 0 && own.waiting == 0 {
		delete(l.shares, subject)
	}
}

// waitingNow is how many requests wait.
func (l *limiter) waitingNow() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// runningNow is how many reviews run.
func (l *limiter) runningNow() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running
}

// shareOf names whose share a request is taken from: all service accounts of a namespace
// have one, since whoever owns the namespace makes as many as he likes.
func shareOf(subject policies.Subject) string {
	if namespace, _, ok := subject.ServiceAccount(); ok {
		return "system:serviceaccount:" + namespace + ":"
	}
	return subject.Username
}

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

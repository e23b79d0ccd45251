package evidence

import (
	"context"
	"sync"
	"time"
)

// withMargin ends a context before its deadline, so that time is left to evaluate with what was found: by
// margin, or by half of what there is where that is little. A context without deadline gets one.
func withMargin(ctx context.Context, margin, otherwise time.Duration) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithTimeout(ctx, otherwise)
	}
	left := time.Until(deadline)
	return context.WithDeadline(ctx, deadline.Add(-min(margin, max(left/2, 0))))
}

// budget shares the time of a request over its images. As many as there are places are looked at
// at once; one that has to wait for a place still gets as much time as the others, because none may use up
// that of those behind it.
type budget struct {
	places   chan struct{}
	deadline time.Time

	mu      sync.Mutex
	waiting int // images that have not begun
}

func newBudget(ctx context.Context, images, places int) *budget {
	deadline, _ := ctx.Deadline()
	return &budget{places: make(chan struct{}, places), deadline: deadline, waiting: images}
}

// begin waits for a place and gives an image its share of the time. done gives the place back.
func (b *budget) begin(ctx context.Context) (own context.Context, done func()) {
	select {
	case b.places <- struct{}{}:
	case <-ctx.Done():
		return ctx, func() {}
	}
	b.mu.Lock()
	until := share(time.Now(), b.deadline, b.waiting, cap(b.places))
	b.waiting--
	b.mu.Unlock()
	own, cancel := context.WithDeadline(ctx, until)
	return own, func() {
		cancel()
		<-b.places
	}
}

// share is until when the next of some waiting images may take, if places of them are looked at at once: the
// rounds that are still to come get equal parts of what is left.
func share(now, deadline time.Time, waiting, places int) time.Time {
	rounds := max((waiting+places-1)/places, 1)
	return now.Add(deadline.Sub(now) / time.Duration(rounds))
}

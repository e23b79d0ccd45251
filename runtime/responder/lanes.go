package responder

import (
	"context"
	"errors"
	"sync"
)

// lanes keep the events of one pod in order while those of different pods are dealt with at the same time. There is a bound on how
// many wait or are under way; who adds beyond it waits. One pod has a part of what is free only, so that there is always some for others, however many
// report without end (dynamic thresholds, Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998).
type lanes struct {
	room chan struct{} // a token for each place that is taken

	mu    sync.Mutex
	lanes map[string]*lane // by the pod's UID
	ready []*lane          // those with work that nobody does
	wake  chan struct{}    // holds a token while ready may not be empty
}

type lane struct {
	key  string
	work []work
}

func newLanes(places int) *lanes {
	return &lanes{room: make(chan struct{}, places), lanes: map[string]*lane{}, wake: make(chan struct{}, 1)}
}

// share is which part of the free places one pod may have, and fewest how many it may have always.
const (
	share  = 8
	fewest = 4
)

// errCrowded says that a pod has as many events waiting as it may have now.
var errCrowded = errors.New("too many events of the pod wait")

// add puts work behind what its pod has, when there is room. It is errCrowded where that pod has enough.
func (l *lanes) add(ctx context.Context, key string, w work) error {
	if l.crowded(key) {
		return errCrowded
	}
	select {
	case l.room <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.lanes[key]
	if own == nil {
		own = &lane{key: key}
		l.lanes[key] = own
		l.ready = append(l.ready, own)
		l.signal()
	}
	own.work = append(own.work, w)
	return nil
}

func (l *lanes) crowded(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.lanes[key]
	return own != nil && len(own.work) >= max(fewest, (cap(l.room)-len(l.room))/share)
}

// next waits for the work that has waited longest and whose pod nobody is at. The caller calls done with the lane.
func (l *lanes) next(ctx context.Context) (*lane, work, error) {
	for {
		l.mu.Lock()
		if len(l.ready) > 0 && ctx.Err() == nil {
			own := l.ready[0]
			l.ready = l.ready[1:]
			if len(l.ready) > 0 {
				l.signal() // for the others
			}
			w := own.work[0]
			own.work = own.work[1:]
			l.mu.Unlock()
			return own, w, nil
		}
		l.mu.Unlock()
		select {
		case <-l.wake:
		case <-ctx.Done():
			return nil, work{}, ctx.Err()
		}
	}
}

// done lets the next event of the pod be dealt with.
func (l *lanes) done(own *lane) {
	<-l.room
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(own.work) == 0 {
		delete(l.lanes, own.key)
		return
	}
	l.ready = append(l.ready, own)
	l.signal()
}

func (l *lanes) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// held is how many events wait or are under way.
func (l *lanes) held() int { return len(l.room) }

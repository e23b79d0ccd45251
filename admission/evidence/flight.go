package evidence

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// Limits of what goes on at once in the whole process.
const (
	// Verifications under way and waiting. Those that requests no longer wait for count, too.
	maxFlights = 512
	// Requests of so many verifications are on the network at once.
	maxFlying = 64
	// Of these for one registry: one that is slow must not hold up all others.
	maxFlyingHost = 16
)

var (
	errTooManyFlights = errors.New("too many images are being looked at")
	errClosed         = errors.New("the program is ending")
	// errOutOfTime is that the request, and not what it waited for, has run out of time.
	errOutOfTime = errors.New("the request's time for it is used up")
)

// crash is a panic while something was being found out.
type crash struct {
	value any
	stack []byte
}

func (c *crash) Error() string { return fmt.Sprintf("a defect: %v", c.value) }

// flights run what has to be found out, apart from the requests that wait for it: one that gives up must not
// take the answer from the others, and what it has begun is of use to its next try. Each has a deadline of its
// own, and a panic ends only it.
type flights struct {
	timeout time.Duration
	ctx     context.Context //nolint:containedctx // the life of the process, of which flights are a part
	end     context.CancelFunc
	group   sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	total   int
	flying  int
	hosts   map[string]int
	waiting []*landing
}

// landing is a flight that waits for its place.
type landing struct {
	host  string
	clear chan struct{}
}

func newFlights(timeout time.Duration) *flights {
	ctx, end := context.WithCancel(context.Background())
	return &flights{timeout: timeout, ctx: ctx, end: end, hosts: map[string]int{}}
}

func (f *flights) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.end()
	f.group.Wait()
}

// begin runs a task, as soon as there is a place for its host. land is called with how it ended, always.
// begin itself fails when there is no room even to wait.
func (f *flights) begin(host string, task func(context.Context) error, land func(error)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return errClosed
	case f.total >= maxFlights:
		return errTooManyFlights
	}
	f.total++
	f.group.Go(func() {
		ctx, cancel := context.WithTimeout(f.ctx, f.timeout)
		defer cancel()
		land(f.fly(ctx, host, task))
		f.mu.Lock()
		f.total--
		f.mu.Unlock()
	})
	return nil
}

func (f *flights) fly(ctx context.Context, host string, task func(context.Context) error) (err error) {
	if err := f.take(ctx, host); err != nil {
		return err
	}
	defer f.release(host)
	defer func() {
		if value := recover(); value != nil {
			err = &crash{value: value, stack: debug.Stack()}
		}
	}()
	return task(ctx)
}

// take waits for a place for the host.
func (f *flights) take(ctx context.Context, host string) error {
	f.mu.Lock()
	if f.free(host) {
		f.occupy(host)
		f.mu.Unlock()
		return nil
	}
	waiting := &landing{host: host, clear: make(chan struct{})}
	f.waiting = append(f.waiting, waiting)
	f.mu.Unlock()
	select {
	case <-waiting.clear:
		return nil
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for n, other := range f.waiting {
		if other == waiting {
			f.waiting = append(f.waiting[:n], f.waiting[n+1:]...)
			return errTooManyFlights
		}
	}
	return nil // the place came at the same moment
}

func (f *flights) free(host string) bool {
	return f.flying < maxFlying && f.hosts[host] < maxFlyingHost
}

func (f *flights) occupy(host string) {
	f.flying++
	f.hosts[host]++
}

// release gives the place to the first who may have it.
func (f *flights) release(host string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flying--
	if f.hosts[host]--; f.hosts[host] == 0 {
		delete(f.hosts, host)
	}
	for n, waiting := range f.waiting {
		if f.free(waiting.host) {
			f.waiting = append(f.waiting[:n], f.waiting[n+1:]...)
			f.occupy(waiting.host)
			close(waiting.clear)
			return
		}
	}
}

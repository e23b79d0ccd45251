package registry

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// longest is how long a registry can make us wait with one answer.
const longest = time.Hour

// gate makes all callers wait together while a host wants to be left alone, instead of
// each finding out for itself.
type gate struct {
	now   func() time.Time
	sleep func(context.Context, time.Duration) error

	mu    sync.Mutex
	until map[string]time.Time
}

// wait returns when the host may be asked again. If the context ends before that, it
// does not wait at all, and says how long it would have been.
func (g *gate) wait(ctx context.Context, host, what string) error {
	for {
		left := g.left(host)
		if left <= 0 {
			return nil
		}
		if !fits(ctx, left) {
			return &Error{Kind: RateLimited, Host: host, What: what, RetryAfter: left, Err: fmt.Errorf("%s allows no more requests for now", host)}
		}
		if err := g.sleep(ctx, left); err != nil {
			return &Error{Kind: RateLimited, Host: host, What: what, RetryAfter: left, Err: err}
		}
	}
}

func (g *gate) left(host string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	left := g.until[host].Sub(g.now())
	if left <= 0 {
		delete(g.until, host)
	}
	return left
}

// close keeps everybody away from a host for a while. A shorter wish does not undo a longer one.
func (g *gate) close(host string, d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.until) >= maxEntries {
		clear(g.until)
	}
	if until := g.now().Add(d); until.After(g.until[host]) {
		g.until[host] = until
	}
}

// fits says whether there is time to wait and then to do something.
func fits(ctx context.Context, d time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || time.Until(deadline) > d
}

// retryAfter reads the header of RFC 9110, section 10.2.3: seconds or a date. ok is false
// without a valid one.
func retryAfter(header http.Header, now time.Time) (d time.Duration, ok bool) {
	text := header.Get("Retry-After")
	if text == "" {
		return 0, false
	}
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, longest), true
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), longest), true
}

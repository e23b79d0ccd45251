package session

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// What one session may ask of the console, and the console of the API server for it.
const (
	pagesPerSecond, pagesBurst = 5, 30
	maxAtOnce                  = 4
	maxStreams                 = 3
	maxSessions                = 5000 // that are counted; the idle ones are forgotten
	idle                       = 10 * time.Minute
)

// Limits count what sessions, or addresses of those without one, do.
type Limits struct {
	now func() time.Time

	mu  sync.Mutex
	who map[string]*usage
}

type usage struct {
	limiter         *rate.Limiter
	atOnce, streams int
	last            time.Time
}

// NewLimits counts from nothing.
func NewLimits(now func() time.Time) *Limits { return &Limits{now: now, who: map[string]*usage{}} }

// Enter says whether somebody may have another page, or stream, now; leave ends it.
func (l *Limits) Enter(who string, stream bool) (leave func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	u := l.who[who]
	if u == nil {
		if len(l.who) >= maxSessions {
			l.forget(now)
		}
		if len(l.who) >= maxSessions {
			return nil, false
		}
		u = &usage{limiter: rate.NewLimiter(pagesPerSecond, pagesBurst)}
		l.who[who] = u
	}
	u.last = now
	count, most := &u.atOnce, maxAtOnce
	if stream {
		count, most = &u.streams, maxStreams
	}
	if *count >= most || !u.limiter.AllowN(now, 1) {
		return nil, false
	}
	*count++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		*count--
	}, true
}

func (l *Limits) forget(now time.Time) {
	for name, u := range l.who {
		if u.atOnce == 0 && u.streams == 0 && now.Sub(u.last) > idle {
			delete(l.who, name)
		}
	}
}

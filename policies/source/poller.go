package source

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Times between two looks at a source.
const (
	// DefaultInterval is that of a PolicyBundle that names none.
	DefaultInterval = 5 * time.Minute
	// MinInterval keeps a mistyped interval from flooding a server.
	MinInterval = 10 * time.Second
	// MaxBackoff is how many intervals are between two looks at most, while they fail.
	MaxBackoff = 16
	// Spread is how much of an interval chance adds or takes, so that many do not look at the same moment.
	Spread = 0.1
	// nudgeGap is between two looks at least, however often somebody calls.
	nudgeGap = time.Second
)

// Schedule is when to look at a source again. The zero value is every 5 minutes.
type Schedule struct {
	// Interval is DefaultInterval where it is 0, and at least MinInterval.
	Interval time.Duration
	// Jitter is a number from 0 to 1 by chance; [rand.Float64] where nil.
	Jitter func() float64
}

// Next is the time until the next look, after so many failures in a row: the interval for none and one, and twice as long
// for each further one, up to 16 intervals; a tenth more or less by chance.
func (s Schedule) Next(failures int) time.Duration {
	interval, jitter := s.Interval, s.Jitter
	if interval == 0 {
		interval = DefaultInterval
	}
	if jitter == nil {
		jitter = rand.Float64
	}
	interval = max(interval, MinInterval)
	for factor := 2; failures > 1 && factor <= MaxBackoff; factor *= 2 {
		interval *= 2
		failures--
	}
	return interval + time.Duration(Spread*(2*jitter()-1)*float64(interval))
}

// Poller looks at a source again and again. The zero value is of no use; see [NewPoller].
type Poller struct {
	schedule Schedule
	after    func(time.Duration) <-chan time.Time
	nudged   chan struct{}
}

// PollerOptions are those of a [Poller].
type PollerOptions struct {
	Schedule
	// After is the clock; [time.After] where nil.
	After func(time.Duration) <-chan time.Time
}

// NewPoller makes a poller.
func NewPoller(o PollerOptions) *Poller {
	if o.After == nil {
		o.After = time.After
	}
	return &Poller{schedule: o.Schedule, after: o.After, nudged: make(chan struct{}, 1)}
}

// Nudge has the source looked at now, or as soon as the look that is going on has ended. It does not wait, and calling it
// more than once before that is one look.
func (p *Poller) Nudge() {
	select {
	case p.nudged <- struct{}{}:
	default:
	}
}

// Run looks at once, and then until the context ends. An error of look makes the time until the next one longer;
// [ErrUnchanged] is none. It is for one goroutine.
func (p *Poller) Run(ctx context.Context, look func(context.Context) error) {
	failures := 0
	for ctx.Err() == nil {
		if err := look(ctx); err == nil || errors.Is(err, ErrUnchanged) {
			failures = 0
		} else {
			failures++
		}
		p.wait(ctx, p.schedule.Next(failures))
	}
}

// wait ends when it is time, or somebody calls, or the context ends.
func (p *Poller) wait(ctx context.Context, until time.Duration) {
	due := p.after(until)
	select {
	case <-ctx.Done():
		return
	case <-p.after(nudgeGap):
	}
	select {
	case <-ctx.Done():
	case <-due:
	case <-p.nudged:
	}
}

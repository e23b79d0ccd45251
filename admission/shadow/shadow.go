package shadow

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// Defaults of [Options].
const (
	// Some seconds of a busy cluster; each holds the objects of its request.
	DefaultQueue = 256
	// As many bodies as the webhook takes at once.
	DefaultQueueBytes = 16 << 20
	// A comparison that takes longer than a slow review is one that the hot path must not compete with.
	DefaultTimeout = 2 * time.Second
	// A request that has waited longer tells what was, not what is.
	DefaultPatience = 5 * time.Second
	// One request in twenty may then find a comparison under way.
	DefaultShare = 0.05
)

// quietCheck is how often a worker looks whether it is quiet: a few reviews.
const quietCheck = time.Millisecond

// Reviewer judges by the side that was not asked. [*admission.Reviewer] is one.
type Reviewer interface {
	Compare(ctx context.Context, request admission.Request, verdict admission.Verdict) []admission.Comparison
}

// Options of a [Shadow]. Reviewer is required.
type Options struct {
	Reviewer Reviewer
	// Busy says whether reviews are under way that a comparison would take a processor from; nil is never.
	Busy func() bool
	// Queue is how many requests wait to be compared, QueueBytes how large their objects may be together.
	Queue, QueueBytes int
	// Timeout is how long a comparison may take, Patience how long a request may wait for its own.
	Timeout, Patience time.Duration
	// Share is the part of one processor that comparisons take at most, above 0 to 1.
	Share float64
	// Now is the clock of samples, time.Now by default.
	Now func() time.Time
}

// Shadow compares requests. Use [New].
type Shadow struct {
	options Options
	queue   chan job
	bytes   atomic.Int64 // of the objects in the queue

	compared, shed atomic.Int64

	mu      sync.Mutex
	tallies map[admission.Trial]*tally // of the lineup that is followed
}

// job is one request that was answered.
type job struct {
	request admission.Request
	verdict admission.Verdict
	trials  []admission.Trial
	offered time.Time
	bytes   int64
}

// New makes a Shadow that follows no lineup yet.
func New(options Options) *Shadow {
	options.Queue = cmp.Or(options.Queue, DefaultQueue)
	options.QueueBytes = cmp.Or(options.QueueBytes, DefaultQueueBytes)
	options.Timeout = cmp.Or(options.Timeout, DefaultTimeout)
	options.Patience = cmp.Or(options.Patience, DefaultPatience)
	options.Share = cmp.Or(options.Share, DefaultShare)
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Busy == nil {
		options.Busy = func() bool { return false }
	}
	return &Shadow{options: options, queue: make(chan job, options.Queue), tallies: map[admission.Trial]*tally{}}
}

// Follow says what is on trial now. What was counted of a trial that goes on is kept; one that is new, or that begins
// again with another active revision, starts at nothing.
func (s *Shadow) Follow(lineup *admission.Lineup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	followed := map[admission.Trial]*tally{}
	for _, trial := range lineup.Trials() {
		followed[trial] = s.tallies[trial]
		if followed[trial] == nil {
			followed[trial] = newTally()
		}
	}
	s.tallies = followed
}

// Offer takes over a request that was answered with a verdict. It never waits. Dry runs are not compared: they change
// nothing, and whoever may not create a thing could still count it against a candidate.
func (s *Shadow) Offer(request admission.Request, verdict admission.Verdict) {
	trials := verdict.Trials(&request)
	if len(trials) == 0 || request.DryRun {
		return
	}
	j := job{request: request, verdict: verdict, trials: trials, offered: s.options.Now()}
	j.bytes = int64(len(request.Object) + len(request.OldObject) + len(request.Options))
	if s.bytes.Add(j.bytes) <= int64(s.options.QueueBytes) {
		select {
		case s.queue <- j:
			return
		default:
		}
	}
	s.bytes.Add(-j.bytes)
	s.count(j.trials, func(t *tally) { t.shed++ })
	s.shed.Add(1)
}

// Run compares until the context ends, one request at a time.
func (s *Shadow) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-s.queue:
			s.bytes.Add(-j.bytes)
			s.work(ctx, j)
		}
	}
}

// work waits for a quiet moment, compares, and then rests, so that comparisons have no more than their share.
func (s *Shadow) work(ctx context.Context, j job) {
	if !s.quiet(ctx, j.offered.Add(s.options.Patience)) {
		s.count(j.trials, func(t *tally) { t.shed++ })
		s.shed.Add(1)
		return
	}
	began := time.Now()
	s.compare(ctx, j)
	pause(ctx, time.Duration(float64(time.Since(began))*(1/s.options.Share-1)))
}

// quiet waits until nobody else needs the processor, but not for ever.
func (s *Shadow) quiet(ctx context.Context, until time.Time) bool {
	for s.options.Busy() {
		if ctx.Err() != nil || !s.options.Now().Before(until) {
			return false
		}
		pause(ctx, quietCheck)
	}
	return ctx.Err() == nil && s.options.Now().Before(until)
}

func pause(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// compare counts where two revisions differ. A comparison that its own deadline has cut short says nothing of the
// candidate: it is shed.
func (s *Shadow) compare(ctx context.Context, j job) {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	comparisons, whole := s.ask(ctx, &j)
	if !whole {
		s.count(j.trials, func(t *tally) { t.shed++ })
		s.shed.Add(1)
		return
	}
	s.compared.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range comparisons {
		c := &comparisons[n]
		if t := s.tallies[admission.Trial{Bundle: c.Bundle, Active: c.Active, Candidate: c.Candidate}]; t != nil {
			t.add(c, &j.request, s.options.Now())
		}
	}
}

// ask compares. One that panics is not whole, as one that took too long.
func (s *Shadow) ask(ctx context.Context, j *job) (comparisons []admission.Comparison, whole bool) {
	defer func() {
		if recover() != nil { // the judges' own panics are their faults: this is ours, and must end nobody's process
			comparisons, whole = nil, false
		}
	}()
	comparisons = s.options.Reviewer.Compare(ctx, j.request, j.verdict)
	return comparisons, ctx.Err() == nil
}

func (s *Shadow) count(trials []admission.Trial, change func(*tally)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, trial := range trials {
		if t := s.tallies[trial]; t != nil {
			change(t)
		}
	}
}

// Snapshot is what was counted of the trial of a bundle, nil where none of its revisions is on trial.
func (s *Shadow) Snapshot(bundle string) *v1alpha1.Comparison {
	s.mu.Lock()
	defer s.mu.Unlock()
	for trial, t := range s.tallies {
		if trial.Bundle == bundle {
			return t.comparison(trial.Candidate)
		}
	}
	return nil
}

// Counts are how many requests were compared and shed since the start, whatever was on trial.
func (s *Shadow) Counts() (compared, shed int64) { return s.compared.Load(), s.shed.Load() }

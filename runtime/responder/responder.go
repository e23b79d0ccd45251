package responder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies/tracing"
	"github.com/portcullis-dev/portcullis/runtime/notify"
	"github.com/portcullis-dev/portcullis/runtime/pods"
	"github.com/portcullis-dev/portcullis/runtime/quarantine"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

// Resolver finds pods. [pods.Index] is one.
type Resolver interface {
	Find(e *response.Event) (pods.Found, error)
	Complete(ctx context.Context, e *response.Event, found pods.Found) (pods.Resolution, error)
}

// Reviewer asks policies. [admission.Reviewer] is one.
type Reviewer interface {
	Matches(request *admission.Request) bool
	Respond(ctx context.Context, request admission.Request) admission.Verdict
}

// Proposer writes plans down. [quarantine.Store] is one.
type Proposer interface {
	Propose(ctx context.Context, plan *response.Plan, p quarantine.Proposal) (name string, created bool, err error)
}

// Recorder keeps decisions, as [webhook.Recorder] does.
type Recorder interface {
	Record(ctx context.Context, decision *admission.Decision)
}

// Notifier tells people. It never waits. [notify.Dispatcher] is one.
type Notifier interface {
	Notify(m notify.Message)
}

// Defaults of [Options].
const (
	// DefaultParallel is how many events are judged at a time: most of the time of each is that of the API server.
	DefaultParallel = 16
	// DefaultPlaces bounds the events that are under way. The others wait with the source, which may shed them.
	DefaultPlaces = 2048
	// DefaultRetryFor is how long a pod that is not known yet is looked for: the kubelet reports a container's id within a second or two.
	DefaultRetryFor = 5 * time.Second
	// DefaultJudgeFor bounds the judgement of one event.
	DefaultJudgeFor = 5 * time.Second
)

const (
	// lookEvery is the time between two looks for pods that are not known.
	lookEvery = 250 * time.Millisecond
	// maxParked bounds the events whose pod is not known.
	maxParked = 2000
	// faultFor is how long after its receipt an event is judged again whose policies could not know something.
	faultFor = 30 * time.Second
	// crowdedFor is how long an event goes back to the source of whose pod many wait: others come before it.
	crowdedFor = 2 * time.Second
	// Waits before an event is taken again that the API server did not answer for.
	minAgain, maxAgain = 500 * time.Millisecond, 30 * time.Second
)

// Options of a [Responder]. Source, Resolver, Reviewer, Proposer and Namespace are required.
type Options struct {
	Source   Source
	Resolver Resolver
	Reviewer Reviewer
	Proposer Proposer
	// Recorder keeps decisions, Notifier tells people; nil for nobody.
	Recorder Recorder
	Notifier Notifier
	// Namespace is the responder's own, which is protected.
	Namespace string
	// DryRun has every plan only recorded, whatever bundles say.
	DryRun bool
	// Parallel, Places, RetryFor and JudgeFor have defaults.
	Parallel, Places   int
	RetryFor, JudgeFor time.Duration
	// Now is the clock, time.Now by default; After is time.After.
	Now     func() time.Time
	After   func(time.Duration) <-chan time.Time
	Metrics *Metrics
	Logger  *slog.Logger
	// Traces begins a trace for each event, or continues that of who sent it; nil traces nothing.
	Traces *tracing.Source
}

func (o *Options) setDefaults() {
	o.Parallel = cmp.Or(max(o.Parallel, 0), DefaultParallel)
	o.Places = cmp.Or(max(o.Places, 0), DefaultPlaces)
	o.RetryFor = cmp.Or(max(o.RetryFor, 0), DefaultRetryFor)
	o.JudgeFor = cmp.Or(max(o.JudgeFor, 0), DefaultJudgeFor)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.After == nil {
		o.After = time.After
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Notifier == nil {
		o.Notifier = (*notify.Dispatcher)(nil)
	}
}

// Responder deals with events. Use [New].
type Responder struct {
	options  Options
	lanes    *lanes
	memory   *memory
	failures atomic.Int64 // of the API server, one after the other
	// refusals bounds what is logged and recorded of events that are refused, alarms what people are told of them: whoever sends
	// garbage must not wash out the journal, or tire those who read.
	refusals, alarms throttle
}

// New checks the options.
func New(o Options) (*Responder, error) {
	if o.Source == nil || o.Resolver == nil || o.Reviewer == nil || o.Proposer == nil || o.Namespace == "" {
		return nil, errors.New("making a responder: it needs events, pods, policies, a place for plans and its own namespace")
	}
	o.setDefaults()
	return &Responder{
		options: o, lanes: newLanes(o.Places), memory: newMemory(o.Now),
		refusals: throttle{now: o.Now, every: time.Second, most: 10}, alarms: throttle{now: o.Now, every: time.Minute, most: 3},
	}, nil
}

// work is an event whose pod is known.
type work struct {
	item  Item
	event *response.Event // a copy, with the pod
	found pods.Found
}

// Run deals with events until the context ends, and then finishes what is under way. Events that are waiting stay with the source. The
// error is that of the source, nil where the context has ended.
func (r *Responder) Run(ctx context.Context) error {
	var group sync.WaitGroup
	defer group.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for range r.options.Parallel {
		group.Go(func() { r.work(ctx) })
	}
	taken, failed := make(chan Item), make(chan error, 1)
	group.Go(func() { failed <- r.take(ctx, taken) })

	var waiting parked
	var look <-chan time.Time
	for {
		if look == nil && len(waiting.waiting) > 0 {
			look = r.options.After(lookEvery)
		}
		select {
		case item := <-taken:
			r.triage(ctx, item, &waiting)
		case <-look:
			look = nil
			waiting.try(r.options.Now(), r.options.RetryFor, func(item Item) error { return r.resolve(ctx, item) }, r.giveUp)
		case err := <-failed:
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("taking events: %w", err)
		}
		r.options.Metrics.parked.Set(float64(len(waiting.waiting)))
		r.options.Metrics.held.Set(float64(r.lanes.held()))
	}
}

func (r *Responder) take(ctx context.Context, into chan<- Item) error {
	for {
		item, err := r.options.Source.Take(ctx)
		if err != nil {
			return err
		}
		select {
		case into <- item:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// triage has an event judged, or wait until its pod is known.
func (r *Responder) triage(ctx context.Context, item Item, waiting *parked) {
	err := r.resolve(ctx, item)
	switch now := r.options.Now(); {
	case err == nil:
	case len(waiting.waiting) < maxParked:
		waiting.waiting = append(waiting.waiting, parkedItem{item: item, since: now, err: err})
	case now.Sub(item.Received) < r.options.RetryFor:
		item.Again(r.options.RetryFor / 2) // the source has more room than this
	default:
		r.giveUp(item, err)
	}
}

// resolve finds the pod of an event and has it judged. It returns an error only for one whose pod may become known.
func (r *Responder) resolve(ctx context.Context, item Item) error {
	event := *item.Event
	found, err := r.options.Resolver.Find(&event)
	switch {
	case errors.Is(err, pods.ErrWrongNode):
		r.refuse(item, outcomeWrongNode, err)
		return nil
	case errors.Is(err, pods.ErrNoPod):
		r.options.Metrics.count(outcomeNoPod)
		item.Done()
		return nil
	case err != nil:
		return err
	}
	if request := requestOf(&event, nil); !r.options.Reviewer.Matches(&request) {
		r.options.Metrics.count(outcomeUnmatched)
		item.Done()
		return nil
	}
	key := "node " + event.Hostname
	if event.Pod != nil {
		key = event.Pod.UID
	}
	if err := r.lanes.add(ctx, key, work{item, &event, found}); errors.Is(err, errCrowded) {
		r.options.Metrics.retries.Inc()
		item.Again(crowdedFor)
	}
	return nil // where the context has ended it stays with the source
}

// work deals with events until the context ends. What has begun is finished.
func (r *Responder) work(ctx context.Context) {
	for {
		own, w, err := r.lanes.next(ctx)
		if err != nil {
			return
		}
		r.handle(context.WithoutCancel(ctx), w)
		r.lanes.done(own)
	}
}

// giveUp reports an event whose pod is not known, and forgets it.
func (r *Responder) giveUp(item Item, err error) { r.refuse(item, outcomeUnresolved, err) }

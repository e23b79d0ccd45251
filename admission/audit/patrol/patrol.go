// Package patrol keeps what is known of a cluster's objects up to date: it goes through all of them when it begins and once a day,
// follows what changes, and in between looks again at just what may be judged otherwise than before:
//
//   - of another revision of a bundle, the kinds that the policies are about which have changed, in the namespaces that they
//     match where these are named;
//   - of an exception of the cluster that is new or gone, and of one that ends, the objects with findings of its policy;
//   - when an object of a kind changes that policies read beside the one that they judge, the objects of that namespace that
//     they are about;
//   - of what is known of images, the objects that are judged by it, every hour and when the trust has changed; and those that run
//     an image that was scanned again, at once.
//
// Of several replicas each does this for its share of namespaces and kinds.
package patrol

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/audit"
	"github.com/portcullis-dev/portcullis/admission/audit/stored"
	"github.com/portcullis-dev/portcullis/policies"
)

// Defaults, and waits.
const (
	// DefaultInterval is the time between two passes over everything. Watches see all that changes; a pass is for what they
	// do not tell, as a change of status that a policy reads.
	DefaultInterval = 24 * time.Hour
	// imagesInterval is for evidence about images, which scanners renew when their database does.
	imagesInterval = time.Hour
	// settle is how long changes are gathered before reports are written, but for new critical findings.
	settle = 10 * time.Second
	// related is how long changes of what policies read are gathered.
	related = 15 * time.Second
	// retry is the time before what failed is tried again.
	retry = time.Minute
	// discovery is how often kinds are looked for that are served now.
	discovery = 5 * time.Minute
	// watchPause is the time between two watches of a kind that fail.
	watchPause = 5 * time.Second
	// maxSingle is how many objects are fetched one by one before their kinds are listed.
	maxSingle = 500
)

// Reports are where what was found is written, by scope. An error leaves the scope to be written again.
type Reports interface {
	// Write writes what was found of a scope, all of it. Nothing is what a scope has that is gone.
	Write(ctx context.Context, scope string, results []audit.Result) error
	// Sweep deletes what was written of scopes that are this replica's and have nothing any more.
	Sweep(ctx context.Context, owns func(scope string) bool, scopes []string) error
}

// Options of [New]. Client, Reviewer, Owns and Ready are required.
type Options struct {
	Client   *stored.Client
	Reviewer *admission.Reviewer
	// Owns says whether a scope is this replica's.
	Owns func(scope string) bool
	// Ready says why nothing can be judged yet, nil when it can.
	Ready func() error
	// Reports may be nil: nothing is written.
	Reports Reports
	// Decided is told of each object that was judged otherwise than before, and of new ones that would not be admitted; nil for nobody.
	Decided func(context.Context, *admission.Decision)
	// Interval is DefaultInterval where 0.
	Interval time.Duration
	// Skip are resources that are not audited, by decision: "secrets". They are no gap.
	Skip []string
	// Images has the Patrol know which images run.
	Images bool
	// Workers is as [audit.Options] has it.
	Workers int
	Metrics *Metrics
	Now     func() time.Time
	Log     *slog.Logger
}

// Patrol keeps a Ledger up to date. Use [New].
type Patrol struct {
	options Options
	auditor *audit.Auditor
	ledger  *audit.Ledger
	places  chan struct{} // of what is judged at once
	woken   chan struct{} // there is something to do
	publish chan struct{} // there is something to write now

	mu      sync.Mutex
	pending []area
	objects map[audit.Reference]bool // to be looked at one by one
	urgent  map[audit.Reference]bool // to be looked at before anything else
	blind   bool                     // which images run is not known, since pods are not looked at
	queue   string                   // why nothing is scanned again, "" if it is
	readers map[reader]time.Time     // objects that policies read have changed, since then
	lineup  *admission.Lineup        // that all passes so far were for
	gaps    map[string]audit.Gap
	writing string // why the last report could not be written, "" if it could
	passed  bool   // a pass over everything has ended
	full    time.Time
	images  time.Time
	moment  time.Time // when verdicts change by themselves
	ramp    time.Time // when that is by a ramp
	asked   time.Time // when to ask again what is served

	// shares counts how often shares changed, settled is what it was when the last pass over everything began; -1 before the first.
	shares, settled atomic.Int64

	// Of the goroutine of Run:
	watches map[string]context.CancelFunc
	kinds   map[string]bool // that were gone through whole
	group   *sync.WaitGroup

	printing sync.Mutex // of Publish
}

// reader is a resource in a namespace, "" for the cluster.
type reader struct{ group, resource, namespace string }

// New makes a Patrol.
func New(options Options) *Patrol {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Metrics == nil {
		options.Metrics = NewMetrics()
	}
	options.Interval = cmp.Or(options.Interval, DefaultInterval)
	if options.Workers <= 0 {
		options.Workers = runtime.GOMAXPROCS(0)
	}
	p := &Patrol{
		options: options, auditor: audit.New(audit.Options{Reviewer: options.Reviewer, Workers: options.Workers, Now: options.Now, Running: options.Images}),
		ledger: audit.NewLedger(stored.ScopeOf), places: make(chan struct{}, options.Workers),
		woken: make(chan struct{}, 1), publish: make(chan struct{}, 1),
		objects: map[audit.Reference]bool{}, urgent: map[audit.Reference]bool{}, readers: map[reader]time.Time{}, lineup: &admission.Lineup{}, gaps: map[string]audit.Gap{},
		watches: map[string]context.CancelFunc{}, kinds: map[string]bool{}, group: &sync.WaitGroup{},
	}
	p.settled.Store(-1)
	options.Metrics.observe(p.observation)
	return p
}

// Wake has the Patrol see what has changed: the lineup, or the members that share the work.
func (p *Patrol) Wake() { poke(p.woken) }

// Trust has all that is judged by images judged again: a trusted root is another one.
func (p *Patrol) Trust() {
	p.mu.Lock()
	p.images = time.Time{}
	p.mu.Unlock()
	p.Wake()
}

// Running are the images that run in this replica's share, by digest. There are none without [Options].Images.
func (p *Patrol) Running() map[string]audit.Use { return p.ledger.Running() }

// Rescanned has everything looked at, before anything else, that runs images of some digests: there are new scans of them.
func (p *Patrol) Rescanned(digests []string) {
	p.rush(p.ledger.Using(digests))
	p.Wake()
}

// Scans notes why images that run are not scanned again, "" when they are: until then the audit is not complete. Whoever knows it says
// it in the log.
func (p *Patrol) Scans(missing string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = missing
}

// Members has the shares looked at: what belongs to others is forgotten, and what belongs to this replica now is judged.
func (p *Patrol) Members() {
	p.shares.Add(1)
	p.ledger.Drop(p.options.Owns)
	p.add(area{known: true})
	p.Wake()
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is awake
	}
}

// Run patrols until the context ends.
func (p *Patrol) Run(ctx context.Context) {
	p.group.Go(func() { p.publishes(ctx) })
	p.add(area{})
	for ctx.Err() == nil {
		p.turn(ctx)
		p.rest(ctx)
	}
	p.group.Wait()
}

// turn does what there is to do.
func (p *Patrol) turn(ctx context.Context) {
	if err := p.options.Ready(); err != nil {
		p.note(audit.Gap{What: "policies", Reason: "nothing can be judged yet: " + err.Error()})
		return
	}
	p.clear("policies")
	p.see()
	p.discover(ctx)
	for ctx.Err() == nil {
		work, objects, readers := p.next()
		switch {
		case work != nil:
			p.pass(ctx, *work)
		case len(objects) > 0:
			p.single(ctx, objects)
		case len(readers) > 0:
			p.relate(readers)
		default:
			return
		}
		p.see()
	}
}

// see notes what has to be judged again since something else has changed.
func (p *Patrol) see() {
	now, lineup := p.options.Now(), p.options.Reviewer.Lineup()
	p.mu.Lock()
	before := p.lineup
	changed := lineup != before
	p.lineup = lineup
	fullDue := !p.full.IsZero() && !now.Before(p.full)
	imagesDue := p.passed && !now.Before(p.images)
	ended, ramp := !p.moment.IsZero() && !now.Before(p.moment), p.ramp
	p.mu.Unlock()
	if changed && len(before.Members) > 0 {
		p.addInterests(audit.ChangedInterests(before, lineup))
		p.reexcept(before, lineup)
	}
	if ended {
		for _, object := range p.ledger.Ended(now) {
			p.addObject(object)
		}
		if !ramp.IsZero() && !now.Before(ramp) {
			p.add(area{}) // whom it concerns only the policies know
		}
	}
	if changed || !ramp.IsZero() && !now.Before(ramp) {
		p.schedule(now, lineup) // of exceptions: when those are judged that have ended
	}
	if fullDue {
		p.add(area{})
	}
	if imagesDue {
		p.mu.Lock()
		p.images = now.Add(imagesInterval)
		p.mu.Unlock()
		p.addInterests(audit.ImageInterests(lineup))
	}
}

// schedule finds when verdicts change by themselves next.
func (p *Patrol) schedule(now time.Time, lineup *admission.Lineup) {
	ramp := audit.NextRamp(lineup, now)
	next := ramp
	if end := p.ledger.NextEnd(); !end.IsZero() && (next.IsZero() || end.Before(next)) {
		next = end
	}
	p.mu.Lock()
	p.moment, p.ramp = next, ramp
	p.mu.Unlock()
}

// reexcept has the objects looked at that an exception of the cluster is about which is new, another one or gone.
func (p *Patrol) reexcept(before, after *admission.Lineup) {
	changed := map[string]bool{}
	for _, sides := range [][2][]policies.Exception{{before.Exceptions, after.Exceptions}, {after.Exceptions, before.Exceptions}} {
		for n := range sides[0] {
			same := func(o policies.Exception) bool { return sameException(&o, &sides[0][n]) }
			if !slices.ContainsFunc(sides[1], same) {
				changed[sides[0][n].Policy] = true
			}
		}
	}
	if len(changed) == 0 {
		return
	}
	about := func(r *audit.Result) bool {
		return slices.ContainsFunc(r.Findings, func(f policies.Finding) bool {
			return changed[f.Policy] || changed[f.Instance] || strings.Contains(f.ExceptedBy, "/") && changed[f.Policy]
		})
	}
	for _, object := range p.ledger.Find(about) {
		p.addObject(object)
	}
}

func sameException(a, b *policies.Exception) bool {
	return a.Name == b.Name && a.Policy == b.Policy && a.Expires == b.Expires && a.Owner == b.Owner && a.Reason == b.Reason &&
		a.Selector.ClusterScoped == b.Selector.ClusterScoped && slices.Equal(a.Selector.Namespaces, b.Selector.Namespaces) &&
		slices.Equal(a.Selector.Kinds, b.Selector.Kinds) && slices.Equal(a.Selector.Names, b.Selector.Names) && slices.Equal(a.Selector.Containers, b.Selector.Containers)
}

// rest waits until there is something to do.
func (p *Patrol) rest(ctx context.Context) {
	p.mu.Lock()
	next := p.options.Now().Add(retry) // clocks jump: none is trusted for longer
	for _, at := range []time.Time{p.full, p.images, p.moment} {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	for _, since := range p.readers {
		if at := since.Add(related); at.Before(next) {
			next = at
		}
	}
	p.mu.Unlock()
	timer := time.NewTimer(max(next.Sub(p.options.Now()), time.Second))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-p.woken:
	case <-timer.C:
	}
}

// note says once that something is not looked at.
func (p *Patrol) note(gap audit.Gap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gaps[gap.What] != gap {
		p.options.Log.Warn("the audit is not complete", "what", gap.What, "reason", gap.Reason)
	}
	p.gaps[gap.What] = gap
}

func (p *Patrol) clear(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.gaps[what]; known {
		p.options.Log.Info("the audit is complete again", "what", what)
	}
	delete(p.gaps, what)
}

// Gaps are what is not looked at, sorted.
func (p *Patrol) Gaps() []audit.Gap {
	p.mu.Lock()
	defer p.mu.Unlock()
	var gaps []audit.Gap
	for _, gap := range p.gaps {
		gaps = append(gaps, gap)
	}
	if p.writing != "" {
		gaps = append(gaps, audit.Gap{What: "reports", Reason: p.writing})
	}
	if !p.passed {
		gaps = append(gaps, audit.Gap{What: "objects", Reason: "the first pass has not ended yet"})
	}
	if p.blind {
		gaps = append(gaps, blindness)
	}
	if p.queue != "" {
		gaps = append(gaps, audit.Gap{What: "scans", Reason: p.queue})
	}
	slices.SortFunc(gaps, func(a, b audit.Gap) int { return strings.Compare(a.What, b.What) })
	return gaps
}

// blindness is what is missing where pods are not looked at.
var blindness = audit.Gap{What: "images", Reason: "which ones run is not known, so that none is scanned again: have a policy be about pods, and do not leave them out"}

// sees notes whether pods are among the kinds.
func (p *Patrol) sees(kinds []stored.Kind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	blind := p.options.Images && !slices.ContainsFunc(kinds, func(k stored.Kind) bool { return k.GroupResource() == "pods" })
	if blind && !p.blind {
		p.options.Log.Warn("the audit is not complete", "what", blindness.What, "reason", blindness.Reason)
	}
	p.blind = blind
}

// judge judges an object and keeps what was found.
func (p *Patrol) judge(ctx context.Context, object audit.Object, first bool) {
	began, number := p.options.Now(), p.ledger.Number()
	result, request, verdict := p.auditor.Examine(ctx, object)
	result.Number = number
	if ctx.Err() != nil {
		return // what was judged after the end is a fault of the end
	}
	judged := p.ledger.Put(result, object.Content, object.ResourceVersion)
	if judged.Critical {
		poke(p.publish)
	}
	if p.options.Decided == nil || judged.Stale || !judged.Changed || judged.Before == nil && (first || verdict.Admitted) {
		return
	}
	outcome := "denied"
	switch {
	case verdict.Admitted:
		outcome = "admitted"
	case !verdict.Denied():
		outcome = "fault"
	}
	p.options.Decided(ctx, &admission.Decision{ID: newID(), Time: began, Duration: p.options.Now().Sub(began), Outcome: outcome, Request: request, Verdict: verdict})
}

// newID is that of a decision: 128 bits of chance.
func newID() string {
	const digits = "0123456789abcdef"
	id := make([]byte, 32)
	for n := range id {
		id[n] = digits[rand.IntN(len(digits))]
	}
	return string(id)
}

// publishes writes reports until the context ends.
func (p *Patrol) publishes(ctx context.Context) {
	ticker := time.NewTicker(settle)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.publish:
		case <-ticker.C:
		}
		p.Publish(ctx)
	}
}

// Publish writes what has changed, now. Nothing is written until everything was gone through once by the shares that there are: a report
// of half a namespace would say that the other half is clean.
func (p *Patrol) Publish(ctx context.Context) {
	p.printing.Lock()
	defer p.printing.Unlock()
	if p.settled.Load() != p.shares.Load() {
		return
	}
	var failed error
	for _, scope := range p.ledger.Dirty() {
		if ctx.Err() != nil {
			return
		}
		if !p.options.Owns(scope) {
			continue // whose it is now writes it
		}
		results := p.ledger.Read(scope)
		if p.options.Reports == nil {
			continue
		}
		if err := p.options.Reports.Write(ctx, scope, results); err != nil {
			p.ledger.Soil(scope)
			failed = cmp.Or(failed, err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.writing
	if p.writing = ""; failed != nil && ctx.Err() == nil {
		p.writing = failed.Error()
		if before != p.writing {
			p.options.Log.Warn("writing reports fails: it is tried again", "error", failed)
		}
	}
}

package quarantine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/util/workqueue"

	"github.com/portcullis-dev/portcullis/policies/tracing"
)

// Defaults of [Options].
const (
	// DefaultLease is the name of the Lease of who acts. LedgerSuffix behind it is that of the Lease that holds the ledger.
	DefaultLease = "portcullis-responder"
	LedgerSuffix = "-ledger"
	// DefaultLeaseDuration is after what time another replica goes on where one is gone: that of Kubernetes' own controllers.
	DefaultLeaseDuration = 15 * time.Second
	// DefaultKeep is how long what is over is kept, with its evidence; DefaultKept how many of those at most.
	DefaultKeep = 30 * 24 * time.Hour
	DefaultKept = 2000
	// DefaultReprove is the time between two proofs of a pod in quarantine while nothing changes that is watched.
	DefaultReprove = 30 * time.Second
	// DefaultSnapshotHead is how long containment waits at most for the objects to be read; logs are not waited for.
	DefaultSnapshotHead = 500 * time.Millisecond
)

// workers are how many quarantines are settled at a time. Each mostly waits for the API server.
const workers = 16

// The points of a step at which [Options.After] is called.
const (
	PointPrepared = "prepared" // what is about to be done is written down
	PointDone     = "done"     // it is done
	PointRecorded = "recorded" // what came of it is written down
)

// Options are those of a [Controller]. Config, Namespace, Identity, Cluster and Capturer are required.
type Options struct {
	// Config is how the API server is reached.
	Config *rest.Config
	// Namespace is the responder's own: of its Leases.
	Namespace string
	// Identity tells this replica from others.
	Identity string
	// Lease is the name of the Lease; LeaseDuration how long it is held without being renewed, at least a second.
	Lease         string
	LeaseDuration time.Duration
	// Cluster acts, Capturer keeps evidence, Notifier tells people; nil tells nobody.
	Cluster  Cluster
	Capturer Capturer
	Notifier Notifier
	// Journal keeps a line of each step; nil for none.
	Journal Journal
	// Keep, Kept, Reprove and SnapshotHead have defaults.
	Keep         time.Duration
	Kept         int
	Reprove      time.Duration
	SnapshotHead time.Duration
	// Metrics count; nil for nobody to read them.
	Metrics *Metrics
	// Now is the clock; time.Now where nil. Jitter is a number from 0 to 1 by chance.
	Now    func() time.Time
	Jitter func() float64
	Log    *slog.Logger
	// Traces continues traces that the annotation of a Quarantine names; nil traces nothing.
	Traces *tracing.Source
	// After is called after each point of each step, for tests that end the process there. nil for nobody.
	After func(quarantine, step, point string)
}

// TraceAnnotation names the trace of the event that a Quarantine was first made for (a traceparent of W3C Trace Context): its steps are told of there.
const TraceAnnotation = "runtime.portcullis.dev/traceparent"

// Controller takes Quarantines from step to step.
type Controller struct {
	o       Options
	kube    kubernetes.Interface
	dynamic dynamic.Interface
	objects objects
	ledger  *ledger
	log     *slog.Logger

	leader atomic.Bool

	// What follows is of whoever leads.
	mu       sync.Mutex
	queue    workqueue.TypedDelayingInterface[string]
	informer cache.SharedIndexInformer
	lines    chan Transition
	// breakerUntil is when the circuit breaker closes, the zero time where it is not known to be open.
	breakerUntil time.Time
	proved       map[string]time.Time // when a quarantine was last proved; the zero time asks for it
}

// NewController checks the options. It connects to nothing.
func NewController(o Options) (*Controller, error) {
	if o.Config == nil || o.Namespace == "" || o.Identity == "" || o.Cluster == nil || o.Capturer == nil {
		return nil, errors.New("making a controller of quarantines: it needs an API server, a namespace, an identity, a cluster to act on and a place for evidence")
	}
	o.complete()
	kube, err := kubernetes.NewForConfig(o.Config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the cluster: %w", err)
	}
	client, err := dynamic.NewForConfig(o.Config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the cluster: %w", err)
	}
	c := &Controller{
		lines: make(chan Transition, waitingLines),
		o:     o, kube: kube, dynamic: client, objects: newObjects(client), log: o.Log, proved: map[string]time.Time{},
		ledger: &ledger{leases: kube.CoordinationV1().Leases(o.Namespace), name: o.Lease + LedgerSuffix, now: o.Now},
	}
	return c, nil
}

func (o *Options) complete() {
	if o.Lease == "" {
		o.Lease = DefaultLease
	}
	if o.LeaseDuration < time.Second {
		o.LeaseDuration = DefaultLeaseDuration
	}
	if o.Notifier == nil {
		o.Notifier = silent{}
	}
	if o.Keep <= 0 {
		o.Keep = DefaultKeep
	}
	if o.Kept <= 0 {
		o.Kept = DefaultKept
	}
	if o.Reprove <= 0 {
		o.Reprove = DefaultReprove
	}
	if o.SnapshotHead <= 0 {
		o.SnapshotHead = DefaultSnapshotHead
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.After == nil {
		o.After = func(string, string, string) {}
	}
	o.Config = rest.CopyConfig(o.Config)
	if o.Config.QPS == 0 {
		o.Config.QPS, o.Config.Burst = 100, 200 // a quarantine takes about thirty calls, and ten may begin at once
	}
}

// Leads says whether this replica is the one that acts.
func (c *Controller) Leads() bool { return c.leader.Load() }

// Run takes part in the election, and acts while it leads, until the context ends.
func (c *Controller) Run(ctx context.Context) error {
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: c.o.Namespace, Name: c.o.Lease},
		Client:     c.kube.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: c.o.Identity},
	}
	for ctx.Err() == nil {
		term, end := context.WithCancel(ctx)
		done := make(chan struct{})
		elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: lock, Name: c.o.Lease, ReleaseOnCancel: true,
			LeaseDuration: c.o.LeaseDuration, RenewDeadline: c.o.LeaseDuration * 2 / 3, RetryPeriod: c.o.LeaseDuration / 8,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(leading context.Context) { defer close(done); c.lead(leading) },
				OnStoppedLeading: func() {},
			},
		})
		if err != nil {
			end()
			return fmt.Errorf("taking part in the election: %w", err)
		}
		elector.Run(term)
		end()
		if ctx.Err() == nil || c.leader.Load() {
			<-done // nothing of this term goes on in the next one
		}
	}
	return nil
}

// lead settles all quarantines until the context ends.
func (c *Controller) lead(ctx context.Context) {
	c.leader.Store(true)
	c.o.Metrics.leads(true)
	defer func() { c.o.Metrics.leads(false); c.leader.Store(false) }()
	c.log.Info("leading", "identity", c.o.Identity)
	queue := workqueue.NewTypedDelayingQueue[string]()
	c.mu.Lock()
	c.queue, c.proved = queue, map[string]time.Time{}
	c.mu.Unlock()
	stop := c.watch(ctx)
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { c.setUp(ctx) })
	running.Go(func() { c.keepJournal(ctx) })
	running.Go(func() { c.watchBreaker(ctx) })
	running.Go(func() { c.sweepEvery(ctx) })
	for range workers {
		running.Go(func() { c.work(ctx, queue) })
	}
	<-ctx.Done()
	queue.ShutDown()
	running.Wait()
	c.log.Info("no longer leading", "identity", c.o.Identity)
}

// work settles one quarantine after the other.
func (c *Controller) work(ctx context.Context, queue workqueue.TypedDelayingInterface[string]) {
	failures := map[string]int64{}
	for {
		name, ended := queue.Get()
		if ended {
			return
		}
		var again time.Duration
		err := guard(func() (err error) {
			again, err = c.settle(ctx, name)
			return err
		})
		switch {
		case ctx.Err() != nil:
		case err != nil:
			failures[name]++
			again = c.backoff(failures[name])
			c.log.Error("settling a quarantine: it is tried again", "quarantine", name, "after", again, "error", err)
		default:
			delete(failures, name)
		}
		queue.Done(name)
		if again > 0 && ctx.Err() == nil {
			queue.AddAfter(name, again)
		}
	}
}

// setUpEvery is the time between two looks at what the cluster offers: an API for denying may come and go.
const setUpEvery = 5 * time.Minute

// setUp installs the standing deny, and looks after it. Nothing waits for it: without it isolation is by the policy of each quarantine,
// and the proof says what that is worth.
func (c *Controller) setUp(ctx context.Context) {
	for failures := int64(1); ; {
		wait := setUpEvery
		if err := c.o.Cluster.Setup(ctx); err != nil && ctx.Err() == nil {
			wait = c.backoff(failures)
			failures++
			c.log.Error("preparing the cluster for quarantines: it is tried again", "after", wait, "error", err)
		} else {
			failures = 1
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

// pause says whether the context is still there.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Bounds of repetition: the first pause and the longest.
const (
	firstPause   = 500 * time.Millisecond
	longestPause = 30 * time.Second
)

// backoff is how long to wait after so many failures, shortened by up to a half by chance, so that what failed together does not
// return together.
func (c *Controller) backoff(failures int64) time.Duration {
	wait := longestPause
	if failures < 10 {
		wait = min(wait, firstPause<<max(failures-1, 0))
	}
	return wait - time.Duration(c.o.Jitter()*float64(wait)/2)
}

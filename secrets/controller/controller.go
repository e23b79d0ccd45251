package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies/tracing"
	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/destination"
	"github.com/portcullis-dev/portcullis/secrets/engine"
	"github.com/portcullis-dev/portcullis/secrets/leases"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/secrets/vault"
)

// Defaults of [Options].
const (
	DefaultWorkers = 16
	// DefaultLeaseDuration is after what time another replica goes on where one is gone: that of Kubernetes' own controllers.
	DefaultLeaseDuration = 15 * time.Second
)

// urgentWorkers are those that do nothing that is only due: they renew, and serve people, however many refreshes wait for a slow Vault. Half of
// them only renew.
const urgentWorkers = 4

// passTimeout bounds one pass over one object.
const passTimeout = 2 * time.Minute

// Options are those of a [Controller]. Client, Kubernetes, Vaults, Judge, Hasher, Writer, Restarter, Leases, Namespace and Identity are required.
type Options struct {
	// Client reads our own objects, Kubernetes keeps the Lease.
	Client     dynamic.Interface
	Kubernetes kubernetes.Interface
	// Vaults is Pool(*vault.Pool).
	Vaults Vaults
	Judge  Judge
	// Record keeps what was decided, for the journal; nil for nobody.
	Record func(context.Context, admission.Request, admission.Verdict)
	// Traces begins a trace for each pass over an object; nil traces nothing.
	Traces *tracing.Source
	Hasher *secrets.Hasher
	// KMS seals tokens where a VaultConnection asks for it; nil where the program was given no plugin.
	KMS       leases.Sealer
	Leases    Leases
	Writer    Writer
	Restarter Restarter
	// NewWatcher makes, for each term, who follows destinations and calls changed; nil for nobody. The Writer is to know it, so that it tells of others'
	// writes only.
	NewWatcher func(changed func(destination.Owner)) Watcher
	// Namespace is that of portcullis-secrets, Identity tells this replica from others. LeaseDuration is at least a second.
	Namespace     string
	Identity      string
	LeaseDuration time.Duration
	Clock         clock.WithTicker
	Log           *slog.Logger
	Registerer    prometheus.Registerer
	// Recorder makes Events; nil for none.
	Recorder record.EventRecorder
	// Workers is how many objects are reconciled at a time.
	Workers int
}

// Controller reconciles while it leads.
type Controller struct {
	o       Options
	log     *slog.Logger
	metrics *metrics
	leader  atomic.Bool

	// What follows is of one term.
	queue       *queue
	connections cache.Indexer // *v1alpha1.VaultConnection
	auths       cache.Indexer // *v1alpha1.VaultAuth, by connection
	objects     cache.Indexer // *v1alpha1.VaultSecret, by auth and by destination
	pushes      cache.Indexer // *v1alpha1.VaultPush, by auth
	quarantines cache.Indexer // *runtime/v1alpha1.Quarantine
	watcher     Watcher
	outages     *outages

	mu     sync.Mutex
	minds  map[Key]*mind
	mounts map[string]*engine.Mounts // by VaultConnection
	// kept are when tokens end that VaultLeases keep, by the UID of their owner, until they were resumed.
	kept map[string]time.Time
	// readied are the conditions of VaultAuths that were written last.
	readied map[string]readiness
}

// New checks the options. It connects to nothing.
func New(o Options) (*Controller, error) {
	if o.Client == nil || o.Kubernetes == nil || o.Vaults == nil || o.Judge == nil || o.Hasher == nil || o.Leases == nil || o.Writer == nil || o.Restarter == nil ||
		o.Namespace == "" || o.Identity == "" {
		return nil, errors.New("making a controller of secrets: it needs clients of the cluster, Vaults, a judge, a key of hashes, a place for leases, a writer, a restarter, a namespace and an identity")
	}
	if o.LeaseDuration < time.Second {
		o.LeaseDuration = DefaultLeaseDuration
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Workers <= 0 {
		o.Workers = DefaultWorkers
	}
	if o.Record == nil {
		o.Record = func(context.Context, admission.Request, admission.Verdict) {}
	}
	c := &Controller{o: o, log: o.Log}
	c.begin()
	c.metrics = newMetrics(c, o.Registerer)
	return c, nil
}

// begin forgets the last term.
func (c *Controller) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = newQueue(c.o.Clock)
	c.connections, c.auths, c.objects, c.pushes, c.quarantines = newIndexers()
	c.minds, c.mounts, c.kept, c.readied = map[Key]*mind{}, map[string]*engine.Mounts{}, map[string]time.Time{}, map[string]readiness{}
	c.outages = newOutages()
	c.watcher = nobody{}
	if c.o.NewWatcher != nil {
		c.watcher = c.o.NewWatcher(c.drifted)
	}
}

// Leads says whether this replica is the one that acts.
func (c *Controller) Leads() bool { return c.leader.Load() }

// Run takes part in the election, and reconciles while it leads, until the context ends. Leases stay as they are then: whoever leads next goes
// on with them.
func (c *Controller) Run(ctx context.Context) error {
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: c.o.Namespace, Name: v1alpha1.LeaseName},
		Client:     c.o.Kubernetes.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: c.o.Identity},
	}
	for ctx.Err() == nil {
		term, end := context.WithCancel(ctx)
		done := make(chan struct{})
		elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: lock, Name: v1alpha1.LeaseName, ReleaseOnCancel: true,
			LeaseDuration: c.o.LeaseDuration, RenewDeadline: c.o.LeaseDuration * 2 / 3, RetryPeriod: c.o.LeaseDuration / 8,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(leading context.Context) { defer close(done); c.Lead(leading) },
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

// Lead reconciles until the context ends, without an election: for tests, and where there is only one replica for sure.
func (c *Controller) Lead(ctx context.Context) {
	c.begin()
	c.leader.Store(true)
	c.metrics.leads(true)
	defer func() { c.metrics.leads(false); c.leader.Store(false) }()
	c.log.Info("leading", "identity", c.o.Identity)
	var running sync.WaitGroup
	running.Go(func() { c.queue.Run(ctx.Done()) })
	if !c.recall(ctx) {
		running.Wait()
		return
	}
	stop := c.watch(ctx)
	running.Go(func() { c.watcher.Run(ctx) })
	running.Go(func() { c.endFormer(ctx) })
	running.Go(func() {
		c.o.Vaults.Watch(ctx, c.connectionsNow, func(name string, health vault.Health) { c.healthChanged(ctx, name, health) })
	})
	for range c.o.Workers {
		running.Go(func() { c.work(ctx, classRefresh) })
	}
	for n := range urgentWorkers {
		running.Go(func() { c.work(ctx, []int{classRenewal, classPeople}[n%2]) })
	}
	<-ctx.Done()
	running.Wait()
	stop()
	c.log.Info("no longer leading", "identity", c.o.Identity)
}

// recall learns when tokens end that are kept, so that those are resumed first.
func (c *Controller) recall(ctx context.Context) bool {
	for failures := int64(1); ; failures++ {
		all, err := c.o.Leases.List(ctx)
		if err == nil {
			c.mu.Lock()
			for n := range all {
				if ends := all[n].Spec.Token.Expires; !ends.IsZero() {
					c.kept[all[n].Name] = ends.Time
				}
			}
			c.mu.Unlock()
			return true
		}
		// One that does not decode must not keep all others from being renewed: they are read one by one, then.
		if ctx.Err() == nil && failures >= 3 {
			c.log.Error("listing VaultLeases: going on without", "error", err)
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-c.o.Clock.After(secrets.Backoff(failures, secrets.ClusterFailed, 0, c.o.Identity)):
		}
	}
}

// work reconciles one object after the other.
func (c *Controller) work(ctx context.Context, least int) {
	for {
		key, _, ok := c.queue.Get(least)
		if !ok {
			return
		}
		next, class := c.reconcile(ctx, key)
		if ctx.Err() != nil {
			next = time.Time{}
		}
		c.queue.Done(key, next, class)
	}
}

// reconcile is one pass over one object. A panic of it is a fault of that object only, and says nothing of what it was about: values may be.
func (c *Controller) reconcile(ctx context.Context, key Key) (next time.Time, class int) {
	ctx, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()
	ctx, span := c.o.Traces.Begin(ctx, "reconcile "+key.Kind)
	defer span.End()
	if span.IsRecording() {
		span.SetAttributes(attribute.String("k8s.namespace.name", key.Namespace), tracing.Text("name", key.Name))
	}
	class = classRefresh
	err := guard(func() (err error) {
		switch key.Kind {
		case KindSecret:
			next, class, err = c.reconcileSecret(ctx, key)
		case KindPush:
			next, err = c.reconcilePush(ctx, key)
		case KindQuarantine:
			err = c.reconcileQuarantine(ctx, key.Name)
		}
		return err
	})
	if err == nil {
		c.calm(key)
		return next, class
	}
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return time.Time{}, class
	}
	tracing.Fail(span, err.Error())
	failures := c.stumbled(key)
	wait := secrets.Backoff(failures, secrets.ClusterFailed, 0, key.String())
	c.log.ErrorContext(ctx, "reconciling: it is tried again", "object", key.String(), "after", wait, "error", err)
	return c.o.Clock.Now().Add(wait), classPeople
}

// Requeue has all objects looked at again: bundles have changed.
func (c *Controller) Requeue(why string) {
	if !c.leader.Load() {
		return
	}
	c.log.Debug("looking at all objects again", "why", why)
	c.mu.Lock() // the term may end meanwhile, and another begin
	queue, objects, pushes := c.queue, c.objects, c.pushes
	c.mu.Unlock()
	now := c.o.Clock.Now()
	for _, key := range objects.ListKeys() {
		queue.Add(keyOf(KindSecret, key), now, classRefresh)
	}
	for _, key := range pushes.ListKeys() {
		queue.Add(keyOf(KindPush, key), now, classRefresh)
	}
}

// enqueue asks for a pass over an object.
func (c *Controller) enqueue(key Key, at time.Time, class int) { c.queue.Add(key, at, class) }

// nobody follows nothing.
type nobody struct{}

func (nobody) FollowFrom(_ destination.Owner, _, _, _ string) {}
func (nobody) Unfollow(_ destination.Owner, _, _ string)      {}
func (nobody) Run(context.Context)                            {}

package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/conftest"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/tracing"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// Defaults of the election: those of Kubernetes' own controllers. A leader that is lost is followed by another within LeaseDuration.
const (
	DefaultLease         = "portcullis-controller"
	DefaultLeaseDuration = 15 * time.Second
)

// examinedAtOnce is how many revisions are compiled and tested at a time: each takes processor and memory, as all bundles do
// when a controller starts.
const examinedAtOnce = 2

// The rate at which calls of the push endpoint may ask the API server, apart from all else: whoever floods it must not slow down a
// rollback.
const hookQPS, hookBurst = 10, 20

// Options are those of a [Controller]. Config, Namespace and Identity are required.
type Options struct {
	// Config is how the API server is reached.
	Config *rest.Config
	// Namespace is the controller's own: of its Lease, and of the Secrets that bundles name.
	Namespace string
	// Identity tells this replica from others.
	Identity string
	// Lease is the name of the Lease, DefaultLease where empty; LeaseDuration how long it is held without being renewed, at least a second.
	Lease         string
	LeaseDuration time.Duration
	// Verifier verifies what is fetched. The default has no trusted root: keyless signatures do not count.
	Verifier *source.Verifier
	// Included are the bundles that others may build on.
	Included []policies.Included
	// Reader reads files in the formats of Conftest, for tests of its policies that parse some; nil refuses those.
	Reader conftest.Reader
	// Registry are the options of clients of registries. Allow, Cluster and PlainHTTP hold for Git and web servers, too.
	Registry registry.Options
	// Journal keeps a line of each transition; nil for none.
	Journal Journal
	// Metrics counts; nil for nobody to read them.
	Metrics *Metrics
	// Now is the clock by which revisions are rolled out; time.Now where nil.
	Now func() time.Time
	Log *slog.Logger
	// Traces begins a trace for each look at a source; nil traces nothing.
	Traces *tracing.Source
}

// Controller keeps the bundles of a cluster.
type Controller struct {
	kube     kubernetes.Interface
	dynamic  dynamic.Interface
	hook     hook
	store    *store
	opener   *opener
	examiner *examiner
	journal  Journal
	metrics  *Metrics
	now      func() time.Time
	log      *slog.Logger
	traces   *tracing.Source

	namespace, identity, lease string
	leaseDuration              time.Duration

	leader    atomic.Bool
	examining chan struct{}

	// What follows is of whoever leads.
	leading    context.Context //nolint:containedctx // it is as long as the tasks that keepers begin
	bundles    cache.SharedIndexInformer
	reports    cache.SharedIndexInformer
	exceptions cache.SharedIndexInformer
	mu         sync.Mutex
	keepers    map[string]*kept
}

// kept is a keeper that runs.
type kept struct {
	*keeper
	end func()
}

// New checks the options. It connects to nothing.
func New(o Options) (*Controller, error) {
	if o.Config == nil || o.Namespace == "" || o.Identity == "" {
		return nil, errors.New("making a controller: it needs an API server, a namespace and an identity")
	}
	o.complete()
	kube, objects, err := clients(o.Config)
	if err != nil {
		return nil, err
	}
	slow := rest.CopyConfig(o.Config)
	slow.QPS, slow.Burst = hookQPS, hookBurst
	hookKube, hookObjects, err := clients(slow)
	if err != nil {
		return nil, err
	}
	parts, err := metadata.NewForConfig(o.Config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the cluster: %w", err)
	}
	return &Controller{
		kube: kube, dynamic: objects,
		store:    &store{client: objects.Resource(v1alpha1.Revisions), metadata: parts.Resource(v1alpha1.Revisions), now: o.Now},
		opener:   &opener{kube: kube, namespace: o.Namespace, registry: o.Registry},
		hook:     hook{objects: hookObjects, secrets: &opener{kube: hookKube, namespace: o.Namespace}, now: o.Now, log: o.Log},
		examiner: &examiner{verifier: o.Verifier, included: o.Included, reader: o.Reader},
		journal:  o.Journal, metrics: o.Metrics, now: o.Now, log: o.Log, traces: o.Traces,
		namespace: o.Namespace, identity: o.Identity, lease: o.Lease, leaseDuration: o.LeaseDuration,
		examining: make(chan struct{}, examinedAtOnce),
	}, nil
}

func clients(config *rest.Config) (*kubernetes.Clientset, *dynamic.DynamicClient, error) {
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("making a client of the cluster: %w", err)
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("making a client of the cluster: %w", err)
	}
	return kube, objects, nil
}

// examine has its turn, and then examines a revision.
func (c *Controller) examine(ctx context.Context, r *source.Revision, bundle *v1alpha1.PolicyBundle) (*examined, error) {
	select {
	case c.examining <- struct{}{}:
		defer func() { <-c.examining }()
		ctx, span := tracing.Start(ctx, "examine revision")
		defer span.End()
		return c.examiner.examine(ctx, r, bundle)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// complete fills in the defaults.
func (o *Options) complete() {
	if o.Lease == "" {
		o.Lease = DefaultLease
	}
	if o.LeaseDuration < time.Second {
		o.LeaseDuration = DefaultLeaseDuration
	}
	if o.Verifier == nil {
		o.Verifier = source.NewVerifier(source.VerifierOptions{})
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Config = rest.CopyConfig(o.Config)
	if o.Config.QPS == 0 {
		o.Config.QPS, o.Config.Burst = 50, 100 // the parts of a revision, and a few calls for each bundle every few seconds
	}
}

// Leads says whether this replica is the one that acts.
func (c *Controller) Leads() bool { return c.leader.Load() }

// Run takes part in the election, and acts while it leads, until the context ends.
func (c *Controller) Run(ctx context.Context) error {
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: c.namespace, Name: c.lease},
		Client:     c.kube.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: c.identity},
	}
	for ctx.Err() == nil {
		term, end := context.WithCancel(ctx)
		done := make(chan struct{})
		elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: lock, Name: c.lease, ReleaseOnCancel: true,
			LeaseDuration: c.leaseDuration, RenewDeadline: c.leaseDuration * 2 / 3, RetryPeriod: c.leaseDuration / 8,
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

// lead keeps all bundles until the context ends.
func (c *Controller) lead(ctx context.Context) {
	c.leader.Store(true)
	c.metrics.leads(true)
	defer func() { c.metrics.leads(false); c.leader.Store(false) }()
	c.log.Info("leading", "identity", c.identity)
	c.leading = ctx
	c.mu.Lock()
	c.keepers = map[string]*kept{}
	c.mu.Unlock()
	factory := dynamicinformer.NewDynamicSharedInformerFactory(c.dynamic, 0)
	c.bundles, c.reports, c.exceptions = factory.ForResource(v1alpha1.Bundles).Informer(), factory.ForResource(v1alpha1.Replicas).Informer(), factory.ForResource(v1alpha1.Exceptions).Informer()
	c.watch()
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	defer c.endAll()
	factory.WaitForCacheSync(ctx.Done())
	c.sweepEvery(ctx)
	c.log.Info("no longer leading", "identity", c.identity)
}

// watch has keepers follow what happens.
func (c *Controller) watch() {
	named := func(do func(name string)) func(any) {
		return func(object any) {
			if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = gone.Obj
			}
			if o, ok := object.(*unstructured.Unstructured); ok {
				do(o.GetName())
			}
		}
	}
	begin, end, kickAll := named(c.begin), named(c.end), func(any) { c.kickAll() }
	// The error is of an informer that has stopped, which these have not.
	_, _ = c.bundles.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: begin, UpdateFunc: func(_, now any) { begin(now) }, DeleteFunc: end})
	_, _ = c.reports.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: kickAll, UpdateFunc: func(_, now any) { kickAll(now) }, DeleteFunc: kickAll})
}

// begin begins to keep a bundle, or has it settled if it is kept already.
func (c *Controller) begin(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keepers == nil {
		return // the term is over: what a watch still says is for the next leader
	}
	if k, ok := c.keepers[name]; ok {
		k.kick()
		return
	}
	ctx, cancel := context.WithCancel(c.leading)
	k := newKeeper(c, name)
	done := make(chan struct{})
	go func() { defer close(done); k.run(ctx) }()
	c.keepers[name] = &kept{keeper: k, end: func() { cancel(); <-done }}
}

// end ends the keeping of a bundle that is gone.
func (c *Controller) end(name string) {
	c.mu.Lock()
	k := c.keepers[name]
	delete(c.keepers, name)
	c.mu.Unlock()
	if k != nil {
		k.end()
		c.metrics.forget(name)
	}
}

func (c *Controller) endAll() {
	c.mu.Lock()
	running := c.keepers
	c.keepers = nil
	c.mu.Unlock()
	for _, k := range running {
		k.end()
	}
}

func (c *Controller) kickAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.keepers {
		k.kick()
	}
}

// kept are all keepers now.
func (c *Controller) kept() map[string]*keeper {
	c.mu.Lock()
	defer c.mu.Unlock()
	running := make(map[string]*keeper, len(c.keepers))
	for name, k := range c.keepers {
		running[name] = k.keeper
	}
	return running
}

// replicas are the reports of all replicas.
func (c *Controller) replicas() []v1alpha1.PolicyReplica {
	return all[v1alpha1.PolicyReplica](c.reports.GetStore())
}

// stored examines a revision that is stored against what is said of the bundle now. The error of one that is not there is a
// NotFound of the API, that of one that may not be activated a refusal.
func (c *Controller) stored(ctx context.Context, digest string, bundle *v1alpha1.PolicyBundle) (*examined, error) {
	encoded, _, err := c.store.get(ctx, digest)
	if err != nil {
		return nil, err
	}
	made, err := c.examiner.stored(ctx, encoded, bundle)
	if err != nil {
		return nil, err
	}
	if made.status.Digest != digest {
		return nil, &refusal{reasonUnverified, fmt.Errorf("what is stored as %s has the digest %s: delete its PolicyRevisions, and have it fetched again", digest, made.status.Digest)}
	}
	return made, nil
}

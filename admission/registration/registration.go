package registration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/webhook/certificate"
	"github.com/portcullis-dev/portcullis/admission/webhook/configuration"
	"github.com/portcullis-dev/portcullis/policies"
)

// Defaults of [Options].
const (
	DefaultAuthorityLifetime = certificate.DefaultAuthorityLifetime
	DefaultLeafLifetime      = certificate.DefaultLeafLifetime
	// DefaultSpread is how long a new authority is in all configurations before it signs: every API server has been told by then, and
	// one that was cut off for a moment.
	DefaultSpread = 5 * time.Minute
	// DefaultKeep is how long the old authority stays after a leaf of the new one was written. The kubelet takes up to two minutes to
	// bring a Secret into a pod, and the webhook ten seconds to notice; a node that is cut off takes longer.
	DefaultKeep = 24 * time.Hour
	// DefaultMount is how long a leaf must have been seen at least, before an earlier authority is forgotten: by a clock that does not jump.
	DefaultMount = 15 * time.Minute
	// resync is how long it takes to notice what nobody told of, such as the time.
	resync = 30 * time.Second
)

// The Secrets, in the namespace of the webhook's Service.
const (
	// AuthoritySecret holds the authority with its key (tls.crt, tls.key), and the authorities before it (previous.crt).
	AuthoritySecret = "portcullis-webhook-ca"
	// ServingSecret holds what replicas serve with (tls.crt, tls.key), and all authorities that count (ca.crt).
	ServingSecret = "portcullis-webhook-tls"
)

// ManagedBy is the value of the label app.kubernetes.io/managed-by on all that is kept.
const ManagedBy = "portcullis-controller"

// Options of a [Registration]. Config and Service are required.
type Options struct {
	// Config is how the API server is reached.
	Config *rest.Config
	// Service is where the API server reaches the webhook. Its namespace is that of Secrets and Lease, too.
	Service configuration.Service
	// Name of both configurations, configuration.DefaultName if empty.
	Name string
	// TimeoutSeconds of the entries, configuration.DefaultTimeoutSeconds if 0.
	TimeoutSeconds int32
	// NodeNamespaces are those of configuration.Recovery.
	NodeNamespaces []string
	// SecretPath gives the first path segment, for that way in which the API server shows who it is; nil for none. It is called at
	// each turn, so that it can change.
	SecretPath func() (string, error)
	// Profile limits the rules to those of one profile of the bundles, as the webhook's --profile does; all if empty.
	Profile string
	// Leads says whether this replica is the one that acts; nil for always.
	Leads func() bool
	// Identity names this replica in Events.
	Identity string

	// AuthorityLifetime and LeafLifetime are how long certificates are valid; each is renewed after two thirds. Spread and Keep
	// are described at their defaults.
	AuthorityLifetime, LeafLifetime, Spread, Keep, Mount time.Duration
	// Resync is how often everything is looked at though nothing seems to have changed.
	Resync time.Duration

	// Journal keeps a line of each step; nil for none.
	Journal Journal
	// Metrics counts; nil for nobody to read them.
	Metrics *Metrics
	// Now is the clock; time.Now where nil.
	Now func() time.Time
	// Elapsed is the time since some moment, by a clock that is never set: the process's own where nil.
	Elapsed func() time.Duration
	Log     *slog.Logger
}

// Journal keeps a line of each step.
type Journal interface {
	// Registration is called once for each: step is one word, such as "breakGlassOpened"; reason is for people.
	Registration(ctx context.Context, step, reason string)
}

func (o *Options) complete() error {
	if o.Config == nil || o.Service.Namespace == "" || o.Service.Name == "" {
		return errors.New("making a registration: it needs an API server and the webhook's Service")
	}
	if o.Name == "" {
		o.Name = configuration.DefaultName
	}
	defaults := []struct {
		to    *time.Duration
		value time.Duration
	}{
		{&o.AuthorityLifetime, DefaultAuthorityLifetime},
		{&o.LeafLifetime, DefaultLeafLifetime},
		{&o.Spread, DefaultSpread},
		{&o.Keep, DefaultKeep},
		{&o.Mount, DefaultMount},
		{&o.Resync, resync},
	}
	for _, d := range defaults {
		if *d.to <= 0 {
			*d.to = d.value
		}
	}
	if o.Spread+o.Keep > o.AuthorityLifetime/3 || o.LeafLifetime > o.AuthorityLifetime {
		return fmt.Errorf("making a registration: an authority that lives for %s leaves no time for %s to be known and %s to be kept, or its certificates live longer: let it live longer", o.AuthorityLifetime, o.Spread, o.Keep)
	}
	if o.Leads == nil {
		o.Leads = func() bool { return true }
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Elapsed == nil {
		started := time.Now()
		o.Elapsed = func() time.Duration { return time.Since(started) } // monotonic
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Registration keeps the configurations and the certificates. Use [New].
type Registration struct {
	options Options
	kube    kubernetes.Interface
	objects dynamic.Interface
	metrics *Metrics
	log     *slog.Logger

	interests atomic.Pointer[[]policies.Interest]
	changed   chan struct{} // holds at most one

	mu      sync.Mutex
	deleted string // what a configuration that was just deleted had as v1alpha1.BreakGlassUntilAnnotation

	// Of the goroutine that takes turns:
	trusted map[string]time.Duration // since when all configurations have an authority, by fingerprint, as Options.Elapsed has it
	leaf    lastLeaf
	written map[door][]byte // what was last written, by which a foreign edit is told from a change of what is wanted
	told    tellings
	damper  damper
}

// New checks the options. Nothing is asked before Run.
func New(o Options) (*Registration, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	// A mistake in what follows from flags alone is said at the start, not when there is something to register.
	r := &Registration{options: o, metrics: o.Metrics, log: o.Log, changed: make(chan struct{}, 1), trusted: map[string]time.Duration{}, written: map[door][]byte{}}
	if _, err := configuration.Compute(nil, r.configurationOptions(nil, "")); err != nil {
		return nil, err
	}
	config := rest.CopyConfig(o.Config)
	config.UserAgent = ManagedBy + "/registration"
	config.Timeout = callTimeout
	var err error
	if r.kube, err = kubernetes.NewForConfig(config); err == nil {
		r.objects, err = dynamic.NewForConfig(config)
	}
	if err != nil {
		return nil, fmt.Errorf("making a client of the cluster: %w", err)
	}
	return r, nil
}

// callTimeout bounds a call of the API server. Watches are not made with this client.
const callTimeout = 30 * time.Second

// Follow has the rules be those of a lineup. It may be called at any time, from any goroutine. Of a lineup with a bundle that could not be
// loaded nothing is taken: what it is about is not known, and rules without it would let pass what the webhook refuses for its sake.
func (r *Registration) Follow(lineup *admission.Lineup) {
	for n := range lineup.Members {
		if member := &lineup.Members[n]; member.Refuses {
			r.log.Warn("a bundle could not be loaded: the rules stay as they are", "bundle", member.Active.Bundle)
			return
		}
	}
	reviewer := admission.NewLineupReviewer(lineup, nil, r.options.Now)
	reviewer.Pin(r.options.Profile)
	interests := reviewer.Interests()
	r.interests.Store(&interests)
	r.poke()
}

// poke has Run take another turn.
func (r *Registration) poke() {
	select {
	case r.changed <- struct{}{}:
	default: // it will
	}
}

// electionPoll is how often it is asked who leads.
const electionPoll = time.Second

// Run keeps everything, while this replica leads, until the context ends.
func (r *Registration) Run(ctx context.Context) error {
	ticker := time.NewTicker(electionPoll)
	defer ticker.Stop()
	for {
		if r.options.Leads() {
			if err := r.term(ctx); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// term keeps everything until this replica leads no more. Should two believe for a moment that they do, each write of one makes that
// of the other a conflict: what there has to be follows from the objects alone.
func (r *Registration) term(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer end()
	tasks.Go(func() {
		ticker := time.NewTicker(electionPoll)
		defer ticker.Stop()
		for r.options.Leads() {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
		end()
	})
	stop, err := r.watch(ctx)
	if err != nil {
		return err
	}
	defer stop()
	defer r.metrics.reset()
	r.trusted, r.leaf = map[string]time.Duration{}, lastLeaf{} // others have written meanwhile
	backoff := minBackoff
	for ctx.Err() == nil {
		rest := r.options.Resync
		next, err := r.Turn(ctx)
		switch {
		case err != nil:
			rest = min(backoff, r.options.Resync)
			backoff = min(backoff*2, maxBackoff)
		default:
			backoff = minBackoff
			if !next.IsZero() {
				rest = max(min(rest, next.Sub(r.options.Now())), minBackoff)
			}
		}
		r.rest(ctx, rest)
	}
	return nil
}

// Waits after a failure, and the shortest between two turns: what is told in bursts is looked at once.
const (
	minBackoff = 200 * time.Millisecond
	maxBackoff = 30 * time.Second
	gathering  = 50 * time.Millisecond
)

// rest waits for a time, or for something to change.
func (r *Registration) rest(ctx context.Context, duration time.Duration) {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case <-timer.C:
		return
	case <-r.changed:
	}
	burst := time.NewTimer(gathering)
	defer burst.Stop()
	select {
	case <-ctx.Done():
	case <-burst.C:
	}
}

package containment

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// Errors that whoever acts tells apart. All others may pass: the action is to be tried again.
var (
	// ErrGone says that the pod of a quarantine does not exist any more. One of its name with another UID is another pod.
	ErrGone = errors.New("the pod does not exist any more")
	// ErrBudget says that a disruption budget does not let the pod go now.
	ErrBudget = errors.New("a PodDisruptionBudget does not let the pod go now")
	// ErrWaiting says that something else has to happen first, which is under way.
	ErrWaiting = errors.New("waiting")
)

// Options of a [Cluster].
type Options struct {
	// Namespace is the responder's own.
	Namespace string
	// CNI is the provider of the cluster's network, "" to find out.
	CNI isolation.CNI
	// Now is the clock, time.Now if nil.
	Now func() time.Time
	// Actor is who acts, as people know it: "portcullis-responder".
	Actor  string
	Logger *slog.Logger
}

// Cluster carries out single actions on a cluster, and takes them back. It is for concurrent use.
type Cluster struct {
	options  Options
	client   dynamic.Interface
	discover discovery.DiscoveryInterface
	log      *slog.Logger
	now      func() time.Time

	mu     sync.Mutex
	served *served       // nil before it was asked what there is
	cni    isolation.CNI // as found out at cniAt, "" where it is not known
	cniAt  time.Time
}

// Requests per second where the configuration does not say: client-go's default of 5 would hold up a storm of incidents.
const (
	requestsPerSecond = 100
	requestsAtOnce    = 200
)

// New is a cluster that is reached by a configuration. It sends nothing.
func New(config *rest.Config, o Options) (*Cluster, error) {
	config = rest.CopyConfig(config)
	if config.QPS == 0 {
		config.QPS, config.Burst = requestsPerSecond, requestsAtOnce
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	discover, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for discovery: %w", err)
	}
	o.Actor = cmp.Or(o.Actor, "portcullis-responder")
	c := &Cluster{options: o, client: client, discover: discover, log: o.Logger, now: o.Now}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c, nil
}

// Preparation is what is so before an action, to be written down before it is taken.
type Preparation struct {
	// Precondition is what will be asked of the API server to be so, for people.
	Precondition string
	// Originals are what the action will change. They are to be merged into status.originals.
	Originals v1alpha1.Originals
	// Skip says why the action is not to be taken after all, "" where it is.
	Skip string
}

// Outcome is what came of an action.
type Outcome struct {
	// Result is for people.
	Result string
	// Incidents are the names of those that condemn has made.
	Incidents []string
	// Report is the proof, of isolate and of restrict; nil where it could not be made.
	Report *isolation.Report
}

// action is one action: what it will change, how it is taken, and how it is taken back. All of it can be done again at any
// time with the same result.
type action interface {
	prepare(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Preparation, error)
	do(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Outcome, error)
	undo(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Outcome, error)
}

// actionOf is how an action works. Evidence is kept and people are told by others.
func actionOf(a response.Action) (action, error) {
	switch a {
	case response.Annotate:
		return annotate{}, nil
	case response.Label:
		return label{}, nil
	case response.Isolate:
		return isolate{}, nil
	case response.Detach:
		return detach{}, nil
	case response.Condemn:
		return condemn{}, nil
	case response.Revoke:
		return revoke{}, nil
	case response.Cordon:
		return cordon{}, nil
	case response.Suspend:
		return suspend{}, nil
	case response.Scale:
		return scale{}, nil
	case response.Evict:
		return evict{}, nil
	case response.Delete:
		return deletion{}, nil
	case response.Restrict:
		return restrict{}, nil
	default:
		return nil, fmt.Errorf("%s is no action on a cluster", a)
	}
}

// Prepare says what an action will change. It only reads. A pod that is gone is [ErrGone].
func (c *Cluster) Prepare(ctx context.Context, q *v1alpha1.Quarantine, a response.Planned) (Preparation, error) {
	action, err := actionOf(a.Action)
	if err != nil {
		return Preparation{}, err
	}
	prepared, err := action.prepare(ctx, c, q, a)
	if err != nil {
		return Preparation{}, fmt.Errorf("preparing to %s: %w", a.Action, err)
	}
	return prepared, nil
}

// Do takes an action. It is idempotent: done twice is done once. A pod that is gone is [ErrGone], except where the action was to end it.
func (c *Cluster) Do(ctx context.Context, q *v1alpha1.Quarantine, a response.Planned) (Outcome, error) {
	action, err := actionOf(a.Action)
	if err != nil {
		return Outcome{}, err
	}
	outcome, err := action.do(ctx, c, q, a)
	if err != nil {
		return Outcome{}, fmt.Errorf("carrying out %s: %w", a.Action, err)
	}
	return outcome, nil
}

// Undo takes an action back, at release. It is idempotent. What is gone has nothing to be taken back.
func (c *Cluster) Undo(ctx context.Context, q *v1alpha1.Quarantine, a response.Planned) (Outcome, error) {
	action, err := actionOf(a.Action)
	if err != nil {
		return Outcome{}, err
	}
	outcome, err := action.undo(ctx, c, q, a)
	if err != nil {
		return Outcome{}, fmt.Errorf("taking back %s: %w", a.Action, err)
	}
	return outcome, nil
}

// irreversible is the undo of actions that cannot be taken back.
type irreversible struct{}

func (irreversible) undo(_ context.Context, _ *Cluster, _ *v1alpha1.Quarantine, a response.Planned) (Outcome, error) {
	return Outcome{Result: fmt.Sprintf("%s cannot be taken back", a.Action)}, nil
}

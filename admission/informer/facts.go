// Package informer gathers the facts of a live cluster that policies read beside the
// request: the request's namespace and the objects of kinds that policies declare.
//
// It watches each such kind and keeps its objects, so that a review asks nobody. What
// is not known is said, with the reason, and never passed off as an empty list: a kind that has
// not been listed yet, that may not be listed, whose watch has been failing for a while, or
// that is larger than its share of memory. A namespace that the watch has not seen
// (it was created a moment ago) is fetched.
package informer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"golang.org/x/sync/singleflight"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// Defaults of [Options].
const (
	// A policy's objects are projected and kept as JSON: this is some ten thousand
	// network policies.
	DefaultMaxBytes = 64 << 20
	// A watch that breaks is mostly back at once. Facts that are older than this are said to
	// be.
	DefaultStaleAfter = time.Minute
)

// fetchTimeout bounds the fetch of one namespace, which several requests may wait for.
const fetchTimeout = 3 * time.Second

// Options of [Facts].
type Options struct {
	// Reads are the kinds that policies declare. Their Namespace is not looked at: a kind
	// is watched in the whole cluster. A kind that is asked for without being declared
	// is watched from then on, and not known until it is listed.
	Reads []policies.Read
	// MaxBytes is how much of one kind is kept, DefaultMaxBytes if 0.
	MaxBytes int
	// StaleAfter is how long a watch may fail before what it knows is called stale,
	// DefaultStaleAfter if 0; and how long readiness waits for an API server that does not
	// answer.
	StaleAfter time.Duration
	// Now is the clock, time.Now by default.
	Now func() time.Time
	// Logger hears of watches that fail and come back; nil discards.
	Logger *slog.Logger
}

// Facts is a source of facts for [admission.Reviewer].
type Facts struct {
	client     dynamic.Interface
	resolver   resolver
	options    Options
	namespaces *kind[policies.Namespace]
	fetches    singleflight.Group

	mu      sync.Mutex
	running context.Context // of Run, nil before
	began   time.Time       // of Run, zero before
	group   sync.WaitGroup
	kinds   map[schema.GroupResource]*kind[policies.Object]
}

// New makes facts of the cluster that config is for. Nothing is asked before Run.
func New(config *rest.Config, options Options) (*Facts, error) {
	config = rest.CopyConfig(config)
	// Few long-lived watches and, at worst, one fetch for each new namespace: a client
	// that throttles itself would turn a burst into deadlines missed (kyverno#3390).
	config.QPS, config.Burst = 200, 400
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the cluster: %w", err)
	}
	discoverer, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a discovery client of the cluster: %w", err)
	}
	return newFacts(client, &discoveryResolver{client: discoverer}, options), nil
}

func newFacts(client dynamic.Interface, resolver resolver, options Options) *Facts {
	options.MaxBytes = cmp.Or(options.MaxBytes, DefaultMaxBytes)
	options.StaleAfter = cmp.Or(options.StaleAfter, DefaultStaleAfter)
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Facts{client: client, resolver: resolver, options: options, kinds: map[schema.GroupResource]*kind[policies.Object]{}}
	f.namespaces = newKind(schema.GroupResource{Resource: "namespaces"}, f, toNamespace)
	for _, read := range options.Reads {
		f.kind(schema.GroupResource{Group: read.Group, Resource: read.Resource})
	}
	return f
}

// Run watches until the context ends.
func (f *Facts) Run(ctx context.Context) {
	f.mu.Lock()
	f.running, f.began = ctx, f.options.Now()
	f.group.Go(func() { f.namespaces.run(ctx) })
	for _, kind := range f.kinds {
		f.group.Go(func() { kind.run(ctx) })
	}
	f.mu.Unlock()
	<-ctx.Done()
	f.mu.Lock() // no kind may join once waiting has begun
	f.running = nil
	f.mu.Unlock()
	f.group.Wait()
}

// Follow watches kinds from now on, as if they had been declared, and waits for the API server's first answer about each
// that was not watched before. Whatever reads them is then not the first to ask. The error is that of ctx, with what
// has not been answered; a kind that may not be listed is answered, and [Facts.Availability] says so. A kind that is
// followed keeps nobody from being ready. Run must have begun.
func (f *Facts) Follow(ctx context.Context, reads []policies.Read) error {
	var kinds []*kind[policies.Object]
	for _, read := range reads {
		kinds = append(kinds, f.kind(schema.GroupResource{Group: read.Group, Resource: read.Resource}))
	}
	for _, kind := range kinds {
		select {
		case <-kind.answered:
			continue
		default:
		}
		select {
		case <-kind.answered:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the API server to list %s: %w", kind.name, ctx.Err())
		}
	}
	return nil
}

// kind finds or begins the watch of a kind.
func (f *Facts) kind(name schema.GroupResource) *kind[policies.Object] {
	f.mu.Lock()
	defer f.mu.Unlock()
	known, ok := f.kinds[name]
	if !ok {
		known = newKind(name, f, toObject)
		f.kinds[name] = known
		if ctx := f.running; ctx != nil && ctx.Err() == nil {
			f.group.Go(func() { known.run(ctx) })
		}
	}
	return known
}

// Gather gives what is known of what is needed, from memory but for a namespace that the watch
// does not know.
func (f *Facts) Gather(ctx context.Context, needs policies.Needs) policies.Facts {
	var facts policies.Facts
	for _, read := range needs.Reads {
		if read.Namespace != "" && slices.Contains(needs.Reads, policies.Read{Group: read.Group, Resource: read.Resource}) {
			continue // the read of all namespaces brings it
		}
		objects, missing := f.kind(schema.GroupResource{Group: read.Group, Resource: read.Resource}).list(read.Namespace)
		facts.Cluster = append(facts.Cluster, objects...)
		if missing != "" {
			markPartial(&facts, needs.Reads, read, missing)
		}
	}
	if needs.Namespace != "" {
		facts.Namespace, facts.NamespaceMissing = f.namespace(ctx, needs.Namespace)
	}
	return facts
}

// markPartial gives the reason to a read, and to those of single namespaces that it
// stands for.
func markPartial(facts *policies.Facts, reads []policies.Read, partial policies.Read, reason string) {
	if facts.Partial == nil {
		facts.Partial = map[policies.Read]string{}
	}
	for _, read := range reads {
		if read == partial || partial.Namespace == "" && read.Group == partial.Group && read.Resource == partial.Resource {
			facts.Partial[read] = reason
		}
	}
}

// namespace takes the watch's word for a namespace it knows, and otherwise fetches
// it: labels that are not known yet are not the same as no labels (CVE-2025-46342).
func (f *Facts) namespace(ctx context.Context, name string) (namespace *policies.Namespace, missing string) {
	if known, ok := f.namespaces.get("", name); ok && f.namespaces.fresh() {
		return &known, ""
	}
	fetched := f.fetches.DoChan(name, func() (any, error) {
		// Several requests may wait for this fetch; the first to give up must not take it
		// from the others.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		return f.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Get(ctx, name, metav1.GetOptions{})
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Sprintf("fetching namespace %s: the deadline came first", name)
	case result := <-fetched:
		return fetchedNamespace(name, result)
	}
}

func fetchedNamespace(name string, result singleflight.Result) (*policies.Namespace, string) {
	if apierrors.IsNotFound(result.Err) {
		return nil, fmt.Sprintf("namespace %s does not exist", name)
	}
	if result.Err != nil {
		return nil, fmt.Sprintf("fetching namespace %s: %v", name, result.Err)
	}
	object, ok := result.Val.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Sprintf("fetching namespace %s: got a %T", name, result.Val)
	}
	namespace, _, err := toNamespace(object, resolved{})
	if err != nil {
		return nil, fmt.Sprintf("reading namespace %s: %v", name, err)
	}
	return &namespace, ""
}

// lastApplied repeats the object as kubectl last applied it.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// project drops what no policy reads and what is a large part of most objects.
func project(object *unstructured.Unstructured) {
	unstructured.RemoveNestedField(object.Object, "metadata", "managedFields")
	unstructured.RemoveNestedField(object.Object, "metadata", "annotations", lastApplied)
}

// toNamespace converts, and estimates the bytes that are kept.
func toNamespace(object *unstructured.Unstructured, _ resolved) (policies.Namespace, int, error) {
	project(object)
	namespace := policies.Namespace{Name: object.GetName(), Labels: object.GetLabels(), Annotations: object.GetAnnotations()}
	if namespace.Name == "" {
		return namespace, 0, errors.New("it has no name")
	}
	size := len(namespace.Name)
	for _, values := range []*map[string]string{&namespace.Labels, &namespace.Annotations} {
		if *values == nil {
			*values = map[string]string{}
		}
		for key, value := range *values {
			size += len(key) + len(value)
		}
	}
	return namespace, size, nil
}

func toObject(object *unstructured.Unstructured, as resolved) (policies.Object, int, error) {
	project(object)
	raw, err := object.MarshalJSON()
	if err != nil {
		return policies.Object{}, 0, err
	}
	return policies.Object{
		Group: as.resource.Group, Version: as.resource.Version, Kind: as.kind, Resource: as.resource.Resource,
		Namespace: object.GetNamespace(), Name: object.GetName(),
		Raw: raw,
	}, len(raw), nil
}

package gate

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// Limits of reading a live cluster.
const (
	// A dead server must not hang a pipeline.
	liveTimeout = 15 * time.Second
	livePage    = 500
	// Beyond it the run would need too much memory; the read is then partial.
	liveObjects = 50_000
)

// Live is a [Cluster] read through a kubeconfig, with the rights of its user. Each
// kind is listed once and kept for the run. It only reads.
type Live struct {
	name   string
	client dynamic.Interface
	mapper meta.RESTMapper

	mu         sync.Mutex
	reads      map[policies.Read]*listing
	namespaces map[string]*namespaceRead
}

// namespaceRead is one namespace, read once for the run.
type namespaceRead struct {
	once      sync.Once
	namespace *policies.Namespace
	missing   string
}

// listing is one read, done once however many objects need it.
type listing struct {
	once    sync.Once
	objects []policies.Object
	partial string
}

// Connect opens the cluster of a kubeconfig's current context and sees that it answers.
func Connect(kubeconfig string) (*Live, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig %s: %w: --context takes a directory of manifests or a kubeconfig with a current context", kubeconfig, err)
	}
	return ConnectTo(kubeconfig, config)
}

// ConnectTo opens the cluster that a configuration leads to, and sees that it answers. kubeconfig is where the configuration
// comes from, for messages. The configuration is not changed.
func ConnectTo(kubeconfig string, config *rest.Config) (*Live, error) {
	config = rest.CopyConfig(config)
	config.Timeout = liveTimeout
	if config.UserAgent == "" {
		config.UserAgent = "portcullis-gate"
	}
	config.QPS, config.Burst = 50, 100
	// Deprecations of what is in the cluster are no part of the report.
	config.WarningHandler = rest.NoWarnings{}
	disco, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig %s: %w: see that kubectl accepts it", kubeconfig, err)
	}
	if _, err := disco.ServerVersion(); err != nil {
		return nil, fmt.Errorf("reading the cluster of %s at %s: %w: see that kubectl reaches it, or leave --context out", kubeconfig, config.Host, err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig %s: %w: see that kubectl accepts it", kubeconfig, err)
	}
	return &Live{
		name: kubeconfig, client: client, reads: map[policies.Read]*listing{}, namespaces: map[string]*namespaceRead{},
		mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco)),
	}, nil
}

func (l *Live) String() string { return "the cluster of " + l.name }

// List implements Cluster.
func (l *Live) List(ctx context.Context, read policies.Read) ([]policies.Object, string) {
	l.mu.Lock()
	found, ok := l.reads[read]
	if !ok {
		found = &listing{}
		l.reads[read] = found
	}
	l.mu.Unlock()
	// The deadline is that of the run and not of the one object that came first:
	// others wait for the same answer.
	found.once.Do(func() { found.objects, found.partial = l.list(context.WithoutCancel(ctx), read) })
	return found.objects, found.partial
}

func (l *Live) list(ctx context.Context, read policies.Read) ([]policies.Object, string) {
	gvr, err := l.mapper.ResourceFor(schema.GroupVersionResource{Group: read.Group, Resource: read.Resource})
	if meta.IsNoMatchError(err) {
		return nil, "" // the cluster does not have the resource, so there are none
	}
	if err != nil {
		return nil, fmt.Sprintf("asking %s which version of %s it has: %v", l, read.Resource, err)
	}
	var objects []policies.Object
	options := metav1.ListOptions{Limit: livePage}
	for {
		page, err := l.client.Resource(gvr).Namespace(read.Namespace).List(ctx, options)
		if err != nil {
			return objects, fmt.Sprintf("listing %s in %s: %v%s", read.Resource, l, err, grant(err, "list "+gvr.GroupResource().String()))
		}
		for i := range page.Items {
			item := &page.Items[i]
			raw, err := json.Marshal(item.Object)
			if err != nil {
				return objects, fmt.Sprintf("reading %s in %s: %v", read.Resource, l, err)
			}
			objects = append(objects, policies.Object{
				Group: gvr.Group, Version: gvr.Version, Kind: item.GetKind(), Resource: gvr.Resource,
				Namespace: item.GetNamespace(), Name: item.GetName(), Raw: raw,
			})
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return objects, ""
		}
		if len(objects) >= liveObjects {
			return objects, fmt.Sprintf("%s has more than %d %s", l, liveObjects, read.Resource)
		}
	}
}

// needsRight stands before a right in the reason why something is not known.
const needsRight = "; its user needs the right to "

// grant is the next step where the API server refuses to tell.
func grant(err error, right string) string {
	if !apierrors.IsForbidden(err) {
		return ""
	}
	return needsRight + right
}

// MissingRight is the right, as "list pods", that the user of a context lacks when this
// is why a policy is undecided; "" where it is something else.
func MissingRight(reason string) string {
	_, right, _ := strings.Cut(reason, needsRight)
	right, _, _ = strings.Cut(right, ";")
	return right
}

// Namespace implements Cluster. Each is read once and kept for the run.
func (l *Live) Namespace(ctx context.Context, name string) (*policies.Namespace, string) {
	l.mu.Lock()
	found, ok := l.namespaces[name]
	if !ok {
		found = &namespaceRead{}
		l.namespaces[name] = found
	}
	l.mu.Unlock()
	found.once.Do(func() { found.namespace, found.missing = l.namespace(context.WithoutCancel(ctx), name) })
	return found.namespace, found.missing
}

func (l *Live) namespace(ctx context.Context, name string) (*policies.Namespace, string) {
	object, err := l.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Sprintf("there is no namespace %s in %s; create it, or add its manifest to this run", name, l)
	}
	if err != nil {
		return nil, fmt.Sprintf("reading the namespace %s in %s: %v%s", name, l, err, grant(err, "get namespaces"))
	}
	namespace := &policies.Namespace{Name: name, Labels: object.GetLabels(), Annotations: object.GetAnnotations()}
	if namespace.Labels == nil {
		namespace.Labels = map[string]string{}
	}
	if namespace.Annotations == nil {
		namespace.Annotations = map[string]string{}
	}
	return namespace, ""
}

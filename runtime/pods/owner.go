package pods

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/runtime/response"
)

// ownerAge is how long an owner and its numbers are used again: they inform policies, and whoever counts against a limit reads them
// anew.
const ownerAge = 5 * time.Second

// maxOwners bounds the owners that are kept.
const maxOwners = 10_000

// controllers are the kinds of Kubernetes that make pods, or what makes them, with where they count pods. Of others only the
// name is known: to read them would take rights on all kinds there are.
var controllers = map[schema.GroupKind]controller{
	{Group: "apps", Kind: "Deployment"}:  {"deployments", []string{"spec", "replicas"}, []string{"status", "readyReplicas"}},
	{Group: "apps", Kind: "ReplicaSet"}:  {"replicasets", []string{"spec", "replicas"}, []string{"status", "readyReplicas"}},
	{Group: "apps", Kind: "StatefulSet"}: {"statefulsets", []string{"spec", "replicas"}, []string{"status", "readyReplicas"}},
	{Group: "apps", Kind: "DaemonSet"}:   {"daemonsets", []string{"status", "desiredNumberScheduled"}, []string{"status", "numberReady"}},
	{Group: "batch", Kind: "Job"}:        {"jobs", []string{"spec", "parallelism"}, []string{"status", "ready"}},
	{Group: "batch", Kind: "CronJob"}:    {"cronjobs", nil, nil},
	{Kind: "ReplicationController"}:      {"replicationcontrollers", []string{"spec", "replicas"}, []string{"status", "readyReplicas"}},
}

type controller struct {
	resource       string
	desired, ready []string
}

// owners finds the controllers above pods.
type owners struct {
	client  dynamic.Interface
	now     func() time.Time
	flights singleflight.Group

	mu    sync.Mutex
	known map[ownerKey]knownOwner
}

// ownerKey is an owner as a pod names it. All of it counts: whoever makes a pod writes its references, and may name what is not there by the
// UID of what is.
type ownerKey struct {
	namespace, group, version, kind, name, uid string
}

func keyOf(namespace string, o response.Owner) ownerKey {
	return ownerKey{namespace, o.Group, o.Version, o.Kind, o.Name, o.UID}
}

type knownOwner struct {
	owner response.Owner
	next  *metav1.OwnerReference // its own controller
	until time.Time
}

func newOwners(client dynamic.Interface, now func() time.Time) *owners {
	return &owners{client: client, now: now, known: map[ownerKey]knownOwner{}}
}

// get is the controller that stands above a pod at last, by way of the one that the pod names. Two levels are all that
// Kubernetes has: Deployment and ReplicaSet, CronJob and Job. What is gone, or may not be read, is known by its reference.
func (o *owners) get(ctx context.Context, namespace string, reference *metav1.OwnerReference) (*response.Owner, error) {
	direct, above, err := o.read(ctx, namespace, reference)
	if err != nil || above == nil {
		return direct, err
	}
	top, _, err := o.read(ctx, namespace, above)
	if err != nil {
		return nil, err
	}
	if top.Desired == 0 && top.Ready == 0 { // of a kind that counts none: a CronJob, or one that is not known
		top.Desired, top.Ready = direct.Desired, direct.Ready
	}
	top.Direct = direct
	return top, nil
}

// read is one controller with its numbers, and its own controller.
func (o *owners) read(ctx context.Context, namespace string, reference *metav1.OwnerReference) (*response.Owner, *metav1.OwnerReference, error) {
	version, err := schema.ParseGroupVersion(reference.APIVersion)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the owner %s %s/%s: %w", reference.Kind, namespace, reference.Name, err)
	}
	named := response.Owner{Group: version.Group, Version: version.Version, Kind: reference.Kind, Name: reference.Name, UID: string(reference.UID)}
	kind, ok := controllers[schema.GroupKind{Group: version.Group, Kind: reference.Kind}]
	if !ok {
		return &named, nil, nil
	}
	key := keyOf(namespace, named)
	if owner, next, ok := o.fresh(key); ok {
		return owner, next, nil
	}
	fetched := o.flights.DoChan(fmt.Sprintf("%q", key), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		return o.fetch(ctx, kind, version.WithResource(kind.resource), namespace, named)
	})
	select {
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("fetching the owner %s %s/%s: %w", named.Kind, namespace, named.Name, ctx.Err())
	case result := <-fetched:
		if result.Err != nil {
			return nil, nil, result.Err
		}
		known := result.Val.(knownOwner)
		owner := known.owner
		return &owner, known.next, nil
	}
}

func (o *owners) fetch(ctx context.Context, kind controller, resource schema.GroupVersionResource, namespace string, named response.Owner) (knownOwner, error) {
	known := knownOwner{owner: named, until: o.now().Add(ownerAge)}
	object, err := o.client.Resource(resource).Namespace(namespace).Get(ctx, named.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) || apierrors.IsForbidden(err):
	case err != nil:
		return known, fmt.Errorf("fetching the owner %s %s/%s: %w", named.Kind, namespace, named.Name, err)
	case string(object.GetUID()) == named.UID: // else another one has its name now
		known.owner.Desired, known.owner.Ready = number(object, kind.desired), number(object, kind.ready)
		known.next = metav1.GetControllerOfNoCopy(object)
	}
	o.keep(keyOf(namespace, named), known)
	return known, nil
}

func number(object *unstructured.Unstructured, path []string) int64 {
	if path == nil {
		return 0
	}
	value, _, err := unstructured.NestedInt64(object.Object, path...)
	if err != nil {
		return 0
	}
	return value
}

func (o *owners) fresh(key ownerKey) (*response.Owner, *metav1.OwnerReference, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	known, ok := o.known[key]
	if !ok || !o.now().Before(known.until) {
		return nil, nil, false
	}
	owner := known.owner
	return &owner, known.next, true
}

func (o *owners) keep(key ownerKey, known knownOwner) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.known) >= maxOwners {
		clear(o.known) // they are worth five seconds at most
	}
	o.known[key] = known
}

package controller

import (
	"context"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	runtimev1alpha1 "github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/destination"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// The indexes.
const (
	byAuth        = "auth"        // VaultSecrets and VaultPushes by "namespace/auth"
	byConnection  = "connection"  // VaultAuths by VaultConnection
	byDestination = "destination" // VaultSecrets by "namespace/secret"
)

// quarantinesEvery is how often it is looked whether the cluster has Quarantines: without the responder it has none.
const quarantinesEvery = time.Minute

func keyOf(kind, key string) Key {
	namespace, name, _ := cache.SplitMetaNamespaceKey(key)
	return Key{kind, namespace, name}
}

// newIndexers are empty ones, for before the informers run.
func newIndexers() (connections, auths, objects, pushes, quarantines cache.Indexer) {
	empty := func(indexers cache.Indexers) cache.Indexer {
		return cache.NewIndexer(cache.MetaNamespaceKeyFunc, indexers)
	}
	return empty(nil), empty(authIndexers), empty(secretIndexers), empty(pushIndexers), empty(nil)
}

var (
	authIndexers = cache.Indexers{byConnection: func(object any) ([]string, error) {
		if auth, ok := object.(*v1alpha1.VaultAuth); ok {
			return []string{auth.Spec.Connection}, nil
		}
		return nil, nil
	}}
	secretIndexers = cache.Indexers{
		byAuth: func(object any) ([]string, error) {
			if secret, ok := object.(*v1alpha1.VaultSecret); ok {
				return []string{secret.Namespace + "/" + secret.Spec.Auth}, nil
			}
			return nil, nil
		},
		byDestination: func(object any) ([]string, error) {
			secret, ok := object.(*v1alpha1.VaultSecret)
			if !ok {
				return nil, nil
			}
			names := v1alpha1.DestinationNames(secret)
			if written := secret.Status.Destination; written != nil {
				names = append(append(slices.Clone(names), written.Name), written.Slots...)
			}
			slices.Sort(names)
			names = slices.Compact(names)
			for n := range names {
				names[n] = secret.Namespace + "/" + names[n]
			}
			return names, nil
		},
	}
	pushIndexers = cache.Indexers{
		byAuth: func(object any) ([]string, error) {
			if push, ok := object.(*v1alpha1.VaultPush); ok {
				return []string{push.Namespace + "/" + push.Spec.Auth}, nil
			}
			return nil, nil
		},
	}
)

// watch follows our own objects. VaultConnections and VaultAuths come first, so that nothing is missing that is there. It gives how to wait for
// the end of it.
func (c *Controller) watch(ctx context.Context) (stop func()) {
	var running sync.WaitGroup
	run := func(resource schema.GroupVersionResource, indexers cache.Indexers, transform cache.TransformFunc, handler cache.ResourceEventHandler, keep *cache.Indexer) {
		informer := dynamicinformer.NewFilteredDynamicInformer(c.o.Client, resource, metav1.NamespaceAll, 0, indexers, nil).Informer()
		_ = informer.SetTransform(transform) // the error is of an informer that runs
		_, _ = informer.AddEventHandler(handler)
		c.mu.Lock()
		*keep = informer.GetIndexer()
		c.mu.Unlock()
		running.Go(func() { informer.RunWithContext(ctx) })
		cache.WaitForCacheSync(ctx.Done(), informer.HasSynced)
	}
	run(v1alpha1.VaultConnections, cache.Indexers{}, transformed[v1alpha1.VaultConnection](c), handlerOf(c.connectionChanged), &c.connections)
	run(v1alpha1.VaultAuths, authIndexers, transformed[v1alpha1.VaultAuth](c), handlerOf(c.authChanged), &c.auths)
	run(v1alpha1.VaultSecrets, secretIndexers, transformed[v1alpha1.VaultSecret](c), handlerOf(c.secretChanged), &c.objects)
	run(v1alpha1.VaultPushes, pushIndexers, transformed[v1alpha1.VaultPush](c), handlerOf(c.pushChanged), &c.pushes)
	running.Go(func() {
		for !c.hasQuarantines() {
			select {
			case <-ctx.Done():
				return
			case <-c.o.Clock.After(quarantinesEvery):
			}
		}
		run(runtimev1alpha1.Quarantines, cache.Indexers{}, transformedQuarantine, handlerOf(c.quarantineChanged), &c.quarantines)
	})
	return running.Wait
}

func (c *Controller) hasQuarantines() bool {
	list, err := c.o.Kubernetes.Discovery().ServerResourcesForGroupVersion(runtimev1alpha1.GroupVersion.String())
	return err == nil && slices.ContainsFunc(list.APIResources, func(one metav1.APIResource) bool { return one.Name == runtimev1alpha1.Quarantines.Resource })
}

// lastApplied is a copy of the whole object that kubectl keeps.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// transformed decodes what an informer keeps, and drops what nobody reads: 5,000 objects are to fit in little memory. One that does not decode
// is kept without its spec, which makes no sense and is said to: the others must not wait for it.
func transformed[T v1alpha1.Object](c *Controller) cache.TransformFunc {
	return func(object any) (any, error) {
		read, ok := object.(*unstructured.Unstructured)
		if !ok {
			return object, nil
		}
		strip(read)
		decoded, err := v1alpha1.Decode[T](read)
		if err != nil {
			c.log.Error("it is taken as without a spec: correct it", "error", err)
			bare := &unstructured.Unstructured{Object: map[string]any{"metadata": read.Object["metadata"]}}
			return v1alpha1.Decode[T](bare)
		}
		return decoded, nil
	}
}

func transformedQuarantine(object any) (any, error) {
	read, ok := object.(*unstructured.Unstructured)
	if !ok {
		return object, nil
	}
	strip(read)
	// What is needed of it is little, and evidence and plans are much.
	slim := map[string]any{"apiVersion": read.Object["apiVersion"], "kind": read.Object["kind"], "metadata": read.Object["metadata"]}
	for _, path := range [][]string{{"spec", "revoke"}, {"spec", "pod"}, {"spec", "mode"}, {"status", "phase"}, {"status", "admitted"}, {"status", "revoked"}} {
		if value, found, _ := unstructured.NestedFieldNoCopy(read.Object, path...); found {
			_ = unstructured.SetNestedField(slim, value, path...)
		}
	}
	read.Object = slim
	return read, nil
}

func strip(object *unstructured.Unstructured) {
	object.SetManagedFields(nil)
	if annotations := object.GetAnnotations(); annotations[lastApplied] != "" {
		delete(annotations, lastApplied)
		object.SetAnnotations(annotations)
	}
}

// handlerOf calls changed with what was before, nil for what is new, and what is now, nil for what is gone; initial says that it was there
// when the term began.
func handlerOf[T any](changed func(before, now *T, initial bool)) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(object any, initial bool) {
			if now, ok := object.(*T); ok {
				changed(nil, now, initial)
			}
		},
		UpdateFunc: func(old, object any) {
			before, _ := old.(*T)
			if now, ok := object.(*T); ok {
				changed(before, now, false)
			}
		},
		DeleteFunc: func(object any) {
			if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = gone.Obj
			}
			if before, ok := object.(*T); ok {
				changed(before, nil, false)
			}
		},
	}
}

// secretChanged queues a VaultSecret: at once if a person changed it; at its time, or spread over its interval, if it was there at the start.
// What this process itself writes is in the status, and queues nothing.
func (c *Controller) secretChanged(before, now *v1alpha1.VaultSecret, initial bool) {
	at := c.o.Clock.Now()
	switch {
	case now == nil:
		c.unfollow(before)
		c.queue.Add(Key{KindSecret, before.Namespace, before.Name}, at, classRefresh)
	case initial:
		c.follow(now)
		at, class := c.startAt(at, now)
		c.queue.Add(Key{KindSecret, now.Namespace, now.Name}, at, class)
	case before == nil || asked(&before.ObjectMeta, &now.ObjectMeta):
		c.queue.Add(Key{KindSecret, now.Namespace, now.Name}, at, classPeople)
	}
}

// asked says that a person changed something that counts.
func asked(before, now *metav1.ObjectMeta) bool {
	return before.UID != now.UID || before.Generation != now.Generation || before.Annotations[v1alpha1.SyncAnnotation] != now.Annotations[v1alpha1.SyncAnnotation] ||
		(before.DeletionTimestamp == nil) != (now.DeletionTimestamp == nil) || !mapsEqual(before.Labels, now.Labels)
}

func mapsEqual(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for key, value := range a {
		if other, ok := b[key]; !ok || other != value {
			return false
		}
	}
	return true
}

// startAt is when an object is looked at that was there at the start. Leases come first: while nobody has resumed their token, nobody renews it.
func (c *Controller) startAt(now time.Time, secret *v1alpha1.VaultSecret) (time.Time, int) {
	status := &secret.Status
	if secret.DeletionTimestamp != nil || status.ObservedGeneration != 0 && status.ObservedGeneration != secret.Generation ||
		status.ObservedGeneration != 0 && secret.Annotations[v1alpha1.SyncAnnotation] != status.Requested {
		return now, classPeople // somebody changed it meanwhile
	}
	var last, next time.Time
	if status.LastSync != nil {
		last = status.LastSync.Time
	}
	if status.NextSync != nil {
		next = status.NextSync.Time
	}
	c.mu.Lock()
	ends, kept := c.kept[string(secret.UID)]
	c.mu.Unlock()
	if kept {
		// In a quarter of what is left of the token and of the lease, and in the window of a start at most.
		if lease := status.Lease; lease != nil && lease.Expires.Time.Before(ends) {
			ends = lease.Expires.Time
		}
		at := secrets.SpreadStart(now, time.Time{}, time.Time{}, max(ends.Sub(now)/4, time.Nanosecond), string(secret.UID))
		if next.After(now) && next.Before(at) {
			at = next
		}
		return at, classRenewal
	}
	at := secrets.SpreadStart(now, last, next, intervalOf(secret), string(secret.UID))
	if lease := status.Lease; lease != nil {
		// A certificate that has not long left does not wait for its turn in the window.
		if by := now.Add(max(lease.Expires.Sub(now)/4, 0)); by.Before(at) {
			at = by
		}
		return at, classRenewal
	}
	return at, classRefresh
}

func intervalOf(secret *v1alpha1.VaultSecret) time.Duration {
	if interval := secret.Spec.Refresh.Interval; interval != nil && interval.Duration > 0 {
		return max(interval.Duration, v1alpha1.LeastInterval)
	}
	return v1alpha1.DefaultInterval
}

func (c *Controller) pushChanged(before, now *v1alpha1.VaultPush, initial bool) {
	at := c.o.Clock.Now()
	switch {
	case now == nil:
		c.queue.Add(Key{KindPush, before.Namespace, before.Name}, at, classRefresh)
	case initial:
		var last, next time.Time
		if now.Status.LastPush != nil {
			last = now.Status.LastPush.Time
		}
		if now.Status.NextPush != nil {
			next = now.Status.NextPush.Time
		}
		interval := v1alpha1.DefaultInterval
		if given := now.Spec.Refresh.Interval; given != nil && given.Duration > 0 {
			interval = given.Duration
		}
		c.queue.Add(Key{KindPush, now.Namespace, now.Name}, secrets.SpreadStart(at, last, next, interval, string(now.UID)), classRefresh)
	case before == nil || asked(&before.ObjectMeta, &now.ObjectMeta):
		c.queue.Add(Key{KindPush, now.Namespace, now.Name}, at, classPeople)
	}
}

// authChanged has what names a VaultAuth looked at again.
func (c *Controller) authChanged(before, now *v1alpha1.VaultAuth, initial bool) {
	switch {
	case initial || before != nil && now != nil && before.UID == now.UID && before.Generation == now.Generation:
	case now == nil:
		c.o.Vaults.ForgetAuth(before.Namespace, before.Name)
		c.wakeAuth(before.Namespace, before.Name)
	default:
		c.wakeAuth(now.Namespace, now.Name)
	}
}

func (c *Controller) connectionChanged(before, now *v1alpha1.VaultConnection, initial bool) {
	switch {
	case initial || before != nil && now != nil && before.UID == now.UID && before.Generation == now.Generation:
		return
	case now == nil:
		c.o.Vaults.Forget(before.Name)
		now = before
	}
	c.mu.Lock()
	delete(c.mounts, now.Name) // another Vault, perhaps
	c.mu.Unlock()
	c.outages.end(now.Name)
	for _, object := range indexed(c.index(&c.auths), byConnection, now.Name) {
		if auth, ok := object.(*v1alpha1.VaultAuth); ok {
			c.wakeAuth(auth.Namespace, auth.Name)
		}
	}
}

// wakeAuth queues all that logs in by a VaultAuth.
func (c *Controller) wakeAuth(namespace, name string) {
	at := c.o.Clock.Now()
	for _, object := range indexed(c.index(&c.objects), byAuth, namespace+"/"+name) {
		if secret, ok := object.(*v1alpha1.VaultSecret); ok {
			key := Key{KindSecret, secret.Namespace, secret.Name}
			c.flag(key, func(m *mind) { m.due = true })
			c.queue.Add(key, at, classRefresh)
		}
	}
	for _, object := range indexed(c.index(&c.pushes), byAuth, namespace+"/"+name) {
		if push, ok := object.(*v1alpha1.VaultPush); ok {
			key := Key{KindPush, push.Namespace, push.Name}
			c.flag(key, func(m *mind) { m.due = true })
			c.queue.Add(key, at, classRefresh)
		}
	}
}

// index is one of the indexes, which are of one term each.
func (c *Controller) index(which *cache.Indexer) cache.Indexer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *which
}

func indexed(indexer cache.Indexer, index, value string) []any {
	found, err := indexer.ByIndex(index, value)
	if err != nil {
		return nil // there is no such index: none of ours
	}
	return found
}

func (c *Controller) quarantineChanged(_, now *unstructured.Unstructured, _ bool) {
	if now == nil {
		return
	}
	if revoke, _, _ := unstructured.NestedSlice(now.Object, "spec", "revoke"); len(revoke) > 0 {
		c.queue.Add(Key{Kind: KindQuarantine, Name: now.GetName()}, c.o.Clock.Now(), classPeople)
	}
}

// drifted is told by the watcher that somebody changed a destination.
func (c *Controller) drifted(owner destination.Owner) {
	key := Key{KindSecret, owner.Namespace, owner.Name}
	if secret := c.secret(key); secret == nil || string(secret.UID) != owner.UID {
		return
	}
	c.flag(key, func(m *mind) { m.drifted = true })
	c.queue.Add(key, c.o.Clock.Now(), classPeople)
}

// follow has the watcher look at a destination.
func (c *Controller) follow(secret *v1alpha1.VaultSecret) {
	if written := secret.Status.Destination; written != nil && written.Name != "" {
		c.watcher.FollowFrom(ownerOf(secret), written.Kind, written.Name, written.ResourceVersion)
	}
}

func (c *Controller) unfollow(secret *v1alpha1.VaultSecret) {
	if written := secret.Status.Destination; written != nil && written.Name != "" {
		c.watcher.Unfollow(ownerOf(secret), written.Kind, written.Name)
	}
}

func ownerOf(secret *v1alpha1.VaultSecret) destination.Owner {
	return destination.Owner{Namespace: secret.Namespace, Name: secret.Name, UID: string(secret.UID)}
}

// secret is a VaultSecret with the newest status that this process wrote, nil where it is gone. It is not to be changed.
func (c *Controller) secret(key Key) *v1alpha1.VaultSecret {
	object, found, _ := c.index(&c.objects).GetByKey(key.Namespace + "/" + key.Name)
	secret, ok := object.(*v1alpha1.VaultSecret)
	if !found || !ok {
		return nil
	}
	m := c.mindOf(key, secret.UID)
	c.mu.Lock()
	defer c.mu.Unlock()
	status, ok := m.written.(*v1alpha1.VaultSecretStatus)
	if !ok || !behind(secret.ResourceVersion, m.version) {
		m.written, m.version = nil, ""
		return secret
	}
	newer := *secret
	newer.Status, newer.ResourceVersion = *status, m.version
	return &newer
}

// push is a VaultPush, as secret is a VaultSecret.
func (c *Controller) push(key Key) *v1alpha1.VaultPush {
	object, found, _ := c.index(&c.pushes).GetByKey(key.Namespace + "/" + key.Name)
	push, ok := object.(*v1alpha1.VaultPush)
	if !found || !ok {
		return nil
	}
	m := c.mindOf(key, push.UID)
	c.mu.Lock()
	defer c.mu.Unlock()
	status, ok := m.written.(*v1alpha1.VaultPushStatus)
	if !ok || !behind(push.ResourceVersion, m.version) {
		m.written, m.version = nil, ""
		return push
	}
	newer := *push
	newer.Status, newer.ResourceVersion = *status, m.version
	return &newer
}

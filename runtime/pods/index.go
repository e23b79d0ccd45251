package pods

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// Defaults of [Options].
const (
	// DefaultMaxPods is above what Kubernetes supports in one cluster (150,000), at about 1 KiB each.
	DefaultMaxPods = 200_000
	// DefaultKeep is how long pods that are gone are kept.
	DefaultKeep = 5 * time.Minute
	// DefaultObjectBytes is memory for objects of pods that had events of late.
	DefaultObjectBytes = 32 << 20
	// DefaultWindow is how far back recent events are counted where nobody says.
	DefaultWindow = 10 * time.Minute
)

// maxGone bounds the pods that are gone and kept.
const maxGone = 20_000

// Options of [New].
type Options struct {
	// MaxPods bounds the pods that are kept, DefaultMaxPods if 0. Beyond it Check says so, and events of the others are unresolved.
	MaxPods int
	// Keep is how long pods that are gone are kept, DefaultKeep if 0.
	Keep time.Duration
	// ObjectBytes bounds the objects that are kept, DefaultObjectBytes if 0.
	ObjectBytes int
	// Window says how far back recent events are counted now, at most an hour; nil for DefaultWindow.
	Window func() time.Duration
	// Now is the clock, time.Now by default.
	Now func() time.Time
	// Logger hears of a watch that fails and comes back; nil discards.
	Logger *slog.Logger
}

func (o *Options) setDefaults() {
	o.MaxPods = cmp.Or(o.MaxPods, DefaultMaxPods)
	o.Keep = cmp.Or(o.Keep, DefaultKeep)
	o.ObjectBytes = cmp.Or(o.ObjectBytes, DefaultObjectBytes)
	if o.Window == nil {
		o.Window = func() time.Duration { return DefaultWindow }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Index knows all pods of a cluster, and those that were there a short while ago. It may be used by any number of goroutines.
type Index struct {
	options Options
	pods    corev1client.PodsGetter // nil in tests that put pods there themselves
	objects *objects
	owners  *owners
	recent  *recent

	mu sync.RWMutex
	// uids has each record by its UID; aliases has those of static pods by the kubelet's own UID, which is only what their annotations say.
	uids, aliases map[string]*record
	// names has the records of a name, those that are gone before the one that is there.
	names map[types.NamespacedName][]*record
	// containers has the records of a container id's first digits.
	containers map[string][]*record
	// gone are the UIDs of pods that are, the oldest first.
	gone []string
	live int
	// synced is when all pods were first known, zero before.
	synced   time.Time
	overflow bool
	failure  error // of a watch that has not recovered
}

// New makes an index of the cluster that config is for. Nothing is asked before Run.
func New(config *rest.Config, options Options) (*Index, error) {
	options.setDefaults()
	fast := rest.CopyConfig(config)
	// One read for each pod with events and its owner: a client that throttles itself would delay containment.
	fast.QPS, fast.Burst = 200, 400
	client, err := dynamic.NewForConfig(fast)
	if err != nil {
		return nil, fmt.Errorf("making a client of the cluster: %w", err)
	}
	watching := rest.CopyConfig(config)
	// Pods are many, and much cheaper to read in this form.
	watching.AcceptContentTypes = k8sruntime.ContentTypeProtobuf + "," + k8sruntime.ContentTypeJSON
	watching.ContentType = k8sruntime.ContentTypeProtobuf
	typed, err := corev1client.NewForConfig(watching)
	if err != nil {
		return nil, fmt.Errorf("making a client of pods: %w", err)
	}
	index := newIndex(client, options)
	index.pods = typed
	return index, nil
}

func newIndex(client dynamic.Interface, options Options) *Index {
	options.setDefaults()
	index := &Index{
		options: options, objects: newObjects(client, options.ObjectBytes), owners: newOwners(client, options.Now),
		recent: newRecent(options.Now),
	}
	index.clear()
	return index
}

func (i *Index) clear() {
	i.uids, i.aliases = map[string]*record{}, map[string]*record{}
	i.names, i.containers = map[types.NamespacedName][]*record{}, map[string][]*record{}
	i.live, i.gone, i.overflow = 0, nil, false
}

// Run watches pods until the context ends.
func (i *Index) Run(ctx context.Context) {
	pods := i.pods.Pods(metav1.NamespaceAll)
	note := func(err error) {
		if err != nil && ctx.Err() == nil {
			i.failed(err)
		}
	}
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (k8sruntime.Object, error) {
			list, err := pods.List(ctx, options)
			note(err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			watcher, err := pods.Watch(ctx, options)
			note(err)
			if err == nil && options.SendInitialEvents == nil {
				i.recovered()
			}
			return watcher, err
		},
	}
	reflector := cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(source, i.pods), &corev1.Pod{}, (*store)(i), cache.ReflectorOptions{Name: "portcullis pods", TypeDescription: "pods"})
	reflector.RunWithContext(ctx)
}

// Check says why events cannot be resolved yet.
func (i *Index) Check() error {
	i.mu.RLock()
	defer i.mu.RUnlock()
	switch {
	case !i.synced.IsZero():
		return nil
	case i.failure == nil:
		return errors.New("pods have not been listed yet")
	case apierrors.IsForbidden(i.failure) || apierrors.IsUnauthorized(i.failure):
		return fmt.Errorf("listing pods: %w: grant the responder's service account get, list and watch on them", i.failure)
	}
	return fmt.Errorf("listing pods: %w: it is tried again", i.failure)
}

// Notes say what is wrong though events are resolved.
func (i *Index) Notes() []string {
	i.mu.RLock()
	defer i.mu.RUnlock()
	var notes []string
	if !i.synced.IsZero() && i.failure != nil {
		notes = append(notes, fmt.Sprintf("watching pods fails, and new ones are not known: %v", i.failure))
	}
	if i.overflow {
		notes = append(notes, fmt.Sprintf("there are more than %d pods, and events of the others are not resolved: give the responder more memory and --max-pods", i.options.MaxPods))
	}
	return notes
}

// Pods counts the pods that are there and those that are gone and kept.
func (i *Index) Pods() (live, gone int) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.live, len(i.gone)
}

func (i *Index) failed(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.failure == nil {
		i.options.Logger.Warn("watching pods fails: new ones are not known", "error", err.Error())
	}
	i.failure = err
}

func (i *Index) recovered() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.recover()
}

func (i *Index) recover() {
	if i.failure != nil {
		i.options.Logger.Info("watching pods works again")
	}
	i.failure = nil
}

// put takes in a pod as it is now.
func (i *Index) put(r *record) {
	if before := i.uids[r.pod.UID]; before != nil {
		r.inherit(before)
		i.drop(before)
	}
	if i.live >= i.options.MaxPods {
		i.overflow = true
		return
	}
	i.enter(r)
}

// end notes that a pod is gone.
func (i *Index) end(uid string) {
	before := i.uids[uid]
	if before == nil || !before.deleted.IsZero() {
		return
	}
	ended := *before
	ended.deleted = i.options.Now()
	i.drop(before)
	i.enter(&ended)
	i.gone = append(i.gone, ended.pod.UID)
	i.prune()
}

// prune forgets pods that have been gone for long, or are too many.
func (i *Index) prune() {
	oldest := i.options.Now().Add(-i.options.Keep)
	n := 0
	for ; n < len(i.gone); n++ {
		r := i.uids[i.gone[n]]
		if r != nil && len(i.gone)-n <= maxGone && r.deleted.After(oldest) {
			break
		}
		if r != nil {
			i.drop(r)
		}
	}
	i.gone = i.gone[n:]
}

func (i *Index) enter(r *record) {
	i.uids[r.pod.UID] = r
	if other := i.aliases[r.alias]; r.alias != "" && (other == nil || !other.deleted.IsZero()) {
		i.aliases[r.alias] = r
	}
	name := types.NamespacedName{Namespace: r.pod.Namespace, Name: r.pod.Name}
	i.names[name] = append(i.names[name], r)
	for _, prefix := range r.prefixes() {
		i.containers[prefix] = append(i.containers[prefix], r)
	}
	if r.deleted.IsZero() {
		i.live++
	}
}

func (i *Index) drop(r *record) {
	delete(i.uids, r.pod.UID)
	if i.aliases[r.alias] == r {
		delete(i.aliases, r.alias)
	}
	removeFrom(i.names, types.NamespacedName{Namespace: r.pod.Namespace, Name: r.pod.Name}, r)
	for _, prefix := range r.prefixes() {
		removeFrom(i.containers, prefix, r)
	}
	if r.deleted.IsZero() {
		i.live--
	}
}

func removeFrom[K comparable](index map[K][]*record, key K, r *record) {
	var left []*record
	for _, other := range index[key] {
		if other != r {
			left = append(left, other)
		}
	}
	if len(left) == 0 {
		delete(index, key)
		return
	}
	index[key] = left
}

// prefixDigits are those of container ids that Falco writes (container.id).
const prefixDigits = 12

// prefixes are the first digits of the ids of all containers, each once.
func (r *record) prefixes() []string {
	var all []string
	seen := map[string]bool{}
	for n := range r.containers {
		for _, id := range r.containers[n].ids {
			if len(id) >= prefixDigits && !seen[id[:prefixDigits]] {
				seen[id[:prefixDigits]] = true
				all = append(all, id[:prefixDigits])
			}
		}
	}
	return all
}

// store is the reflector's side of an index.
type store Index

// Transformer keeps whole pods out of the reflector's own memory while it lists.
func (s *store) Transformer() cache.TransformFunc {
	return func(object any) (any, error) {
		if pod, ok := object.(*corev1.Pod); ok {
			pod.ManagedFields = nil
			pod.Spec.Volumes, pod.Spec.Affinity, pod.Spec.Tolerations = nil, nil, nil
			for n := range pod.Spec.Containers {
				slim(&pod.Spec.Containers[n])
			}
			for n := range pod.Spec.InitContainers {
				slim(&pod.Spec.InitContainers[n])
			}
		}
		return object, nil
	}
}

func slim(c *corev1.Container) {
	*c = corev1.Container{Name: c.Name, Image: c.Image, SecurityContext: c.SecurityContext}
}

// Replace is the reflector's: all pods there are. Those that are not among them are gone.
func (s *store) Replace(all []any, _ string) error {
	i := (*Index)(s)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.overflow = false
	there := map[string]bool{}
	for _, object := range all {
		pod, ok := object.(*corev1.Pod)
		if !ok {
			return fmt.Errorf("keeping pods: got a %T", object)
		}
		there[string(pod.UID)] = true
	}
	var missing []string
	for uid, r := range i.uids {
		if r.deleted.IsZero() && !there[uid] {
			missing = append(missing, uid)
		}
	}
	for _, uid := range missing {
		i.end(uid)
	}
	for _, object := range all {
		i.put(project(object.(*corev1.Pod)))
	}
	if i.synced.IsZero() {
		i.synced = i.options.Now()
	}
	i.recover()
	return nil
}

// Add is the reflector's: a pod is new.
func (s *store) Add(object any) error { return s.Update(object) }

// Update is the reflector's: a pod changed.
func (s *store) Update(object any) error {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return fmt.Errorf("keeping a pod: got a %T", object)
	}
	r := project(pod)
	i := (*Index)(s)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.recover()
	i.put(r)
	return nil
}

// Delete is the reflector's: a pod is gone.
func (s *store) Delete(object any) error {
	i := (*Index)(s)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.recover()
	if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	accessor, err := meta.Accessor(object)
	if err != nil {
		return fmt.Errorf("forgetting a pod: %w", err)
	}
	i.end(string(accessor.GetUID()))
	return nil
}

// Resync is the reflector's; there is nobody to tell.
func (s *store) Resync() error { return nil }

// Bookmark is the reflector's: nothing changed, and the watch is alive.
func (s *store) Bookmark(string) error {
	(*Index)(s).recovered()
	return nil
}

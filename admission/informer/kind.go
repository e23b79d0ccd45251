package informer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// Waits between attempts of a kind that the API server does not serve (its definition
// may yet be installed) and of a discovery that failed.
const (
	absentRetry   = 15 * time.Second
	resolverRetry = 5 * time.Second
)

// kind is one resource that is watched, with its objects as T.
type kind[T any] struct {
	name    schema.GroupResource
	facts   *Facts
	convert func(*unstructured.Unstructured, resolved) (T, int, error)

	mu sync.Mutex
	as resolved
	// items by namespace and name, and how many bytes they are.
	items map[string]map[string]sized[T]
	bytes int
	// lists are the sorted items of a namespace, made when they are asked for; "" is
	// of all. A list is never changed, only replaced.
	lists map[string][]T
	// listed is true once all objects are known, or it is known that there are none.
	listed bool
	// overflow is why the kind is not kept.
	overflow string
	// failure is the last error of a watch that has not recovered, since when it fails.
	failure string
	since   time.Time
	// denied says that the failure is one of rights.
	denied bool
	// answered is closed when the API server has given its first answer, good or bad.
	answered chan struct{}
	once     sync.Once
}

type sized[T any] struct {
	value T
	bytes int
}

func newKind[T any](name schema.GroupResource, facts *Facts, convert func(*unstructured.Unstructured, resolved) (T, int, error)) *kind[T] {
	k := &kind[T]{name: name, facts: facts, convert: convert, answered: make(chan struct{})}
	k.clear()
	return k
}

// run finds out how the kind is served and watches it, and begins again when that
// changes.
func (k *kind[T]) run(ctx context.Context) {
	for ctx.Err() == nil {
		as, err := k.facts.resolver.resolve(ctx, k.name)
		switch {
		case err != nil:
			k.failed(fmt.Errorf("asking the API server whether it serves %s: %w", k.name, err))
			pause(ctx, resolverRetry)
		case as == nil:
			k.absent()
			pause(ctx, absentRetry)
		default:
			k.watch(ctx, *as)
		}
	}
}

func pause(ctx context.Context, wait time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}

// watch returns when the API server does not serve the kind any more.
func (k *kind[T]) watch(ctx context.Context, as resolved) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k.mu.Lock()
	k.as = as
	k.mu.Unlock()
	resource := k.facts.client.Resource(as.resource)
	note := func(err error) {
		if err == nil || ctx.Err() != nil {
			return
		}
		k.failed(err)
		if apierrors.IsNotFound(err) {
			cancel()
		}
	}
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (k8sruntime.Object, error) {
			list, err := resource.List(ctx, options)
			note(err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			watcher, err := resource.Watch(ctx, options)
			note(err)
			if err == nil && options.SendInitialEvents == nil {
				k.recovered()
			}
			return watcher, err
		},
	}
	reflector := cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(source, k.facts.client), &unstructured.Unstructured{}, k,
		cache.ReflectorOptions{Name: "portcullis facts", TypeDescription: k.name.String()})
	reflector.RunWithContext(ctx)
}

// list gives the objects of a namespace, or all for "", and why there may be more.
func (k *kind[T]) list(namespace string) (values []T, missing string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	values, made := k.lists[namespace]
	if !made {
		values = k.sorted(namespace)
		k.lists[namespace] = values
	}
	return values, k.missing()
}

// maxLists bounds the lists kept, which only save making them again.
const maxLists = 4096

func (k *kind[T]) sorted(namespace string) []T {
	if len(k.lists) >= maxLists {
		clear(k.lists)
	}
	type entry struct{ namespace, name string }
	var entries []entry
	for in, names := range k.items {
		if namespace != "" && in != namespace {
			continue
		}
		for name := range names {
			entries = append(entries, entry{in, name})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if c := strings.Compare(a.namespace, b.namespace); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	values := make([]T, 0, len(entries))
	for _, e := range entries {
		values = append(values, k.items[e.namespace][e.name].value)
	}
	return values
}

func (k *kind[T]) get(namespace, name string) (value T, known bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	item, known := k.items[namespace][name]
	return item.value, known
}

// fresh says that what is known is all there is.
func (k *kind[T]) fresh() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.missing() == ""
}

func (k *kind[T]) status() status {
	k.mu.Lock()
	defer k.mu.Unlock()
	return status{
		name: k.name.String(), missing: k.missing(),
		awaited: !k.listed && k.overflow == "", denied: k.failure != "" && k.denied,
	}
}

// missing is why objects may be missing, "" if none are.
func (k *kind[T]) missing() string {
	switch failing := k.facts.options.Now().Sub(k.since); {
	case k.overflow != "":
		return k.overflow
	case !k.listed && k.failure != "":
		return fmt.Sprintf("%s could not be listed: %s", k.name, k.failure)
	case !k.listed:
		return fmt.Sprintf("%s have not been listed yet", k.name)
	case k.failure != "" && failing > k.facts.options.StaleAfter:
		return fmt.Sprintf("%s have not been updated for %s: %s", k.name, failing.Truncate(time.Second), k.failure)
	}
	return ""
}

func (k *kind[T]) failed(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failure == "" {
		k.since = k.facts.options.Now()
		k.facts.options.Logger.Warn("watching facts fails: policies that read them will", "kind", k.name.String(), "error", err.Error(), "next", nextStep(err))
	}
	k.failure, k.denied = err.Error(), denies(err)
	k.answer()
}

// answer lets go whoever waits for the first answer.
func (k *kind[T]) answer() { k.once.Do(func() { close(k.answered) }) }

func denies(err error) bool { return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) }

func nextStep(err error) string {
	if denies(err) {
		return "grant the webhook's service account get, list and watch on it"
	}
	return "it is tried again"
}

func (k *kind[T]) recovered() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.recover()
}

func (k *kind[T]) recover() {
	if k.failure != "" {
		k.facts.options.Logger.Info("watching facts works again", "kind", k.name.String())
	}
	k.failure = ""
}

// absent is a kind that the API server does not serve: then there are no objects of
// it, and that is known.
func (k *kind[T]) absent() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.clear()
	k.listed = true
	k.recover()
	k.answer()
}

func (k *kind[T]) clear() {
	k.items, k.bytes, k.lists = map[string]map[string]sized[T]{}, 0, map[string][]T{}
	k.listed, k.overflow = false, ""
}

// Transformer projects objects before they are stored, in the reflector's own
// intermediate store, too.
func (k *kind[T]) Transformer() cache.TransformFunc {
	return func(object any) (any, error) {
		if object, ok := object.(*unstructured.Unstructured); ok {
			project(object)
		}
		return object, nil
	}
}

// Replace is the reflector's: all objects there are.
func (k *kind[T]) Replace(objects []any, _ string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.clear()
	for _, object := range objects {
		if err := k.put(object); err != nil {
			return err
		}
	}
	k.listed = true
	k.recover()
	k.answer()
	return nil
}

// Add is the reflector's: an object is new.
func (k *kind[T]) Add(object any) error { return k.Update(object) }

// Update is the reflector's: an object changed.
func (k *kind[T]) Update(object any) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.recover()
	return k.put(object)
}

// Delete is the reflector's: an object is gone.
func (k *kind[T]) Delete(object any) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.recover()
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		namespace, name, err := cache.SplitMetaNamespaceKey(gone.Key)
		if err != nil {
			return err
		}
		k.remove(namespace, name)
		return nil
	}
	accessor, err := meta.Accessor(object)
	if err != nil {
		return err
	}
	k.remove(accessor.GetNamespace(), accessor.GetName())
	return nil
}

// Resync is the reflector's; there is nobody to tell.
func (k *kind[T]) Resync() error { return nil }

// Bookmark is the reflector's: nothing changed, and the watch is alive.
func (k *kind[T]) Bookmark(string) error {
	k.recovered()
	return nil
}

func (k *kind[T]) put(object any) error {
	if k.overflow != "" {
		return nil
	}
	read, ok := object.(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("keeping %s: got a %T", k.name, object)
	}
	value, bytes, err := k.convert(read, k.as)
	if err != nil {
		return fmt.Errorf("keeping %s %s/%s: %w", k.name, read.GetNamespace(), read.GetName(), err)
	}
	namespace, name := read.GetNamespace(), read.GetName()
	k.remove(namespace, name)
	if k.bytes+bytes > k.facts.options.MaxBytes {
		k.clear()
		k.overflow = fmt.Sprintf("%s need more than %d bytes of memory: give the webhook more with --max-fact-bytes", k.name, k.facts.options.MaxBytes)
		k.facts.options.Logger.Error("facts are not kept", "kind", k.name.String(), "reason", k.overflow)
		return nil
	}
	if k.items[namespace] == nil {
		k.items[namespace] = map[string]sized[T]{}
	}
	k.items[namespace][name] = sized[T]{value, bytes}
	k.bytes += bytes
	return nil
}

// remove forgets an object and the lists it was in.
func (k *kind[T]) remove(namespace, name string) {
	delete(k.lists, namespace)
	delete(k.lists, "")
	item, known := k.items[namespace][name]
	if !known {
		return
	}
	k.bytes -= item.bytes
	delete(k.items[namespace], name)
	if len(k.items[namespace]) == 0 {
		delete(k.items, namespace)
	}
}

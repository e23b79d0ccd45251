package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// memoryServer is as much of an API server as the controller needs of one, with resource versions, conflicts and counted requests: 5,000 objects
// for ten minutes would take a real one ten minutes. What is true of a real one is tested with a real one.
type memoryServer struct {
	dynamic.Interface

	mu       sync.Mutex
	version  int64
	objects  map[schema.GroupVersionResource]map[string][]byte
	watchers map[schema.GroupVersionResource][]*memoryWatch
	// lastSecret is the VaultSecret that was written last, without a version if it was deleted: what has seen it has seen all before it.
	lastSecret struct{ key, version string }
	reads      atomic.Int64
	writes     atomic.Int64
}

func newMemoryServer() *memoryServer {
	return &memoryServer{version: 100, objects: map[schema.GroupVersionResource]map[string][]byte{}, watchers: map[schema.GroupVersionResource][]*memoryWatch{}}
}

// IsWatchListSemanticsUnSupported keeps informers from asking for watch lists.
func (s *memoryServer) IsWatchListSemanticsUnSupported() bool { return true }

func (s *memoryServer) Resource(resource schema.GroupVersionResource) dynamic.NamespaceableResourceInterface {
	return &memoryResource{server: s, resource: resource}
}

// put creates or replaces an object as its owner would: generation and all.
func (s *memoryServer) put(resource schema.GroupVersionResource, object *unstructured.Unstructured) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := object.GetNamespace() + "/" + object.GetName()
	kind := watch.Added
	if s.objects[resource][key] != nil {
		kind = watch.Modified
	}
	s.store(resource, key, object, kind)
}

// store writes under the lock, and tells watchers.
func (s *memoryServer) store(resource schema.GroupVersionResource, key string, object *unstructured.Unstructured, kind watch.EventType) {
	s.version++
	object.SetResourceVersion(strconv.FormatInt(s.version, 10))
	raw, err := json.Marshal(object.Object)
	if err != nil {
		panic(err)
	}
	if s.objects[resource] == nil {
		s.objects[resource] = map[string][]byte{}
	}
	if kind == watch.Deleted {
		delete(s.objects[resource], key)
	} else {
		s.objects[resource][key] = raw
	}
	if resource == v1alpha1.VaultSecrets {
		s.lastSecret.key, s.lastSecret.version = key, object.GetResourceVersion()
		if kind == watch.Deleted {
			s.lastSecret.version = ""
		}
	}
	for _, w := range s.watchers[resource] {
		w.send(watch.Event{Type: kind, Object: object.DeepCopy()})
	}
}

func (s *memoryServer) get(resource schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error) {
	raw := s.objects[resource][namespace+"/"+name]
	if raw == nil {
		return nil, apierrors.NewNotFound(resource.GroupResource(), name)
	}
	object := &unstructured.Unstructured{}
	return object, json.Unmarshal(raw, &object.Object)
}

type memoryResource struct {
	dynamic.NamespaceableResourceInterface
	server    *memoryServer
	resource  schema.GroupVersionResource
	namespace string
}

func (r *memoryResource) Namespace(namespace string) dynamic.ResourceInterface {
	return &memoryResource{server: r.server, resource: r.resource, namespace: namespace}
}

func (r *memoryResource) Create(_ context.Context, object *unstructured.Unstructured, _ metav1.CreateOptions, _ ...string) (*unstructured.Unstructured, error) {
	s := r.server
	s.writes.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	key := r.namespace + "/" + object.GetName()
	if s.objects[r.resource][key] != nil {
		return nil, apierrors.NewAlreadyExists(r.resource.GroupResource(), object.GetName())
	}
	object = object.DeepCopy()
	object.SetUID(types.UID("uid-" + key))
	s.store(r.resource, key, object, watch.Added)
	return object, nil
}

func (r *memoryResource) Update(_ context.Context, object *unstructured.Unstructured, _ metav1.UpdateOptions, _ ...string) (*unstructured.Unstructured, error) {
	return r.change(object.GetName(), object.GetResourceVersion(), func(*unstructured.Unstructured) *unstructured.Unstructured { return object.DeepCopy() })
}

func (r *memoryResource) UpdateStatus(_ context.Context, object *unstructured.Unstructured, _ metav1.UpdateOptions) (*unstructured.Unstructured, error) {
	return r.change(object.GetName(), object.GetResourceVersion(), func(live *unstructured.Unstructured) *unstructured.Unstructured {
		live.Object["status"] = object.DeepCopy().Object["status"]
		return live
	})
}

// Patch takes what the controller sends: finalizers.
func (r *memoryResource) Patch(_ context.Context, name string, _ types.PatchType, data []byte, _ metav1.PatchOptions, _ ...string) (*unstructured.Unstructured, error) {
	var patch struct {
		Metadata struct {
			ResourceVersion string   `json:"resourceVersion"`
			Finalizers      []string `json:"finalizers"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(data, &patch); err != nil {
		return nil, err
	}
	return r.change(name, patch.Metadata.ResourceVersion, func(live *unstructured.Unstructured) *unstructured.Unstructured {
		live.SetFinalizers(patch.Metadata.Finalizers)
		return live
	})
}

func (r *memoryResource) change(name, version string, by func(*unstructured.Unstructured) *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	s := r.server
	s.writes.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	live, err := s.get(r.resource, r.namespace, name)
	if err != nil {
		return nil, err
	}
	if version != "" && version != live.GetResourceVersion() {
		return nil, apierrors.NewConflict(r.resource.GroupResource(), name, fmt.Errorf("it is at %s", live.GetResourceVersion()))
	}
	changed := by(live)
	kind := watch.Modified
	if changed.GetDeletionTimestamp() != nil && len(changed.GetFinalizers()) == 0 {
		kind = watch.Deleted
	}
	s.store(r.resource, r.namespace+"/"+name, changed, kind)
	return changed, nil
}

func (r *memoryResource) Delete(_ context.Context, name string, _ metav1.DeleteOptions, _ ...string) error {
	s := r.server
	s.writes.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	live, err := s.get(r.resource, r.namespace, name)
	if err != nil {
		return err
	}
	s.store(r.resource, r.namespace+"/"+name, live, watch.Deleted)
	return nil
}

func (r *memoryResource) Get(_ context.Context, name string, _ metav1.GetOptions, _ ...string) (*unstructured.Unstructured, error) {
	s := r.server
	s.reads.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.get(r.resource, r.namespace, name)
}

func (r *memoryResource) List(context.Context, metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	s := r.server
	s.reads.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	list := &unstructured.UnstructuredList{}
	list.SetResourceVersion(strconv.FormatInt(s.version, 10))
	for _, raw := range s.objects[r.resource] {
		object := unstructured.Unstructured{}
		if err := json.Unmarshal(raw, &object.Object); err != nil {
			return nil, err
		}
		list.Items = append(list.Items, object)
	}
	return list, nil
}

func (r *memoryResource) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	s := r.server
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &memoryWatch{events: make(chan watch.Event), more: make(chan struct{}, 1), done: make(chan struct{})}
	go w.deliver()
	s.watchers[r.resource] = append(s.watchers[r.resource], w)
	return w, nil
}

// memoryWatch delivers what was sent, in order, whenever the reader has time.
type memoryWatch struct {
	mu      sync.Mutex
	pending []watch.Event
	events  chan watch.Event
	more    chan struct{}
	done    chan struct{}
	once    sync.Once
}

func (w *memoryWatch) send(event watch.Event) {
	select {
	case <-w.done:
		return
	default:
	}
	w.mu.Lock()
	w.pending = append(w.pending, event)
	w.mu.Unlock()
	select {
	case w.more <- struct{}{}:
	default:
	}
}

func (w *memoryWatch) deliver() {
	defer close(w.events)
	for {
		w.mu.Lock()
		batch := w.pending
		w.pending = nil
		w.mu.Unlock()
		for _, event := range batch {
			select {
			case w.events <- event:
			case <-w.done:
				return
			}
		}
		if len(batch) > 0 {
			continue
		}
		select {
		case <-w.more:
		case <-w.done:
			return
		}
	}
}

func (w *memoryWatch) Stop()                          { w.once.Do(func() { close(w.done) }) }
func (w *memoryWatch) ResultChan() <-chan watch.Event { return w.events }

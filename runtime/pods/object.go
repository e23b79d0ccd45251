package pods

import (
	"container/list"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// fetchTimeout bounds one read of the API server.
const fetchTimeout = 5 * time.Second

var podResource = schema.GroupVersionResource{Version: "v1", Resource: "pods"}

// objects are pods as JSON, those that had events of late.
type objects struct {
	client  dynamic.Interface
	max     int
	flights singleflight.Group

	mu    sync.Mutex
	byUID map[string]*list.Element
	order *list.List // of kept, the latest used first
	bytes int
}

type kept struct {
	uid, version string
	raw          json.RawMessage
}

func newObjects(client dynamic.Interface, most int) *objects {
	return &objects{client: client, max: most, byUID: map[string]*list.Element{}, order: list.New()}
}

// get is the object of a pod, as the watch has it or later; of one that is gone the last that was read, nil for none.
func (o *objects) get(ctx context.Context, r *record) (json.RawMessage, error) {
	if raw, ok := o.known(r); ok {
		return raw, nil
	}
	if !r.deleted.IsZero() {
		return nil, nil
	}
	fetched := o.flights.DoChan(r.pod.UID+"/"+r.version, func() (any, error) {
		// Several events may wait for it; the first to give up must not take it from the others.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		return o.fetch(ctx, r)
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("fetching pod %s/%s: %w", r.pod.Namespace, r.pod.Name, ctx.Err())
	case result := <-fetched:
		raw, _ := result.Val.(json.RawMessage)
		return raw, result.Err
	}
}

// fetch reads a pod. One that has only the name of it is another one, and as good as none.
func (o *objects) fetch(ctx context.Context, r *record) (json.RawMessage, error) {
	object, err := o.client.Resource(podResource).Namespace(r.pod.Namespace).Get(ctx, r.pod.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("fetching pod %s/%s: %w", r.pod.Namespace, r.pod.Name, err)
	case string(object.GetUID()) != r.pod.UID:
		return nil, nil
	}
	object.SetManagedFields(nil)
	raw, err := object.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encoding pod %s/%s: %w", r.pod.Namespace, r.pod.Name, err)
	}
	o.keep(kept{uid: r.pod.UID, version: object.GetResourceVersion(), raw: raw})
	return raw, nil
}

// known is what is kept of a pod, if it is not older than what the watch has. Resource versions are compared for equality only
// (Kubernetes API concepts, "Resource versions"), so that a later one than the watch's is fetched again.
func (o *objects) known(r *record) (json.RawMessage, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	element, ok := o.byUID[r.pod.UID]
	if !ok {
		return nil, false
	}
	one := element.Value.(kept)
	if one.version != r.version && r.deleted.IsZero() {
		return nil, false
	}
	o.order.MoveToFront(element)
	return one.raw, true
}

func (o *objects) keep(one kept) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if element, ok := o.byUID[one.uid]; ok {
		o.remove(element)
	}
	o.byUID[one.uid] = o.order.PushFront(one)
	o.bytes += len(one.raw)
	for o.bytes > o.max && o.order.Len() > 1 {
		o.remove(o.order.Back())
	}
}

func (o *objects) remove(element *list.Element) {
	one := o.order.Remove(element).(kept)
	delete(o.byUID, one.uid)
	o.bytes -= len(one.raw)
}

package evidence

import (
	"context"
	"fmt"
	"slices"
	"sync"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

var (
	pods            = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	namespaces      = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	events          = schema.GroupVersionResource{Version: "v1", Resource: "events"}
	networkPolicies = schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}
)

// Bounds of lists. A pod has some dozen events: those of an hour.
const (
	maxEvents = 500
	maxOwners = 8
	listPage  = 500
)

// objects keeps what the API server knows. All of it is read at once, within the budget, and then kept in order.
func (r *capture) objects(whole context.Context, read func()) {
	ctx, cancel := context.WithTimeout(whole, objectBudget)
	defer cancel()
	pod := r.pod(ctx)
	pieces := []*reading{
		{kind: KindPod, read: func(context.Context, *unstructured.Unstructured) (any, error) {
			if pod == nil {
				return nil, nil // why was said when it was read
			}
			return pod.Object, nil
		}},
		{kind: KindFalco, read: func(context.Context, *unstructured.Unstructured) (any, error) { return r.q.Spec.Triggers, nil }},
		{kind: KindOwner, read: r.owners},
		{kind: KindNamespace, read: r.namespace},
		{kind: KindEvents, read: r.events},
		{kind: KindPolicies, read: r.policies},
	}
	pieces = slices.DeleteFunc(pieces, func(p *reading) bool { return r.has(p.kind, "") })
	var all sync.WaitGroup
	for _, piece := range pieces {
		all.Go(func() { piece.value, piece.err = piece.read(ctx, pod) })
	}
	all.Wait()
	if read != nil {
		read()
	}
	for _, piece := range pieces {
		r.keepObject(whole, piece)
	}
}

// reading is one piece that is being read.
type reading struct {
	kind  string
	read  func(ctx context.Context, pod *unstructured.Unstructured) (any, error)
	value any
	err   error
}

// keepObject keeps what was read of one piece. What was read in time is kept, though the time is over then.
func (r *capture) keepObject(ctx context.Context, piece *reading) {
	switch {
	case piece.err != nil:
		r.problem("reading the piece %s: %w", piece.kind, piece.err)
	case piece.value != nil:
		data, err := r.redactor.Document(piece.value)
		if err != nil {
			r.problem("redacting the piece %s: %w", piece.kind, err)
			return
		}
		r.keep(ctx, captured{kind: piece.kind, data: data})
	}
}

// pod reads the pod, nil where it is gone or another one.
func (r *capture) pod(ctx context.Context) *unstructured.Unstructured {
	at := r.q.Spec.Pod
	pod, err := r.client.Resource(pods).Namespace(at.Namespace).Get(ctx, at.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), err == nil && string(pod.GetUID()) != at.UID:
		r.problem("reading the pod %s/%s with UID %s: it does not exist any more", at.Namespace, at.Name, at.UID)
	case err != nil:
		r.problem("reading the pod %s/%s: %w", at.Namespace, at.Name, err)
	default:
		pod.SetManagedFields(nil)
		return pod
	}
	return nil
}

// ownerReferences are those of the pod, or what is written down of them where it has been let go.
func (r *capture) ownerReferences(pod *unstructured.Unstructured) []metav1.OwnerReference {
	if pod != nil && len(pod.GetOwnerReferences()) > 0 {
		return pod.GetOwnerReferences()
	}
	if was := r.q.Status.Originals; was != nil && len(was.OwnerReferences) > 0 {
		return was.OwnerReferences
	}
	var all []metav1.OwnerReference
	for owner := r.q.Spec.Owner; owner != nil; owner = owner.Direct {
		all = append(all, metav1.OwnerReference{
			APIVersion: schema.GroupVersion{Group: owner.Group, Version: owner.Version}.String(), Kind: owner.Kind, Name: owner.Name, UID: types.UID(owner.UID),
		})
	}
	return all
}

// owners reads what stands above the pod, up to the last. One that may not be read is named with the reason.
func (r *capture) owners(ctx context.Context, pod *unstructured.Unstructured) (any, error) {
	waiting := r.ownerReferences(pod)
	var found []any
	seen := map[string]bool{}
	for len(waiting) > 0 && len(found) < maxOwners {
		reference := waiting[0]
		waiting = waiting[1:]
		key := reference.Kind + "/" + reference.Name
		if seen[key] {
			continue
		}
		seen[key] = true
		version, err := schema.ParseGroupVersion(reference.APIVersion)
		if err != nil {
			continue
		}
		resource, _ := meta.UnsafeGuessKindToResource(version.WithKind(reference.Kind))
		owner, err := r.client.Resource(resource).Namespace(r.q.Spec.Pod.Namespace).Get(ctx, reference.Name, metav1.GetOptions{})
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			found = append(found, map[string]any{"apiVersion": reference.APIVersion, "kind": reference.Kind, "name": reference.Name, "unread": err.Error()})
			continue
		}
		owner.SetManagedFields(nil)
		found = append(found, owner.Object)
		waiting = append(waiting, owner.GetOwnerReferences()...)
	}
	if len(found) == 0 {
		return nil, nil
	}
	return found, nil
}

func (r *capture) namespace(ctx context.Context, _ *unstructured.Unstructured) (any, error) {
	namespace, err := r.client.Resource(namespaces).Get(ctx, r.q.Spec.Pod.Namespace, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	namespace.SetManagedFields(nil)
	return namespace.Object, nil
}

// events reads those about the pod, by its UID.
func (r *capture) events(ctx context.Context, _ *unstructured.Unstructured) (any, error) {
	list, err := r.client.Resource(events).Namespace(r.q.Spec.Pod.Namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("involvedObject.uid", r.q.Spec.Pod.UID).String(), Limit: maxEvents,
	})
	if err != nil {
		return nil, err
	}
	return r.plain(list.Items), nil
}

func (r *capture) plain(items []unstructured.Unstructured) any {
	all := make([]any, 0, len(items))
	for n := range items {
		items[n].SetManagedFields(nil)
		all = append(all, items[n].Object)
	}
	return all
}

// policies reads the NetworkPolicies that select the pod, by the labels that it has and those that it had.
func (r *capture) policies(ctx context.Context, pod *unstructured.Unstructured) (any, error) {
	sets := []labels.Set{}
	if pod != nil {
		sets = append(sets, pod.GetLabels())
	}
	if was := r.q.Status.Originals; was != nil {
		sets = append(sets, was.Labels)
	}
	var found []unstructured.Unstructured
	for page := ""; ; {
		list, err := r.client.Resource(networkPolicies).Namespace(r.q.Spec.Pod.Namespace).List(ctx, metav1.ListOptions{Limit: listPage, Continue: page})
		if err != nil {
			return nil, err
		}
		for _, object := range list.Items {
			var policy networkingv1.NetworkPolicy
			if err := k8sruntime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &policy); err != nil {
				return nil, fmt.Errorf("decoding NetworkPolicy %s: %w", object.GetName(), err)
			}
			selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
			if err != nil {
				return nil, fmt.Errorf("reading the selector of NetworkPolicy %s: %w", object.GetName(), err)
			}
			for _, set := range sets {
				if selector.Matches(set) {
					found = append(found, object)
					break
				}
			}
		}
		if page = list.GetContinue(); page == "" {
			return r.plain(found), nil
		}
	}
}

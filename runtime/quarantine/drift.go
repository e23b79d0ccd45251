package quarantine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/portcullis-dev/portcullis/runtime/containment"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// The resources that are looked at.
var (
	pods            = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	nodes           = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
	networkPolicies = schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}
)

// undone says in words what somebody has undone of an action, "" where it holds.
func (c *Controller) undone(ctx context.Context, q *v1alpha1.Quarantine, a response.Planned) (string, error) {
	switch a.Action {
	case response.Isolate:
		return c.isolateUndone(ctx, q)
	case response.Detach:
		return c.detachUndone(ctx, q)
	case response.Cordon:
		return c.fieldUndone(ctx, nodes, "", q.Spec.Pod.Node, "the node takes pods again", func(o *unstructured.Unstructured) bool {
			cordoned, _, _ := unstructured.NestedBool(o.Object, "spec", "unschedulable")
			return !cordoned
		})
	case response.Suspend:
		return c.ownersUndone(ctx, q, "it is not suspended any more", func(o *unstructured.Unstructured) bool {
			suspended, _, _ := unstructured.NestedBool(o.Object, "spec", "suspend")
			return !suspended
		}, "CronJob", "Job")
	case response.Scale:
		return c.ownersUndone(ctx, q, "it has more replicas again", func(o *unstructured.Unstructured) bool {
			replicas, found, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
			return !found || replicas > int64(a.Parameters.Replicas)
		}, "Deployment", "ReplicaSet", "StatefulSet", "ReplicationController")
	case response.Condemn:
		return c.condemnUndone(ctx, q)
	default:
		return "", nil
	}
}

// pod reads the pod of a quarantine, nil where it is gone. Another one of its name is another pod.
func (c *Controller) pod(ctx context.Context, q *v1alpha1.Quarantine) (*unstructured.Unstructured, error) {
	found, err := c.dynamic.Resource(pods).Namespace(q.Spec.Pod.Namespace).Get(ctx, q.Spec.Pod.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && string(found.GetUID()) != q.Spec.Pod.UID {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the pod: %w", err)
	}
	return found, nil
}

func (c *Controller) isolateUndone(ctx context.Context, q *v1alpha1.Quarantine) (string, error) {
	pod, err := c.pod(ctx, q)
	if err != nil {
		return "", err
	}
	if pod == nil {
		return "", containment.ErrGone
	}
	if got := pod.GetLabels()[v1alpha1.QuarantineLabel]; got != q.Name {
		return "the label of the quarantine was taken from the pod", nil
	}
	if back := c.labelsBack(q, pod); back != "" && isolationDetaches(q) {
		return back, nil
	}
	list, err := c.dynamic.Resource(networkPolicies).Namespace(q.Spec.Pod.Namespace).List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.QuarantineLabel + "=" + q.Name})
	if err != nil {
		return "", fmt.Errorf("listing the NetworkPolicies of the quarantine: %w", err)
	}
	if !slices.ContainsFunc(list.Items, func(o unstructured.Unstructured) bool { return isolates(&o, q.Name) }) {
		return "the NetworkPolicy of the quarantine was deleted or changed", nil
	}
	return "", nil
}

// isolates says that a NetworkPolicy selects the pods of a quarantine and allows nothing.
func isolates(o *unstructured.Unstructured, quarantine string) bool {
	selected, _, _ := unstructured.NestedStringMap(o.Object, "spec", "podSelector", "matchLabels")
	expressions, _, _ := unstructured.NestedSlice(o.Object, "spec", "podSelector", "matchExpressions")
	ingress, _, _ := unstructured.NestedSlice(o.Object, "spec", "ingress")
	egress, _, _ := unstructured.NestedSlice(o.Object, "spec", "egress")
	types, _, _ := unstructured.NestedStringSlice(o.Object, "spec", "policyTypes")
	return len(selected) == 1 && selected[v1alpha1.QuarantineLabel] == quarantine && len(expressions)+len(ingress)+len(egress) == 0 && len(types) == 2
}

// detachUndone looks for labels that were taken off: with them Services find the pod again, and its controller does.
func (c *Controller) detachUndone(ctx context.Context, q *v1alpha1.Quarantine) (string, error) {
	pod, err := c.pod(ctx, q)
	if err != nil {
		return "", err
	}
	if pod == nil {
		return "", containment.ErrGone
	}
	return c.labelsBack(q, pod), nil
}

func (c *Controller) labelsBack(q *v1alpha1.Quarantine, pod *unstructured.Unstructured) string {
	if q.Status.Originals == nil {
		return ""
	}
	set, _ := planned(q, response.Label)
	var back []string
	for _, key := range slices.Sorted(maps.Keys(pod.GetLabels())) {
		if _, was := q.Status.Originals.Labels[key]; was && key != v1alpha1.QuarantineLabel && set.Parameters.Labels[key] == "" {
			back = append(back, key)
		}
	}
	if len(back) == 0 {
		return ""
	}
	return "the pod has labels again that were taken off: " + strings.Join(back, ", ")
}

// fieldUndone looks at one object. One that is not there counts as undone, except for a node, which takes no pods then.
func (c *Controller) fieldUndone(ctx context.Context, resource schema.GroupVersionResource, namespace, name, what string, undone func(*unstructured.Unstructured) bool) (string, error) {
	object, err := c.dynamic.Resource(resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		if resource == nodes {
			return "", nil
		}
		return what, nil
	case err != nil:
		return "", fmt.Errorf("reading the %s %s: %w", resource.Resource, name, err)
	case undone(object):
		return what, nil
	}
	return "", nil
}

// ownersUndone looks at the owner of the pod, if it is of a kind that the action is about. An owner that is gone, or another one of its name, does nothing any more.
func (c *Controller) ownersUndone(ctx context.Context, q *v1alpha1.Quarantine, what string, undone func(*unstructured.Unstructured) bool, kinds ...string) (string, error) {
	owner := q.Spec.Owner
	if owner == nil || !slices.Contains(kinds, owner.Kind) || owner.Version == "" {
		return "", nil
	}
	resource := schema.GroupVersionResource{Group: owner.Group, Version: owner.Version, Resource: strings.ToLower(owner.Kind) + "s"}
	object, err := c.dynamic.Resource(resource).Namespace(q.Spec.Pod.Namespace).Get(ctx, owner.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("reading the owner %s %s: %w", owner.Kind, owner.Name, err)
	case owner.UID != "" && string(object.GetUID()) != owner.UID, !undone(object):
		return "", nil
	}
	return fmt.Sprintf("%s %s: %s", owner.Kind, owner.Name, what), nil
}

func (c *Controller) condemnUndone(ctx context.Context, q *v1alpha1.Quarantine) (string, error) {
	for _, name := range q.Status.Incidents {
		_, err := c.dynamic.Resource(v1alpha1.Incidents).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			if !c.o.Now().Before(q.Status.Admitted.Add(q.Spec.IncidentTTL.Duration)) {
				continue // it has expired
			}
			return "the Incident " + name + " was deleted", nil
		}
		if err != nil {
			return "", fmt.Errorf("reading the Incident %s: %w", name, err)
		}
	}
	return "", nil
}

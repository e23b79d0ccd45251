package containment

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// Bounds of what is read for one proof. Policies over theirs are an error: one that was not read could allow anything. Pods over theirs are
// left out but for those of the namespace: a proof assumes pods that it does not see.
const (
	pageSize    = 500
	maxPolicies = 20000
	maxPods     = 20000
)

// View is what a proof about a pod of a namespace sees: all policies that could be about it, all namespaces, and pods as possible peers, those of the
// namespace first.
func (c *Cluster) View(ctx context.Context, namespace string) (*isolation.Cluster, error) {
	view, err := c.rules(ctx, namespace)
	if err != nil {
		return nil, err
	}
	return view, c.peers(ctx, view, namespace)
}

// rules are a view without pods.
func (c *Cluster) rules(ctx context.Context, namespace string) (*isolation.Cluster, error) {
	found, err := c.look(ctx)
	if err != nil {
		return nil, err
	}
	resources, err := found.policies()
	if err != nil {
		return nil, err
	}
	view := &isolation.Cluster{CNI: c.provider(ctx)}
	for _, resource := range resources {
		if err := c.each(ctx, resource, concerned(resource, namespace), func(object *unstructured.Unstructured) error {
			if len(view.Policies) >= maxPolicies {
				return fmt.Errorf("there are more than %d policies: too many to prove anything", maxPolicies)
			}
			raw, err := raw(object)
			view.Policies = append(view.Policies, raw)
			return err
		}); err != nil {
			return nil, err
		}
	}
	if err := c.each(ctx, namespaces, "", func(object *unstructured.Unstructured) error {
		raw, err := raw(object)
		if err != nil {
			return err
		}
		one, err := isolation.NamespaceOf(raw)
		view.Namespaces = append(view.Namespaces, one)
		return err
	}); err != nil {
		return nil, err
	}
	return view, nil
}

// concerned is the namespace to which a list of policies is narrowed, "" for all: policies of other namespaces are not about the pod. Those that say what is
// reachable from afar are cluster-scoped.
func concerned(resource schema.GroupVersionResource, namespace string) string {
	switch resource.Resource {
	case "networkpolicies", "ciliumnetworkpolicies":
		return namespace
	}
	return ""
}

// errEnough ends a list early.
var errEnough = fmt.Errorf("enough")

// peers lists pods.
func (c *Cluster) peers(ctx context.Context, view *isolation.Cluster, namespace string) error {
	add := func(object *unstructured.Unstructured) error {
		raw, err := raw(object)
		if err != nil {
			return err
		}
		pod, err := isolation.PodOf(raw)
		view.Pods = append(view.Pods, pod)
		return err
	}
	if namespace != "" {
		if err := c.each(ctx, pods, namespace, add); err != nil {
			return err
		}
	}
	err := c.each(ctx, pods, "", func(object *unstructured.Unstructured) error {
		switch {
		case object.GetNamespace() == namespace:
			return nil
		case len(view.Pods) >= maxPods:
			return errEnough
		}
		return add(object)
	})
	if err == errEnough {
		return nil
	}
	return err
}

// each lists objects page by page. A resource that is served no more has none.
func (c *Cluster) each(ctx context.Context, resource schema.GroupVersionResource, namespace string, of func(*unstructured.Unstructured) error) error {
	for page := ""; ; {
		list, err := c.client.Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{Limit: pageSize, Continue: page})
		if apierrors.IsNotFound(err) && page == "" {
			_, _ = c.lookAgain(ctx)
			return nil
		}
		if err != nil {
			return fmt.Errorf("listing %s of %s: %w", resource.Resource, resource.GroupVersion(), err)
		}
		for n := range list.Items {
			if err := of(&list.Items[n]); err != nil {
				return err
			}
		}
		if page = list.GetContinue(); page == "" {
			return nil
		}
	}
}

func raw(object *unstructured.Unstructured) (json.RawMessage, error) {
	written, err := json.Marshal(object.Object)
	if err != nil {
		return nil, fmt.Errorf("encoding %s %s: %w", object.GetKind(), place(object.GetNamespace(), object.GetName()), err)
	}
	return written, nil
}

// Prove says what traffic to and from the pod of a quarantine remains possible, as the cluster is now. A pod that is gone is [ErrGone].
//
// The verdict follows from policies and namespaces, since a proof assumes any pod that there could be. Pods are only listed, which is much in a large
// cluster, where something remains possible: so that the peers of today are named.
func (c *Cluster) Prove(ctx context.Context, q *v1alpha1.Quarantine) (isolation.Report, error) {
	report, err := c.prove(ctx, q)
	if err != nil {
		return isolation.Report{}, fmt.Errorf("proving what remains possible: %w", err)
	}
	return report, nil
}

func (c *Cluster) prove(ctx context.Context, q *v1alpha1.Quarantine) (isolation.Report, error) {
	at := q.Spec.Pod
	view, err := c.rules(ctx, at.Namespace)
	if err != nil {
		return isolation.Report{}, err
	}
	// Read last: what is proved is of the pod as it is now, not as it was in a list.
	subject, err := c.subject(ctx, q)
	if err != nil {
		return isolation.Report{}, err
	}
	view.Pods = []isolation.Pod{subject}
	report, err := isolation.Evaluate(view, subject)
	if err != nil || len(report.Residual) == 0 {
		return report, err
	}
	view.Pods = nil
	if err := c.peers(ctx, view, at.Namespace); err != nil {
		return isolation.Report{}, err
	}
	return isolation.Evaluate(view, subject)
}

// subject is the pod of a quarantine, as a proof sees it.
func (c *Cluster) subject(ctx context.Context, q *v1alpha1.Quarantine) (isolation.Pod, error) {
	object, err := c.get(ctx, pods, q.Spec.Pod.Namespace, q.Spec.Pod.Name, q.Spec.Pod.UID)
	if err != nil {
		return isolation.Pod{}, err
	}
	written, err := raw(object)
	if err != nil {
		return isolation.Pod{}, err
	}
	return isolation.PodOf(written)
}

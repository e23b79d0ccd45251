package containment

import (
	"context"
	"fmt"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// evict ends the pod as its disruption budgets allow: they count a pod as long as they select it, so one that is detached goes at once.
type evict struct{ irreversible }

func (evict) prepare(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Preparation, error) {
	return prepareEnd(ctx, c, q, a)
}

// prepareEnd is of the actions that end the pod.
func prepareEnd(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Preparation, error) {
	pod, err := c.pod(ctx, q)
	if err != nil {
		return Preparation{}, err
	}
	if pod.Annotations[configMirror] != "" {
		return Preparation{Skip: beyondPolicies(pod)}, nil
	}
	if grace := a.Parameters.GracePeriodSeconds; grace != nil && *grace < 1 {
		return Preparation{Skip: "a pod that is killed at once leaves no evidence: gracePeriodSeconds must be at least 1"}, nil
	}
	return Preparation{Precondition: fmt.Sprintf("pod %s/%s has UID %s", pod.Namespace, pod.Name, pod.UID)}, nil
}

// deleteOptions are those that end one pod and no other one of its name, as gently as it asks for itself or the policy says.
func deleteOptions(q *v1alpha1.Quarantine, a response.Planned) metav1.DeleteOptions {
	options := metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(q.Spec.Pod.UID)}
	if grace := a.Parameters.GracePeriodSeconds; grace != nil {
		seconds := max(1, *grace)
		options.GracePeriodSeconds = &seconds
	}
	return options
}

func (evict) do(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Outcome, error) {
	if ended, err := c.ending(ctx, q); err != nil || ended != "" {
		return Outcome{Result: ended}, err
	}
	options := deleteOptions(q, a)
	object, err := k8sruntime.DefaultUnstructuredConverter.ToUnstructured(&policyv1.Eviction{
		TypeMeta:      metav1.TypeMeta{APIVersion: "policy/v1", Kind: "Eviction"},
		ObjectMeta:    metav1.ObjectMeta{Namespace: q.Spec.Pod.Namespace, Name: q.Spec.Pod.Name},
		DeleteOptions: &options,
	})
	if err != nil {
		return Outcome{}, fmt.Errorf("encoding the eviction: %w", err)
	}
	_, err = c.client.Resource(pods).Namespace(q.Spec.Pod.Namespace).Create(ctx, &unstructured.Unstructured{Object: object}, metav1.CreateOptions{}, "eviction")
	switch {
	case err == nil:
		return Outcome{Result: "the pod is evicted"}, nil
	case apierrors.IsTooManyRequests(err):
		return Outcome{}, fmt.Errorf("%w: %w", ErrBudget, err)
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		if _, again := c.pod(ctx, q); gone(again) {
			return Outcome{Result: "the pod is gone"}, nil
		}
	}
	return Outcome{}, fmt.Errorf("evicting pod %s: %w", place(q.Spec.Pod.Namespace, q.Spec.Pod.Name), err)
}

// ending says whether the pod is gone or on its way, "" where it is neither.
func (c *Cluster) ending(ctx context.Context, q *v1alpha1.Quarantine) (string, error) {
	pod, err := c.pod(ctx, q)
	switch {
	case gone(err):
		return "the pod is gone", nil
	case err != nil:
		return "", err
	case pod.DeletionTimestamp != nil:
		return "the pod is ending already", nil
	}
	return "", nil
}

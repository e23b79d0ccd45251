package containment

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// detach takes the pod from its Services and its controller, which makes another one: its labels are taken off.
type detach struct{}

func (detach) prepare(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Preparation, error) {
	pod, err := c.pod(ctx, q)
	if err != nil {
		return Preparation{}, err
	}
	if pod.Annotations[configMirror] != "" {
		return Preparation{Skip: beyondPolicies(pod)}, nil
	}
	if ok, why := response.Detachable(controllerOf(pod), q.Spec.Settings); !ok {
		return Preparation{Skip: why}, nil
	}
	return Preparation{
		Precondition: precondition(pod),
		Originals:    v1alpha1.Originals{Labels: labelsBefore(q, pod), OwnerReferences: ownersBefore(q, pod)},
	}, nil
}

func (detach) do(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Outcome, error) {
	var text string
	_, err := c.changePod(ctx, q, func(pod *corev1.Pod) ([]operation, error) {
		var labels map[string]string
		labels, text = labelsAfter(q, pod, a)
		return setMap("labels", pod.Labels, labels), nil
	})
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Result: text}, nil
}

func (detach) undo(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Outcome, error) {
	result, err := c.letGo(ctx, q, false)
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Result: result}, nil
}

// letGo ends what was done to a pod's labels. A pod whose controller has replaced it is deleted, and is waited for; one without a controller, or
// that its controller still has, gets its labels back. The label of the quarantine goes only where the policy of it goes next.
func (c *Cluster) letGo(ctx context.Context, q *v1alpha1.Quarantine, unlabel bool) (string, error) {
	pod, err := c.pod(ctx, q)
	if gone(err) {
		return "the pod is gone", nil
	}
	if err != nil {
		return "", err
	}
	if replaced(q, pod) {
		if err := c.deleteReplaced(ctx, q, pod); err != nil {
			return "", err
		}
		return "the pod, which was replaced, is deleted", nil
	}
	_, err = c.changePod(ctx, q, func(pod *corev1.Pod) ([]operation, error) {
		labels := map[string]string{}
		if detaches(q) {
			maps.Copy(labels, originals(q).Labels)
		}
		for key, value := range pod.Labels { // what was set meanwhile, or was never taken off, stays
			if key != v1alpha1.QuarantineLabel {
				labels[key] = value
			}
		}
		if mark, ok := pod.Labels[v1alpha1.QuarantineLabel]; ok && (!unlabel || mark != q.Name) {
			labels[v1alpha1.QuarantineLabel] = mark
		}
		return setMap("labels", pod.Labels, labels), nil
	})
	if gone(err) {
		return "the pod is gone", nil
	}
	if err != nil {
		return "", err
	}
	return "the pod has its labels back", nil
}

// replaced says whether the controller that a pod had has let it go because its labels were taken off, and so has made another one.
func replaced(q *v1alpha1.Quarantine, pod *corev1.Pod) bool {
	if metav1.GetControllerOf(pod) != nil || !stripped(q, pod) {
		return false
	}
	for _, owner := range originals(q).OwnerReferences {
		if owner.Controller != nil && *owner.Controller {
			return true
		}
	}
	return false
}

// stripped says whether a pod lacks labels that it had.
func stripped(q *v1alpha1.Quarantine, pod *corev1.Pod) bool {
	for key, value := range originals(q).Labels {
		if pod.Labels[key] != value {
			return true
		}
	}
	return false
}

// deleteReplaced deletes a pod that has been replaced. It is [ErrWaiting] until the pod is gone: until then its policy must stay.
func (c *Cluster) deleteReplaced(ctx context.Context, q *v1alpha1.Quarantine, pod *corev1.Pod) error {
	if pod.DeletionTimestamp == nil {
		err := c.client.Resource(pods).Namespace(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(q.Spec.Pod.UID)})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("deleting pod %s, which was replaced: %w", place(pod.Namespace, pod.Name), err)
		}
	}
	if _, err := c.pod(ctx, q); !gone(err) {
		return fmt.Errorf("%w until pod %s, which was replaced and is deleted, has ended; if its node is gone delete it with --force", ErrWaiting, place(pod.Namespace, pod.Name))
	}
	return nil
}

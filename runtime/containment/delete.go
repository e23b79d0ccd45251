package containment

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// deletion ends the pod whatever budgets say, with the time that it asks for to end, and never another one of its name.
type deletion struct{ irreversible }

func (deletion) prepare(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Preparation, error) {
	return prepareEnd(ctx, c, q, a)
}

func (deletion) do(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Outcome, error) {
	if ended, err := c.ending(ctx, q); err != nil || ended != "" {
		return Outcome{Result: ended}, err
	}
	err := c.client.Resource(pods).Namespace(q.Spec.Pod.Namespace).Delete(ctx, q.Spec.Pod.Name, deleteOptions(q, a))
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		if _, again := c.pod(ctx, q); gone(again) {
			return Outcome{Result: "the pod is gone"}, nil
		}
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("deleting pod %s: %w", place(q.Spec.Pod.Namespace, q.Spec.Pod.Name), err)
	}
	return Outcome{Result: "the pod is deleted"}, nil
}

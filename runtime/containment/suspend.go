package containment

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// suspend keeps a CronJob from starting Jobs, or a Job from running pods. A Job that is suspended deletes its active pods, so the pod
// of the quarantine must be none of them any more.
type suspend struct{}

// suspendable is the owner that is suspended: the CronJob, else the Job.
func suspendable(q *v1alpha1.Quarantine) (*v1alpha1.OwnerReference, schema.GroupVersionResource) {
	for _, kind := range []struct{ kind, resource string }{{"CronJob", "cronjobs"}, {"Job", "jobs"}} {
		for owner := q.Spec.Owner; owner != nil; owner = owner.Direct {
			if owner.Group == "batch" && owner.Kind == kind.kind {
				return owner, schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: kind.resource}
			}
		}
	}
	return nil, schema.GroupVersionResource{}
}

func (suspend) prepare(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, _ response.Planned) (Preparation, error) {
	owner, resource := suspendable(q)
	if owner == nil {
		return Preparation{Skip: "neither a Job nor a CronJob stands above the pod"}, nil
	}
	object, err := c.get(ctx, resource, q.Spec.Pod.Namespace, owner.Name, owner.UID)
	if gone(err) {
		return Preparation{Skip: fmt.Sprintf("%s %s does not exist any more", owner.Kind, owner.Name)}, nil
	}
	if err != nil {
		return Preparation{}, err
	}
	suspended, _, _ := unstructured.NestedBool(object.Object, "spec", "suspend")
	return Preparation{
		Precondition: fmt.Sprintf("%s %s has UID %s and resourceVersion as read (%s); the pod is not one of a Job to be suspended", owner.Kind, owner.Name, object.GetUID(), object.GetResourceVersion()),
		Originals:    v1alpha1.Originals{Suspended: &suspended},
	}, nil
}

func (suspend) do(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, _ response.Planned) (Outcome, error) {
	owner, resource := suspendable(q)
	if owner == nil {
		return Outcome{Result: "neither a Job nor a CronJob stands above the pod"}, nil
	}
	if owner.Kind == "Job" {
		if err := c.released(ctx, q); err != nil {
			return Outcome{}, err
		}
	}
	changed, err := c.change(ctx, resource, q.Spec.Pod.Namespace, owner.Name, owner.UID, func(object *unstructured.Unstructured) ([]operation, error) {
		if suspended, _, _ := unstructured.NestedBool(object.Object, "spec", "suspend"); suspended {
			return nil, nil
		}
		return []operation{{Op: "add", Path: "/spec/suspend", Value: true}}, nil
	})
	switch {
	case gone(err):
		return Outcome{Result: fmt.Sprintf("%s %s does not exist any more", owner.Kind, owner.Name)}, nil
	case err != nil:
		return Outcome{}, err
	case !changed:
		return Outcome{Result: fmt.Sprintf("%s %s is suspended already", owner.Kind, owner.Name)}, nil
	case owner.Kind == "CronJob":
		return Outcome{Result: fmt.Sprintf("CronJob %s starts no more Jobs; what runs is not touched", owner.Name)}, nil
	}
	return Outcome{Result: fmt.Sprintf("Job %s is suspended: its other active pods are deleted", owner.Name)}, nil
}

// released is [ErrWaiting] while a controller still has the pod that is to be detached from it.
func (c *Cluster) released(ctx context.Context, q *v1alpha1.Quarantine) error {
	pod, err := c.pod(ctx, q)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if controller := controllerOf(pod); controller != nil {
		return fmt.Errorf("%w until %s %s has let the pod go, which it would delete", ErrWaiting, controller.Kind, controller.Name)
	}
	return nil
}

// undo lets it run again, unless it was suspended before.
func (suspend) undo(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, _ response.Planned) (Outcome, error) {
	owner, resource := suspendable(q)
	if owner == nil {
		return Outcome{Result: "neither a Job nor a CronJob stands above the pod"}, nil
	}
	if before := originals(q).Suspended; before == nil || *before {
		return Outcome{Result: fmt.Sprintf("%s %s stays as it was", owner.Kind, owner.Name)}, nil
	}
	_, err := c.change(ctx, resource, q.Spec.Pod.Namespace, owner.Name, owner.UID, func(object *unstructured.Unstructured) ([]operation, error) {
		if suspended, _, _ := unstructured.NestedBool(object.Object, "spec", "suspend"); !suspended {
			return nil, nil
		}
		return []operation{{Op: "replace", Path: "/spec/suspend", Value: false}}, nil
	})
	if gone(err) {
		return Outcome{Result: fmt.Sprintf("%s %s does not exist any more", owner.Kind, owner.Name)}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Result: fmt.Sprintf("%s %s runs again", owner.Kind, owner.Name)}, nil
}

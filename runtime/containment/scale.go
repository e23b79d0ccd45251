package containment

import (
	"context"
	"errors"
	"fmt"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// scale takes the controller of the pod down to fewer replicas. One that has as few already stays.
type scale struct{}

func (scale) prepare(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Preparation, error) {
	owner := q.Spec.Owner
	if owner == nil {
		return Preparation{Skip: "no controller stands above the pod"}, nil
	}
	object, _, err := c.scaleOf(ctx, q)
	if gone(err) {
		return Preparation{Skip: fmt.Sprintf("%s %s does not exist any more", owner.Kind, owner.Name)}, nil
	}
	if err != nil {
		return Preparation{}, err
	}
	replicas := replicasOf(object)
	if int64(replicas) <= int64(a.Parameters.Replicas) && originals(q).Replicas == nil {
		return Preparation{Skip: fmt.Sprintf("%s %s has %d replicas, not more than %d", owner.Kind, owner.Name, replicas, a.Parameters.Replicas)}, nil
	}
	return Preparation{
		Precondition: fmt.Sprintf("the scale of %s %s has UID %s and resourceVersion as read (%s)", owner.Kind, owner.Name, object.GetUID(), object.GetResourceVersion()),
		Originals:    v1alpha1.Originals{Replicas: &replicas},
	}, nil
}

// scaleOf reads the scale of the owner: any kind has one that has the subresource.
func (c *Cluster) scaleOf(ctx context.Context, q *v1alpha1.Quarantine) (*unstructured.Unstructured, func(*unstructured.Unstructured) error, error) {
	owner := q.Spec.Owner
	resource, err := c.resourceOf(owner.Group, owner.Version, owner.Kind)
	if err != nil {
		return nil, nil, err
	}
	client := c.client.Resource(resource).Namespace(q.Spec.Pod.Namespace)
	object, err := client.Get(ctx, owner.Name, metav1.GetOptions{}, "scale")
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil, fmt.Errorf("reading the scale of %s %s: %w", owner.Kind, owner.Name, ErrGone)
	case err != nil:
		return nil, nil, fmt.Errorf("reading the scale of %s %s: %w", owner.Kind, owner.Name, err)
	case owner.UID != "" && string(object.GetUID()) != owner.UID:
		return nil, nil, fmt.Errorf("reading the scale of %s %s: it is another one of the name: %w", owner.Kind, owner.Name, ErrGone)
	}
	update := func(object *unstructured.Unstructured) error {
		_, err := client.Update(ctx, object, metav1.UpdateOptions{FieldManager: actor}, "scale")
		return err
	}
	return object, update, nil
}

func replicasOf(object *unstructured.Unstructured) int32 {
	replicas, _, _ := unstructured.NestedInt64(object.Object, "spec", "replicas")
	return int32(replicas)
}

// setReplicas changes the number, by what it is now. The update fails, and is made anew, if somebody else was faster.
func (c *Cluster) setReplicas(ctx context.Context, q *v1alpha1.Quarantine, want func(is int32) int32) (was, set int32, err error) {
	for range attempts {
		object, update, failed := c.scaleOf(ctx, q)
		if failed != nil {
			return 0, 0, failed
		}
		was = replicasOf(object)
		if set = want(was); set == was {
			return was, set, nil
		}
		if failed := unstructured.SetNestedField(object.Object, int64(set), "spec", "replicas"); failed != nil {
			return 0, 0, failed
		}
		if err = update(object); !apierrors.IsConflict(err) {
			break
		}
	}
	if err != nil {
		return 0, 0, fmt.Errorf("scaling %s %s: %w", q.Spec.Owner.Kind, q.Spec.Owner.Name, err)
	}
	return was, set, nil
}

func (scale) do(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Outcome, error) {
	owner := q.Spec.Owner
	if owner == nil {
		return Outcome{}, errors.New("no controller stands above the pod")
	}
	if detaches(q) {
		if err := c.released(ctx, q); err != nil {
			return Outcome{}, err
		}
	}
	was, set, err := c.setReplicas(ctx, q, func(is int32) int32 { return min(is, a.Parameters.Replicas) })
	if gone(err) {
		return Outcome{Result: fmt.Sprintf("%s %s does not exist any more", owner.Kind, owner.Name)}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	result := fmt.Sprintf("%s %s is scaled from %d to %d", owner.Kind, owner.Name, was, set)
	if was == set {
		result = fmt.Sprintf("%s %s has %d replicas", owner.Kind, owner.Name, set)
	}
	for _, who := range c.revertedBy(ctx, q, set) {
		result += "; " + who
	}
	return Outcome{Result: result}, nil
}

// detaches says whether the plan takes the pod from its controller before.
func detaches(q *v1alpha1.Quarantine) bool {
	for _, a := range q.Spec.Actions {
		if a.Mode != response.ModeAudit && (a.Action == response.Detach || a.Action == response.Isolate && a.Parameters.Detach != nil && *a.Parameters.Detach) {
			return true
		}
	}
	return false
}

// revertedBy says who may set the number of replicas again: what is known of autoscalers and of what applies manifests from Git.
func (c *Cluster) revertedBy(ctx context.Context, q *v1alpha1.Quarantine, replicas int32) []string {
	owner := q.Spec.Owner
	var who []string
	list, err := c.client.Resource(autoscalers).Namespace(q.Spec.Pod.Namespace).List(ctx, metav1.ListOptions{Limit: 500})
	if err != nil {
		who = append(who, "whether an autoscaler has it could not be found out: "+err.Error())
		list = &unstructured.UnstructuredList{}
	}
	for _, object := range list.Items {
		var autoscaler autoscalingv2.HorizontalPodAutoscaler
		if k8sruntime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &autoscaler) != nil {
			continue
		}
		target := autoscaler.Spec.ScaleTargetRef
		if target.Kind != owner.Kind || target.Name != owner.Name || !strings.HasPrefix(target.APIVersion, owner.Group) {
			continue
		}
		switch keda := autoscaler.Labels["scaledobject.keda.sh/name"]; {
		case keda != "":
			who = append(who, fmt.Sprintf("KEDA's ScaledObject %s will scale it again: pause it (annotation autoscaling.keda.sh/paused)", keda))
		case replicas > 0: // it leaves alone what has no replicas
			who = append(who, fmt.Sprintf("HorizontalPodAutoscaler %s will scale it again: change it, too", autoscaler.Name))
		}
	}
	resource, err := c.resourceOf(owner.Group, owner.Version, owner.Kind)
	if err != nil {
		return who
	}
	if object, err := c.get(ctx, resource, q.Spec.Pod.Namespace, owner.Name, owner.UID); err == nil {
		if by := appliedBy(object); by != "" {
			who = append(who, by+" applies it and may set it back: change its source, too")
		}
	}
	return who
}

// appliedBy is who applies an object from elsewhere, by the marks that they leave, "" where there are none.
func appliedBy(object *unstructured.Unstructured) string {
	labels, annotations := object.GetLabels(), object.GetAnnotations()
	switch {
	case annotations["argocd.argoproj.io/tracking-id"] != "" || labels["argocd.argoproj.io/instance"] != "":
		return "Argo CD"
	case labels["kustomize.toolkit.fluxcd.io/name"] != "" || labels["helm.toolkit.fluxcd.io/name"] != "":
		return "Flux"
	}
	return ""
}

// undo puts the number back, unless somebody has changed it meanwhile.
func (scale) undo(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Outcome, error) {
	owner, before := q.Spec.Owner, originals(q).Replicas
	if owner == nil || before == nil {
		return Outcome{Result: "nothing was scaled"}, nil
	}
	was, set, err := c.setReplicas(ctx, q, func(is int32) int32 {
		if is == a.Parameters.Replicas {
			return max(is, *before)
		}
		return is
	})
	switch {
	case gone(err):
		return Outcome{Result: fmt.Sprintf("%s %s does not exist any more", owner.Kind, owner.Name)}, nil
	case err != nil:
		return Outcome{}, err
	case was == set && set != *before:
		return Outcome{Result: fmt.Sprintf("%s %s has %d replicas, which somebody else has set, and keeps them", owner.Kind, owner.Name, set)}, nil
	}
	return Outcome{Result: fmt.Sprintf("%s %s has %d replicas again", owner.Kind, owner.Name, set)}, nil
}

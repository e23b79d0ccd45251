package containment

import (
	"context"
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// label sets labels that the pod has not. One that it has is left as it is: changing it could take the pod from its Services or its
// controller, which is for detach to do.
type label struct{}

func (label) prepare(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Preparation, error) {
	pod, err := c.pod(ctx, q)
	if err != nil {
		return Preparation{}, err
	}
	return Preparation{Precondition: precondition(pod), Originals: v1alpha1.Originals{Labels: labelsBefore(q, pod)}}, nil
}

// labelsBefore are the labels of a pod before anything was done about it: those that are written down, and otherwise those that it has. It
// is never nil.
func labelsBefore(q *v1alpha1.Quarantine, pod *corev1.Pod) map[string]string {
	before := map[string]string{}
	if was := originals(q).Labels; was != nil {
		maps.Copy(before, was)
		return before
	}
	maps.Copy(before, pod.Labels)
	delete(before, v1alpha1.QuarantineLabel)
	for key, value := range labelled(q) {
		if before[key] == value && labelStepBegan(q) {
			delete(before, key)
		}
	}
	return before
}

// labelStepBegan says whether labels of the plan may have been set already.
func labelStepBegan(q *v1alpha1.Quarantine) bool {
	for _, step := range q.Status.Steps {
		if step.Name == string(response.Label) && step.Attempts > 0 {
			return true
		}
	}
	return false
}

// labelled are the labels that the plan sets.
func labelled(q *v1alpha1.Quarantine) map[string]string {
	for _, a := range q.Spec.Actions {
		if a.Action == response.Label && a.Mode != response.ModeAudit {
			return a.Parameters.Labels
		}
	}
	return nil
}

func (label) do(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Outcome, error) {
	var kept []string
	_, err := c.changePod(ctx, q, func(pod *corev1.Pod) ([]operation, error) {
		kept = nil
		all := maps.Clone(pod.Labels)
		if all == nil {
			all = map[string]string{}
		}
		was := originals(q).Labels
		for _, key := range sortedKeys(a.Parameters.Labels) {
			have, ok := pod.Labels[key]
			if _, before := was[key]; before || ok && have != a.Parameters.Labels[key] {
				kept = append(kept, key)
				continue
			}
			all[key] = a.Parameters.Labels[key]
		}
		return setMap("labels", pod.Labels, all), nil
	})
	if err != nil {
		return Outcome{}, err
	}
	result := "labels are set: " + strings.Join(sortedKeys(a.Parameters.Labels), ", ")
	if len(kept) > 0 {
		result += fmt.Sprintf("; left as they were, since the pod had them: %s", strings.Join(kept, ", "))
	}
	return Outcome{Result: result}, nil
}

func (label) undo(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Outcome, error) {
	_, err := c.changePod(ctx, q, func(pod *corev1.Pod) ([]operation, error) {
		set := maps.Clone(a.Parameters.Labels)
		maps.DeleteFunc(set, func(key, _ string) bool { _, before := originals(q).Labels[key]; return before })
		return setMap("labels", pod.Labels, restored(pod.Labels, set, nil)), nil
	})
	if gone(err) {
		return Outcome{Result: "the pod is gone"}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Result: "labels of the plan are taken off"}, nil
}

package containment

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// cordon keeps further pods from the node, and on demand drives off those that are there by a taint. A node that somebody else has
// cordoned stays theirs.
type cordon struct{}

// taintKey is of the taint that drives pods off.
const taintKey = v1alpha1.QuarantineLabel

func (cordon) prepare(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, _ response.Planned) (Preparation, error) {
	if q.Spec.Pod.Node == "" {
		return Preparation{Skip: "the pod was on no node"}, nil
	}
	object, err := c.get(ctx, nodes, "", q.Spec.Pod.Node, "")
	if gone(err) {
		return Preparation{Skip: fmt.Sprintf("node %s does not exist any more", q.Spec.Pod.Node)}, nil
	}
	if err != nil {
		return Preparation{}, err
	}
	node, err := nodeOf(object)
	if err != nil {
		return Preparation{}, err
	}
	before := node.Spec.Unschedulable && node.Annotations[v1alpha1.CordonedAnnotation] == ""
	return Preparation{
		Precondition: fmt.Sprintf("node %s has UID %s and resourceVersion as read (%s)", node.Name, node.UID, node.ResourceVersion),
		Originals:    v1alpha1.Originals{Unschedulable: &before},
	}, nil
}

func nodeOf(object *unstructured.Unstructured) (*corev1.Node, error) {
	var node corev1.Node
	if err := k8sruntime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &node); err != nil {
		return nil, fmt.Errorf("decoding node %s: %w", object.GetName(), err)
	}
	return &node, nil
}

func (cordon) do(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Outcome, error) {
	if a.Parameters.NoExecute && !evidenceKept(q) {
		return Outcome{}, fmt.Errorf("%w for evidence: the taint ends the pod, too", ErrWaiting)
	}
	result := ""
	_, err := c.change(ctx, nodes, "", q.Spec.Pod.Node, "", func(object *unstructured.Unstructured) ([]operation, error) {
		node, err := nodeOf(object)
		if err != nil {
			return nil, err
		}
		var operations []operation
		names := node.Annotations[v1alpha1.CordonedAnnotation]
		result = fmt.Sprintf("node %s takes no more pods", node.Name)
		if node.Spec.Unschedulable && names == "" && !a.Parameters.NoExecute {
			result = fmt.Sprintf("node %s was cordoned already, by somebody else, and stays so at release", node.Name)
			return nil, nil
		}
		operations = append(operations, setMap("annotations", node.Annotations, with(node.Annotations, v1alpha1.CordonedAnnotation, withName(names, q.Name)))...)
		if !node.Spec.Unschedulable {
			operations = append(operations, operation{Op: "add", Path: "/spec/unschedulable", Value: true})
		}
		if a.Parameters.NoExecute {
			result += "; those there that do not tolerate its taint are evicted"
			operations = append(operations, tainted(node)...)
		}
		return operations, nil
	})
	if gone(err) {
		return Outcome{Result: fmt.Sprintf("node %s does not exist any more", q.Spec.Pod.Node)}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Result: result}, nil
}

// evidenceKept says whether evidence of the pod is kept, as far as it can be.
func evidenceKept(q *v1alpha1.Quarantine) bool {
	for _, step := range q.Status.Steps {
		if step.Name == string(response.Snapshot) {
			return step.State == v1alpha1.StepDone || step.State == v1alpha1.StepSkipped || step.State == v1alpha1.StepFailed && step.Next == nil
		}
	}
	return false
}

// tainted adds the taint, unless it is there.
func tainted(node *corev1.Node) []operation {
	taint := corev1.Taint{Key: taintKey, Value: "true", Effect: corev1.TaintEffectNoExecute}
	for _, have := range node.Spec.Taints {
		if have.Key == taint.Key && have.Effect == taint.Effect {
			return nil
		}
	}
	return []operation{{Op: "add", Path: "/spec/taints", Value: append(node.Spec.Taints, taint)}}
}

// undo lets the node take pods again when the last quarantine of it is released, unless it was cordoned before.
func (cordon) undo(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, _ response.Planned) (Outcome, error) {
	if q.Spec.Pod.Node == "" {
		return Outcome{Result: "the pod was on no node"}, nil
	}
	result := ""
	_, err := c.change(ctx, nodes, "", q.Spec.Pod.Node, "", func(object *unstructured.Unstructured) ([]operation, error) {
		node, err := nodeOf(object)
		if err != nil {
			return nil, err
		}
		names := node.Annotations[v1alpha1.CordonedAnnotation]
		left := withoutName(names, q.Name)
		if left == names {
			result = fmt.Sprintf("node %s was not cordoned for this quarantine", node.Name)
			return nil, nil
		}
		operations := setMap("annotations", node.Annotations, with(node.Annotations, v1alpha1.CordonedAnnotation, left))
		if left != "" {
			result = fmt.Sprintf("node %s stays cordoned for %s", node.Name, left)
			return operations, nil
		}
		result = fmt.Sprintf("node %s takes pods again", node.Name)
		if before := originals(q).Unschedulable; before != nil && *before {
			result = fmt.Sprintf("node %s stays cordoned, as it was before", node.Name)
		} else if node.Spec.Unschedulable {
			operations = append(operations, operation{Op: "remove", Path: "/spec/unschedulable"})
		}
		return append(operations, untainted(node)...), nil
	})
	if gone(err) {
		return Outcome{Result: fmt.Sprintf("node %s does not exist any more", q.Spec.Pod.Node)}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Result: result}, nil
}

func untainted(node *corev1.Node) []operation {
	kept := []corev1.Taint{}
	for _, have := range node.Spec.Taints {
		if have.Key != taintKey {
			kept = append(kept, have)
		}
	}
	if len(kept) == len(node.Spec.Taints) {
		return nil
	}
	return []operation{{Op: "add", Path: "/spec/taints", Value: kept}}
}

// with is a map with a value set, or without it where it is "".
func with(is map[string]string, key, value string) map[string]string {
	all := map[string]string{}
	for name, have := range is {
		all[name] = have
	}
	if all[key] = value; value == "" {
		delete(all, key)
	}
	return all
}

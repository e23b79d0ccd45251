package containment

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// restrict narrows the NetworkPolicies of others that still allow the pod something, so that they select no pod with the label of a quarantine. What applies
// manifests from Git will fight it; then it is done again, and reported.
type restrict struct{}

// exclusion is what a narrowed policy asks of pods beside what it asked before.
var exclusion = metav1.LabelSelectorRequirement{Key: v1alpha1.QuarantineLabel, Operator: metav1.LabelSelectorOpDoesNotExist}

// excludes says whether a selector asks for it already.
func excludes(selector metav1.LabelSelector) bool {
	return slices.ContainsFunc(selector.MatchExpressions, func(one metav1.LabelSelectorRequirement) bool {
		return one.Key == exclusion.Key && one.Operator == exclusion.Operator
	})
}

func policyOf(object *unstructured.Unstructured) (*networkingv1.NetworkPolicy, error) {
	var policy networkingv1.NetworkPolicy
	if err := k8sruntime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &policy); err != nil {
		return nil, fmt.Errorf("decoding NetworkPolicy %s: %w", place(object.GetNamespace(), object.GetName()), err)
	}
	return &policy, nil
}

// allowing are the policies of others that select the pod and allow it something.
func (c *Cluster) allowing(ctx context.Context, q *v1alpha1.Quarantine) ([]*networkingv1.NetworkPolicy, error) {
	pod, err := c.pod(ctx, q)
	if err != nil {
		return nil, err
	}
	var found []*networkingv1.NetworkPolicy
	err = c.each(ctx, networkPolicies, pod.Namespace, func(object *unstructured.Unstructured) error {
		policy, err := policyOf(object)
		if err != nil {
			return err
		}
		selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
		if err != nil {
			return fmt.Errorf("reading the selector of NetworkPolicy %s: %w", place(policy.Namespace, policy.Name), err)
		}
		if policy.Labels[v1alpha1.QuarantineLabel] != q.Name && len(policy.Spec.Ingress)+len(policy.Spec.Egress) > 0 && selector.Matches(labels.Set(pod.Labels)) {
			found = append(found, policy)
		}
		return nil
	})
	return found, err
}

func (restrict) prepare(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, _ response.Planned) (Preparation, error) {
	policies, err := c.allowing(ctx, q)
	if err != nil {
		return Preparation{}, err
	}
	if len(policies) == 0 && len(originals(q).Policies) == 0 {
		return Preparation{Skip: "no NetworkPolicy allows the pod anything; what remains is allowed by policies of another kind, which are not changed"}, nil
	}
	before := map[string]string{}
	var names []string
	for _, policy := range policies {
		selector, err := json.Marshal(policy.Spec.PodSelector)
		if err != nil {
			return Preparation{}, err
		}
		before[place(policy.Namespace, policy.Name)] = string(selector)
		names = append(names, fmt.Sprintf("%s (%s)", policy.Name, policy.ResourceVersion))
	}
	return Preparation{
		Precondition: "NetworkPolicies have the resourceVersions as read: " + strings.Join(names, ", "),
		Originals:    v1alpha1.Originals{Policies: before},
	}, nil
}

func (restrict) do(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, _ response.Planned) (Outcome, error) {
	policies, err := c.allowing(ctx, q)
	if err != nil {
		return Outcome{}, err
	}
	var narrowed []string
	for _, policy := range policies {
		by := ""
		_, err := c.change(ctx, networkPolicies, policy.Namespace, policy.Name, string(policy.UID), func(object *unstructured.Unstructured) ([]operation, error) {
			have, err := policyOf(object)
			if err != nil {
				return nil, err
			}
			by = appliedBy(object)
			operations := setMap("annotations", have.Annotations, with(have.Annotations, v1alpha1.RestrictedAnnotation, withName(have.Annotations[v1alpha1.RestrictedAnnotation], q.Name)))
			if !excludes(have.Spec.PodSelector) {
				selector := have.Spec.PodSelector
				selector.MatchExpressions = append(selector.MatchExpressions, exclusion)
				operations = append(operations, operation{Op: "replace", Path: "/spec/podSelector", Value: selector})
			}
			return operations, nil
		})
		if gone(err) {
			continue
		}
		if err != nil {
			return Outcome{}, err
		}
		name := policy.Name
		if by != "" {
			name += fmt.Sprintf(" (%s applies it and may set it back)", by)
		}
		narrowed = append(narrowed, name)
	}
	outcome := Outcome{Result: fmt.Sprintf("%d NetworkPolicies select pods in quarantine no more: %s", len(narrowed), strings.Join(narrowed, ", "))}
	if len(narrowed) == 0 {
		outcome.Result = "no NetworkPolicy of others selects the pod any more"
	}
	if report, err := c.Prove(ctx, q); err == nil {
		outcome.Report = &report
	}
	return outcome, nil
}

// undo widens them again when the last quarantine for which they were narrowed is released, unless they asked for it themselves before.
func (restrict) undo(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, _ response.Planned) (Outcome, error) {
	before := originals(q).Policies
	widened := 0
	for _, where := range sortedKeys(before) {
		namespace, name, _ := strings.Cut(where, "/")
		var was metav1.LabelSelector
		if err := json.Unmarshal([]byte(before[where]), &was); err != nil {
			return Outcome{}, fmt.Errorf("reading what NetworkPolicy %s selected: %w", where, err)
		}
		changed, err := c.change(ctx, networkPolicies, namespace, name, "", func(object *unstructured.Unstructured) ([]operation, error) {
			have, err := policyOf(object)
			if err != nil {
				return nil, err
			}
			names := have.Annotations[v1alpha1.RestrictedAnnotation]
			left := withoutName(names, q.Name)
			if left == names {
				return nil, nil // not narrowed for this one, or another one of the name
			}
			operations := setMap("annotations", have.Annotations, with(have.Annotations, v1alpha1.RestrictedAnnotation, left))
			if left != "" || excludes(was) {
				return operations, nil
			}
			selector := have.Spec.PodSelector
			selector.MatchExpressions = slices.DeleteFunc(selector.MatchExpressions, func(one metav1.LabelSelectorRequirement) bool {
				return one.Key == exclusion.Key && one.Operator == exclusion.Operator
			})
			return append(operations, operation{Op: "replace", Path: "/spec/podSelector", Value: selector}), nil
		})
		if gone(err) {
			continue
		}
		if err != nil {
			return Outcome{}, err
		}
		if changed {
			widened++
		}
	}
	return Outcome{Result: fmt.Sprintf("%d of %d NetworkPolicies select what they did before", widened, len(before))}, nil
}

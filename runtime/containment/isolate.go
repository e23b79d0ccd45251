package containment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// isolate cuts the network. What denies comes first: the policy of the quarantine, beside the standing deny of [Cluster.Setup]. Then one patch
// puts the pod under both, and takes off all other labels where it is to be detached: with them go its Services, the policies of others
// that allow it something, and its controller.
type isolate struct{}

// configMirror is on pods that the kubelet has from a file: what is changed of them at the API server does not reach it
// (k8s.io/api/core/v1.MirrorPodAnnotationKey).
const configMirror = corev1.MirrorPodAnnotationKey

// beyondPolicies says why network policies do not reach a pod, "" where they do.
func beyondPolicies(pod *corev1.Pod) string {
	switch {
	case pod.Annotations[configMirror] != "":
		return "the pod is static: the kubelet keeps it whatever the API says"
	case pod.Spec.HostNetwork:
		return "the pod uses the network of its node, and network policies are not about such pods"
	}
	return ""
}

func (isolate) prepare(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Preparation, error) {
	pod, err := c.pod(ctx, q)
	if err != nil {
		return Preparation{}, err
	}
	if why := beyondPolicies(pod); why != "" {
		return Preparation{Skip: why}, nil
	}
	return Preparation{
		Precondition: precondition(pod) + "; NetworkPolicy " + v1alpha1.NetworkPolicyName(q.Name) + " is not there, or is that of this quarantine",
		Originals:    v1alpha1.Originals{Labels: labelsBefore(q, pod), OwnerReferences: ownersBefore(q, pod)},
	}, nil
}

// ownersBefore are the owner references before anything was done: a controller takes its own off when it lets a pod go.
func ownersBefore(q *v1alpha1.Quarantine, pod *corev1.Pod) []metav1.OwnerReference {
	if was := originals(q).OwnerReferences; was != nil {
		return was
	}
	return pod.OwnerReferences
}

func (isolate) do(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Outcome, error) {
	policy, err := c.ensurePolicy(ctx, q)
	if err != nil {
		return Outcome{}, err
	}
	var detached string
	_, err = c.changePod(ctx, q, func(pod *corev1.Pod) ([]operation, error) {
		if why := beyondPolicies(pod); why != "" {
			return nil, errors.New(why)
		}
		var labels map[string]string
		labels, detached = labelsAfter(q, pod, a)
		labels[v1alpha1.QuarantineLabel] = q.Name
		return setMap("labels", pod.Labels, labels), nil
	})
	if gone(err) {
		// What isolated nobody would be left: a step about a pod that is gone is not taken back.
		_, failed := c.removePolicies(ctx, q)
		return Outcome{}, errors.Join(err, failed)
	}
	if err != nil {
		return Outcome{}, err
	}
	outcome := Outcome{Result: fmt.Sprintf("the pod is under %s; %s", policy, detached)}
	if report, err := c.Prove(ctx, q); err != nil {
		c.log.WarnContext(ctx, "proving what remains possible", "quarantine", q.Name, "error", err)
		outcome.Result += "; what remains possible could not be found out yet: " + err.Error()
	} else {
		outcome.Report = &report
		outcome.Result += fmt.Sprintf("; verdict %s", report.Verdict)
	}
	return outcome, nil
}

// labelsAfter are the labels that a pod keeps, without that of the quarantine, and what that means in words. What is kept where it is detached are
// those that the plan has set and that were not there before.
func labelsAfter(q *v1alpha1.Quarantine, pod *corev1.Pod, a response.Planned) (map[string]string, string) {
	controller := controllerOf(pod)
	can, why := response.Detachable(controller, q.Spec.Settings)
	all := maps.Clone(pod.Labels)
	if all == nil {
		all = map[string]string{}
	}
	if a.Action == response.Isolate && (a.Parameters.Detach == nil || !*a.Parameters.Detach) {
		return all, "its labels stay"
	}
	if !can {
		return all, "its labels stay: " + why
	}
	was, set := originals(q).Labels, labelled(q)
	var unknown []string
	for key, value := range all {
		_, before := was[key]
		switch {
		case !before && set[key] == value && value != "", key == v1alpha1.QuarantineLabel:
			continue
		case !before && was != nil:
			unknown = append(unknown, key+"="+value)
		}
		delete(all, key)
	}
	text := "its labels are taken off"
	if controller != nil {
		text += ": " + why
	}
	if len(unknown) > 0 {
		text += "; labels that came since it was seen are not put back: " + strings.Join(unknown, ", ")
	}
	return all, text
}

// controllerOf is the controller that a pod names, nil where none does.
func controllerOf(pod *corev1.Pod) *response.Owner {
	reference := metav1.GetControllerOf(pod)
	if reference == nil {
		return nil
	}
	return ownerOf(*reference)
}

func ownerOf(reference metav1.OwnerReference) *response.Owner {
	group, version, ok := strings.Cut(reference.APIVersion, "/")
	if !ok {
		group, version = "", reference.APIVersion
	}
	return &response.Owner{Group: group, Version: version, Kind: reference.Kind, Name: reference.Name, UID: string(reference.UID)}
}

// otherNames is how many names are tried for the policy where somebody else has taken the first.
const otherNames = 5

// ensurePolicy sees to it that the policy of a quarantine is there and is as it must be. One of its name that is not of this quarantine is never
// touched: the policy gets another name. It gives "NetworkPolicy namespace/name".
func (c *Cluster) ensurePolicy(ctx context.Context, q *v1alpha1.Quarantine) (string, error) {
	var wanted networkingv1.NetworkPolicy
	if err := json.Unmarshal(isolation.NetworkPolicy(q.Name, q.Spec.Pod.Namespace), &wanted); err != nil {
		return "", fmt.Errorf("decoding the policy to be made: %w", err)
	}
	policies := c.client.Resource(networkPolicies).Namespace(q.Spec.Pod.Namespace)
	first := wanted.Name
	for n := range otherNames {
		if n > 0 {
			wanted.Name = fmt.Sprintf("%s-%d", first, n+1)
		}
		object, err := k8sruntime.DefaultUnstructuredConverter.ToUnstructured(&wanted)
		if err != nil {
			return "", fmt.Errorf("encoding the policy to be made: %w", err)
		}
		_, err = policies.Create(ctx, &unstructured.Unstructured{Object: object}, metav1.CreateOptions{FieldManager: actor})
		if err == nil {
			return "NetworkPolicy " + place(wanted.Namespace, wanted.Name), nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return "", fmt.Errorf("creating NetworkPolicy %s: %w", place(wanted.Namespace, wanted.Name), err)
		}
		own, err := c.repairPolicy(ctx, &wanted)
		if err != nil {
			return "", err
		}
		if own {
			return "NetworkPolicy " + place(wanted.Namespace, wanted.Name), nil
		}
		c.log.WarnContext(ctx, "a NetworkPolicy of somebody else has the name of that of a quarantine", "namespace", wanted.Namespace, "name", wanted.Name)
	}
	return "", fmt.Errorf("creating a NetworkPolicy: %s and %d further names are those of policies of somebody else in namespace %s; remove them", first, otherNames-1, wanted.Namespace)
}

// repairPolicy says whether the policy that is there is that of the quarantine, and puts it right.
func (c *Cluster) repairPolicy(ctx context.Context, wanted *networkingv1.NetworkPolicy) (own bool, err error) {
	_, err = c.change(ctx, networkPolicies, wanted.Namespace, wanted.Name, "", func(object *unstructured.Unstructured) ([]operation, error) {
		if own = object.GetLabels()[v1alpha1.QuarantineLabel] == wanted.Labels[v1alpha1.QuarantineLabel] && object.GetDeletionTimestamp() == nil; !own {
			return nil, nil
		}
		var have networkingv1.NetworkPolicy
		if err := k8sruntime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &have); err != nil {
			return nil, fmt.Errorf("decoding it: %w", err)
		}
		if equality.Semantic.DeepEqual(have.Spec, wanted.Spec) {
			return nil, nil
		}
		return []operation{{Op: "replace", Path: "/spec", Value: wanted.Spec}}, nil
	})
	return own, err
}

// undo lets the pod go and takes the policy away last, when the pod is back in its place or is no more.
func (isolate) undo(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Outcome, error) {
	result, err := c.letGo(ctx, q, true)
	if err != nil {
		return Outcome{}, err
	}
	removed, err := c.removePolicies(ctx, q)
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Result: fmt.Sprintf("%s; %d NetworkPolicies of the quarantine are removed", result, removed)}, nil
}

// removePolicies removes the policies of a quarantine, and no others.
func (c *Cluster) removePolicies(ctx context.Context, q *v1alpha1.Quarantine) (removed int, err error) {
	policies := c.client.Resource(networkPolicies).Namespace(q.Spec.Pod.Namespace)
	list, err := policies.List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.QuarantineLabel + "=" + q.Name})
	if err != nil {
		return 0, fmt.Errorf("listing the policies of the quarantine: %w", err)
	}
	for _, object := range list.Items {
		if !strings.HasPrefix(object.GetName(), v1alpha1.NetworkPolicyName(q.Name)) {
			continue
		}
		uid := object.GetUID()
		err := policies.Delete(ctx, object.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
		if err != nil && !apierrors.IsNotFound(err) {
			return removed, fmt.Errorf("removing NetworkPolicy %s: %w", place(object.GetNamespace(), object.GetName()), err)
		}
		removed++
	}
	return removed, nil
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

// sight is what a plan is made from: a pod, its owner, and what the proof sees around it.
type sight struct {
	view  *isolation.Cluster
	pod   *corev1.Pod
	owner *response.Owner
	// tier is the API that the responder would install a standing deny in, "" for none. standing says that it is there.
	tier     isolation.API
	standing bool
	// notes say what else there is to know about how it was found.
	notes []string
}

// subject is the pod as the proof knows it.
func (s *sight) subject() (isolation.Pod, error) {
	raw, err := json.Marshal(s.pod)
	if err != nil {
		return isolation.Pod{}, fmt.Errorf("encoding the pod: %w", err)
	}
	return isolation.PodOf(raw)
}

// responsePod is the pod as a plan knows it.
func (s *sight) responsePod() *response.Pod {
	pod := &response.Pod{
		Namespace: s.pod.Namespace, Name: s.pod.Name, UID: string(s.pod.UID), Node: s.pod.Spec.NodeName, ServiceAccount: s.pod.Spec.ServiceAccountName,
		Created: s.pod.CreationTimestamp.Time, HostNetwork: s.pod.Spec.HostNetwork, HostPID: s.pod.Spec.HostPID, Priority: s.pod.Spec.PriorityClassName,
	}
	_, pod.Static = s.pod.Annotations[corev1.MirrorPodAnnotationKey]
	for _, containers := range [][]corev1.Container{s.pod.Spec.InitContainers, s.pod.Spec.Containers} {
		for n := range containers {
			if c := containers[n].SecurityContext; c != nil && c.Privileged != nil && *c.Privileged {
				pod.Privileged = true
			}
		}
	}
	return pod
}

// hasStanding says whether the standing deny of an API is among policies.
func hasStanding(policies []isolation.Object, api isolation.API) bool {
	var wanted metav1.PartialObjectMetadata
	object, _ := isolation.DenyTier(api)
	if json.Unmarshal(object, &wanted) != nil {
		return false
	}
	for _, policy := range policies {
		var have metav1.PartialObjectMetadata
		if json.Unmarshal(policy, &have) == nil && have.Kind == wanted.Kind && have.Name == wanted.Name && have.GroupVersionKind().Group == wanted.GroupVersionKind().Group {
			return true
		}
	}
	return false
}

// tiers are the APIs with a deny before NetworkPolicies, best first.
func tiers() []isolation.API {
	return []isolation.API{isolation.ClusterNetworkPolicy, isolation.AdminNetworkPolicy, isolation.CiliumClusterwideNetworkPolicy, isolation.GlobalNetworkPolicy}
}

// errNoOwner says that a controller is not there, or may not be read: its reference is all that is known.
var errNoOwner = errors.New("the owner is not there")

// ownerReader reads a controller of pods. The error of one that is not there wraps errNoOwner.
type ownerReader func(ctx context.Context, kind schema.GroupVersionKind, namespace, name string) (*unstructured.Unstructured, error)

// ownerOf is the controller that stands above an object at last, by way of the one that it names: Deployment and
// ReplicaSet, CronJob and Job. nil is none.
func ownerOf(ctx context.Context, read ownerReader, namespace string, of metav1.Object) (*response.Owner, error) {
	reference := metav1.GetControllerOf(of)
	if reference == nil {
		return nil, nil
	}
	kind := schema.FromAPIVersionAndKind(reference.APIVersion, reference.Kind)
	direct := &response.Owner{Group: kind.Group, Version: kind.Version, Kind: kind.Kind, Name: reference.Name, UID: string(reference.UID)}
	object, err := read(ctx, kind, namespace, reference.Name)
	if errors.Is(err, errNoOwner) {
		return direct, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the owner %s %s/%s: %w", kind.Kind, namespace, reference.Name, err)
	}
	direct.Desired = desired(object)
	above, err := ownerOf(ctx, read, namespace, object)
	if err != nil || above == nil {
		return direct, err
	}
	if above.Desired == 0 {
		above.Desired = direct.Desired
	}
	above.Direct = direct
	return above, nil
}

// desired is how many pods a controller wants, 0 where it has no such number. One that does not say wants one
// (k8s.io/kubernetes/pkg/apis/apps/v1/defaults.go and batch/v1/defaults.go).
func desired(object *unstructured.Unstructured) int64 {
	path := []string{"spec", "replicas"}
	switch object.GetKind() {
	case "DaemonSet":
		path = []string{"status", "desiredNumberScheduled"}
	case "Job":
		path = []string{"spec", "parallelism"}
	case "CronJob":
		return 0
	}
	count, found, err := unstructured.NestedInt64(object.Object, path...)
	switch {
	case err != nil:
		return 0
	case !found && object.GetKind() != "DaemonSet":
		return 1
	}
	return count
}

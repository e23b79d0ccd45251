package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/admission/manifest"
	"github.com/portcullis-dev/portcullis/runtime/containment"
	"github.com/portcullis-dev/portcullis/runtime/isolation"
)

// running is a cluster that runs.
type running struct {
	config *rest.Config
	client dynamic.Interface
	cni    isolation.CNI
}

func newRunning(config *rest.Config, cni isolation.CNI) (*running, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("reaching the cluster: %w", err)
	}
	return &running{config: config, client: client, cni: cni}, nil
}

// see finds a pod with what is around it, as the responder would. It only reads.
func (r *running) see(ctx context.Context, namespace, name string) (*sight, error) {
	object, err := r.client.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, usagef("there is no pod %s/%s in the cluster: kubectl get pods --namespace %s lists those that there are", namespace, name, namespace)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the pod %s/%s: %w", namespace, name, err)
	}
	s := &sight{pod: &corev1.Pod{}}
	if err := k8sruntime.DefaultUnstructuredConverter.FromUnstructured(object.Object, s.pod); err != nil {
		return nil, fmt.Errorf("reading the pod %s/%s: %w", namespace, name, err)
	}
	s.pod.APIVersion, s.pod.Kind = "v1", "Pod"
	if s.owner, err = ownerOf(ctx, r.read, namespace, s.pod); err != nil {
		return nil, err
	}
	acting, err := containment.New(r.config, containment.Options{CNI: r.cni, Actor: "portcullis"})
	if err != nil {
		return nil, err
	}
	if s.view, err = acting.View(ctx, namespace); err != nil {
		return nil, fmt.Errorf("reading what the network allows: %w", err)
	}
	s.tier, err = r.tier()
	s.standing = s.tier != "" && hasStanding(s.view.Policies, s.tier)
	return s, err
}

// tier is the best API with a deny before NetworkPolicies that the cluster serves.
func (r *running) tier() (isolation.API, error) {
	client, err := discovery.NewDiscoveryClientForConfig(r.config)
	if err != nil {
		return "", fmt.Errorf("reaching the cluster: %w", err)
	}
	for _, api := range tiers() {
		_, resource := isolation.DenyTier(api)
		list, err := client.ServerResourcesForGroupVersion(resource.GroupVersion().String())
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("asking the cluster what it serves of %s: %w", resource.GroupVersion(), err)
		}
		for n := range list.APIResources {
			if list.APIResources[n].Name == resource.Resource {
				return api, nil
			}
		}
	}
	return "", nil
}

// read implements ownerReader. What the caller may not read is known by its reference, as it is to the responder.
func (r *running) read(ctx context.Context, kind schema.GroupVersionKind, namespace, name string) (*unstructured.Unstructured, error) {
	resource, _ := manifest.Resource(kind)
	object, err := r.client.Resource(resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil, errNoOwner
	}
	return object, err
}

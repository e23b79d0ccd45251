package installation

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	appsv1 "k8s.io/api/apps/v1"
)

// Limits of what is read. A list that is longer is cut, and says so.
const (
	// MaxItems of one list.
	MaxItems = 5000
	pageSize = 500
)

// Labels of all that the chart installs (https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/).
const (
	PartOfLabel    = "app.kubernetes.io/part-of"
	ComponentLabel = "app.kubernetes.io/component"
	PartOf         = "portcullis"
)

// DefaultNamespace is where Portcullis runs where nothing else is said.
const DefaultNamespace = "portcullis-system"

// Installation is one. Use it by pointer.
type Installation struct {
	Config    *rest.Config
	Client    kubernetes.Interface
	Dynamic   dynamic.Interface
	Namespace string
	Now       func() time.Time

	pods                      once[[]corev1.Pod]
	deployments, statefulSets once[[]appsv1.Deployment]
	lists                     keyed[schema.GroupVersionResource, List]
	metrics                   keyed[string, Metrics]
	readiness                 keyed[string, string]
}

// Open makes clients. It asks the cluster nothing yet.
func Open(config *rest.Config, namespace string, now func() time.Time) (*Installation, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("reaching the cluster: %w", err)
	}
	untyped, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("reaching the cluster: %w", err)
	}
	return &Installation{Config: config, Client: client, Dynamic: untyped, Namespace: namespace, Now: now}, nil
}

// List are objects of one resource.
type List struct {
	Items []unstructured.Unstructured
	// Cut says that there are more than MaxItems.
	Cut bool
}

// List lists the objects of a resource in all namespaces, at most MaxItems.
func (i *Installation) List(ctx context.Context, resource schema.GroupVersionResource) (List, error) {
	return i.lists.get(ctx, resource, func(ctx context.Context) (List, error) {
		return pages(ctx, i.Dynamic.Resource(resource))
	})
}

// ListOwn lists the objects of a resource in the namespace of the installation, at most MaxItems.
func (i *Installation) ListOwn(ctx context.Context, resource schema.GroupVersionResource) (List, error) {
	return pages(ctx, i.Dynamic.Resource(resource).Namespace(i.Namespace))
}

func pages(ctx context.Context, from dynamic.ResourceInterface) (List, error) {
	var list List
	options := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := from.List(ctx, options)
		if err != nil {
			return List{}, err
		}
		list.Items = append(list.Items, page.Items...)
		options.Continue = page.GetContinue()
		switch {
		case options.Continue == "":
			return list, nil
		case len(list.Items) >= MaxItems:
			list.Cut = true
			return list, nil
		}
	}
}

// Pods are all of the namespace, at most MaxItems.
func (i *Installation) Pods(ctx context.Context) ([]corev1.Pod, error) {
	return i.pods.get(ctx, func(ctx context.Context) ([]corev1.Pod, error) {
		list, err := i.Client.CoreV1().Pods(i.Namespace).List(ctx, metav1.ListOptions{Limit: MaxItems})
		if err != nil {
			return nil, err
		}
		return list.Items, nil
	})
}

// Deployments are all of the namespace, at most MaxItems.
func (i *Installation) Deployments(ctx context.Context) ([]appsv1.Deployment, error) {
	return i.deployments.get(ctx, func(ctx context.Context) ([]appsv1.Deployment, error) {
		list, err := i.Client.AppsV1().Deployments(i.Namespace).List(ctx, metav1.ListOptions{Limit: MaxItems})
		if err != nil {
			return nil, err
		}
		return list.Items, nil
	})
}

// StatefulSets are those of the namespace, in the shape of Deployments: what is asked of either is the same.
func (i *Installation) StatefulSets(ctx context.Context) ([]appsv1.Deployment, error) {
	return i.statefulSets.get(ctx, func(ctx context.Context) ([]appsv1.Deployment, error) {
		list, err := i.Client.AppsV1().StatefulSets(i.Namespace).List(ctx, metav1.ListOptions{Limit: MaxItems})
		if err != nil {
			return nil, err
		}
		all := make([]appsv1.Deployment, 0, len(list.Items))
		for _, set := range list.Items {
			all = append(all, appsv1.Deployment{
				TypeMeta: metav1.TypeMeta{Kind: "StatefulSet"}, ObjectMeta: set.ObjectMeta,
				Spec: appsv1.DeploymentSpec{Replicas: set.Spec.Replicas, Selector: set.Spec.Selector, Template: set.Spec.Template},
				Status: appsv1.DeploymentStatus{
					ObservedGeneration: set.Status.ObservedGeneration, Replicas: set.Status.Replicas, ReadyReplicas: set.Status.ReadyReplicas,
					UpdatedReplicas: set.Status.UpdatedReplicas, AvailableReplicas: set.Status.AvailableReplicas,
				},
			})
		}
		return all, nil
	})
}

// KindOf is how kubectl calls what [Installation.Deployment] gives: "deployment" or "statefulset".
func KindOf(deployment *appsv1.Deployment) string {
	if deployment.Kind == "StatefulSet" {
		return "statefulset"
	}
	return "deployment"
}

// Reach says why the API server does not answer. One that refuses to say its version has answered.
func (i *Installation) Reach(ctx context.Context) error {
	err := i.Client.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Error()
	if apierrors.IsForbidden(err) {
		return nil
	}
	return err
}

package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// Apply applies objects in order on the server's side, as Helm does. A kind whose definition is among them is waited for. All that are
// refused are in the error.
func Apply(ctx context.Context, config *rest.Config, objects []*unstructured.Unstructured) error {
	return each(ctx, config, objects, "applying", func(resource dynamic.ResourceInterface, object *unstructured.Unstructured) error {
		_, err := resource.Apply(ctx, object.GetName(), object, metav1.ApplyOptions{FieldManager: "helm", Force: true})
		return err
	})
}

// Delete deletes objects in order; one that is not there is no error.
func Delete(ctx context.Context, config *rest.Config, objects []*unstructured.Unstructured) error {
	background := metav1.DeletePropagationBackground
	return each(ctx, config, objects, "deleting", func(resource dynamic.ResourceInterface, object *unstructured.Unstructured) error {
		err := resource.Delete(ctx, object.GetName(), metav1.DeleteOptions{PropagationPolicy: &background})
		if apierrors.IsNotFound(err) {
			err = nil
		}
		return err
	})
}

// each does something to objects in order, and goes on after one that is refused.
func each(ctx context.Context, config *rest.Config, objects []*unstructured.Unstructured, doing string, do func(dynamic.ResourceInterface, *unstructured.Unstructured) error) error {
	kinds, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(kinds))
	var refused []error
	for _, object := range objects {
		resource, err := resourceOf(ctx, mapper, client, object)
		if err != nil {
			return errors.Join(append(refused, err)...)
		}
		if err := do(resource, object); err != nil {
			refused = append(refused, fmt.Errorf("%s %s %s: %w", doing, object.GetKind(), object.GetName(), err))
		}
	}
	return errors.Join(refused...)
}

// resourceOf is where an object goes. A kind whose definition was just applied takes a moment.
func resourceOf(ctx context.Context, mapper *restmapper.DeferredDiscoveryRESTMapper, client dynamic.Interface, object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := object.GroupVersionKind()
	var mapping *meta.RESTMapping
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		var err error
		if mapping, err = mapper.RESTMapping(kind.GroupKind(), kind.Version); err != nil {
			mapper.Reset()
			return false, nil
		}
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for the kind %s: %w", kind, err)
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return client.Resource(mapping.Resource), nil
	}
	return client.Resource(mapping.Resource).Namespace(object.GetNamespace()), nil
}

package controller

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// decode reads an object of one of our kinds.
func decode[T any](object *unstructured.Unstructured) (*T, error) {
	var into T
	if err := k8sruntime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &into); err != nil {
		return nil, fmt.Errorf("reading the %s %s: %w", object.GetKind(), object.GetName(), err)
	}
	return &into, nil
}

// all decodes what an informer has. What cannot be read, which the schema refuses, is left out.
func all[T any](store cache.Store) []T {
	var found []T
	for _, item := range store.List() {
		if object, ok := item.(*unstructured.Unstructured); ok {
			if decoded, err := decode[T](object); err == nil {
				found = append(found, *decoded)
			}
		}
	}
	return found
}

// getBundle reads a bundle as it is now.
func getBundle(ctx context.Context, client dynamic.Interface, name string) (*v1alpha1.PolicyBundle, error) {
	object, err := client.Resource(v1alpha1.Bundles).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return decode[v1alpha1.PolicyBundle](object)
}

// updateStatus writes the status of a bundle, if it is as it was read.
func updateStatus(ctx context.Context, client dynamic.Interface, bundle *v1alpha1.PolicyBundle) error {
	bundle.APIVersion, bundle.Kind = v1alpha1.GroupVersion.String(), "PolicyBundle"
	content, err := k8sruntime.DefaultUnstructuredConverter.ToUnstructured(bundle)
	if err != nil {
		return fmt.Errorf("writing the status of PolicyBundle %s: %w", bundle.Name, err)
	}
	_, err = client.Resource(v1alpha1.Bundles).UpdateStatus(ctx, &unstructured.Unstructured{Object: content}, metav1.UpdateOptions{})
	return err
}

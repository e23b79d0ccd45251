package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// Creator creates objects of any kind, as one user.
type Creator struct {
	client dynamic.Interface
	mapper meta.RESTMapper
}

// NewCreator makes a creator that knows the kinds the API server serves now.
func NewCreator(config *rest.Config) (*Creator, error) {
	kinds, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	groups, err := restmapper.GetAPIGroupResources(kinds)
	if err != nil {
		return nil, fmt.Errorf("asking which kinds there are: %w", err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return &Creator{client: client, mapper: restmapper.NewDiscoveryRESTMapper(groups)}, nil
}

// Create creates the objects of a YAML stream, in order, and returns them as stored.
// It stops at the first that is refused, whose error it returns.
func (c *Creator) Create(ctx context.Context, manifests []byte, options metav1.CreateOptions) ([]*unstructured.Unstructured, error) {
	objects, err := Parse(manifests)
	if err != nil {
		return nil, err
	}
	var created []*unstructured.Unstructured
	for _, object := range objects {
		stored, err := c.create(ctx, object, options)
		if err != nil {
			return created, fmt.Errorf("creating %s %s: %w", object.GetKind(), object.GetName(), err)
		}
		created = append(created, stored)
	}
	return created, nil
}

func (c *Creator) create(ctx context.Context, object *unstructured.Unstructured, options metav1.CreateOptions) (*unstructured.Unstructured, error) {
	kind := object.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return c.client.Resource(mapping.Resource).Create(ctx, object, options)
	}
	namespace := object.GetNamespace()
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	return c.client.Resource(mapping.Resource).Namespace(namespace).Create(ctx, object, options)
}

// Parse reads a YAML stream; empty documents are left out and Lists taken apart.
func Parse(manifests []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifests), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(&object.Object); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading manifests: %w", err)
		}
		if len(object.Object) == 0 {
			continue
		}
		if !object.IsList() {
			objects = append(objects, object)
			continue
		}
		err := object.EachListItem(func(item k8sruntime.Object) error {
			objects = append(objects, item.(*unstructured.Unstructured))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("reading a list: %w", err)
		}
	}
}

package kube

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Bounds of a list: pages are short, and what is sorted by the console has to be read whole.
const (
	listPage = 250
	MaxItems = 2000
)

// Query narrows a list.
type Query struct {
	// Namespace is "" for all, and for what has none.
	Namespace string
	Labels    string
	Fields    string
}

// Listed are objects of one kind.
type Listed[T any] struct {
	Items []T
	// More says that there are more than MaxItems: the rest is not here.
	More bool
}

// List reads objects as far as they fit.
func List[T any](ctx context.Context, c *Caller, resource schema.GroupVersionResource, query Query) (Listed[T], error) {
	var all Listed[T]
	for page := ""; ; {
		options := metav1.ListOptions{Limit: listPage, Continue: page, LabelSelector: query.Labels, FieldSelector: query.Fields}
		var list *unstructured.UnstructuredList
		var err error
		if query.Namespace == "" {
			list, err = c.dynamic.Resource(resource).List(ctx, options)
		} else {
			list, err = c.dynamic.Resource(resource).Namespace(query.Namespace).List(ctx, options)
		}
		if err != nil {
			return all, &Problem{verb: "list", resource: resource, namespace: query.Namespace, cause: err}
		}
		for n := range list.Items {
			item, err := decode[T](&list.Items[n])
			if err != nil {
				return all, fmt.Errorf("reading the %s %s: %w", list.Items[n].GetKind(), list.Items[n].GetName(), err)
			}
			all.Items = append(all.Items, *item)
		}
		if page = list.GetContinue(); page == "" {
			return all, nil
		}
		if len(all.Items) >= MaxItems {
			all.More = true
			return all, nil
		}
	}
}

// Get reads one object.
func Get[T any](ctx context.Context, c *Caller, resource schema.GroupVersionResource, namespace, name string) (*T, error) {
	var object *unstructured.Unstructured
	var err error
	if namespace == "" {
		object, err = c.dynamic.Resource(resource).Get(ctx, name, metav1.GetOptions{})
	} else {
		object, err = c.dynamic.Resource(resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	}
	if err != nil {
		return nil, &Problem{verb: "get", resource: resource, namespace: namespace, name: name, cause: err}
	}
	return decode[T](object)
}

// decode goes by JSON: the converter of apimachinery knows neither types that read themselves from text, nor fields by another case.
func decode[T any](object *unstructured.Unstructured) (*T, error) {
	unstructured.RemoveNestedField(object.Object, "metadata", "managedFields")
	raw, err := object.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var item T
	if err := json.Unmarshal(raw, &item); err != nil {
		return nil, err
	}
	return &item, nil
}

// Problem is why something could not be read, for people.
type Problem struct {
	verb      string
	resource  schema.GroupVersionResource
	namespace string
	name      string
	cause     error
}

// Unwrap gives the cause.
func (p *Problem) Unwrap() error { return p.cause }

// Error says what is to be done.
func (p *Problem) Error() string {
	what := p.resource.Resource
	if p.resource.Group != "" {
		what += "." + p.resource.Group
	}
	where := ""
	if p.namespace != "" {
		where = " in " + p.namespace
	}
	switch {
	case apierrors.IsForbidden(p.cause):
		return fmt.Sprintf("You may not %s %s%s. Ask for the verb %s on them; portcullis-console roles prints roles that have it.", p.verb, what, where, p.verb)
	case apierrors.IsUnauthorized(p.cause):
		return "Your token is not taken any more. Log in again."
	case apierrors.IsNotFound(p.cause) && p.name != "":
		return fmt.Sprintf("There is no %s %s%s.", what, p.name, where)
	case apierrors.IsNotFound(p.cause):
		return fmt.Sprintf("This cluster has no %s: what keeps them is not installed.", what)
	}
	return fmt.Sprintf("Reading %s%s failed: %v. Try again.", what, where, p.cause)
}

// NotInstalled says whether an error is that of a resource that the cluster does not serve.
func NotInstalled(err error) bool {
	p, ok := err.(*Problem) //nolint:errorlint // only Get and List make it, and nobody wraps it
	return ok && p.name == "" && apierrors.IsNotFound(p.cause)
}

// Forbidden says whether the caller has not the right.
func Forbidden(err error) bool { return apierrors.IsForbidden(err) }

// LoggedOut says whether the API server does not take the token.
func LoggedOut(err error) bool { return apierrors.IsUnauthorized(err) }

// NotFound says whether something is not there.
func NotFound(err error) bool { return apierrors.IsNotFound(err) }

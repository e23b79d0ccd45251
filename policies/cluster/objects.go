package cluster

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// callTimeout bounds one read or write of an object. A part of a revision has at most a megabyte.
const callTimeout = 15 * time.Second

// objects reads and writes the objects of a cluster.
type objects struct{ client dynamic.Interface }

func newObjects(config *rest.Config) (*objects, error) {
	config = rest.CopyConfig(config)
	// The parts of a revision, and one object every few seconds.
	config.QPS, config.Burst = 50, 100
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the cluster: %w", err)
	}
	return &objects{client: client}, nil
}

// stored reads a revision as it was stored, and when that was: the API server says so of each object, and nobody else
// can. Its parts are put together, and nothing of what they say is trusted but how many they are.
func (o *objects) stored(ctx context.Context, digest string) (content []byte, at time.Time, err error) {
	var whole bytes.Buffer
	parts := int32(1)
	for part := int32(0); part < parts; part++ {
		name, err := v1alpha1.RevisionName(digest, part)
		if err != nil {
			return nil, at, err
		}
		revision, err := o.part(ctx, name)
		if err != nil {
			return nil, at, err
		}
		if created := revision.CreationTimestamp.Time; created.After(at) {
			at = created
		}
		spec := &revision.Spec
		switch {
		case spec.Digest != digest || spec.Part != part || part > 0 && spec.Parts != parts:
			return nil, at, fmt.Errorf("reading the PolicyRevision %s: it is part %d of %d of %.80q: have the controller store the revision again", name, spec.Part, spec.Parts, spec.Digest)
		case spec.Parts < 1 || spec.Parts > v1alpha1.MaxParts || len(spec.Data) > v1alpha1.MaxPart:
			return nil, at, fmt.Errorf("reading the PolicyRevision %s: it has %d bytes, of %d parts, and the limits are %d and %d: have the controller store the revision again", name, len(spec.Data), spec.Parts, v1alpha1.MaxPart, v1alpha1.MaxParts)
		}
		parts = spec.Parts
		whole.Write(spec.Data)
	}
	return whole.Bytes(), at, nil
}

func (o *objects) part(ctx context.Context, name string) (*v1alpha1.PolicyRevision, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	object, err := o.client.Resource(v1alpha1.Revisions).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the PolicyRevision %s: %w", name, err)
	}
	var revision v1alpha1.PolicyRevision
	if err := decode(object, &revision); err != nil {
		return nil, err
	}
	return &revision, nil
}

// bundles lists all PolicyBundles.
func (o *objects) bundles(ctx context.Context) ([]v1alpha1.PolicyBundle, error) {
	return list[v1alpha1.PolicyBundle](ctx, o.client.Resource(v1alpha1.Bundles), "PolicyBundles")
}

// exceptions lists all PolicyExceptions.
func (o *objects) exceptions(ctx context.Context) ([]v1alpha1.PolicyException, error) {
	return list[v1alpha1.PolicyException](ctx, o.client.Resource(v1alpha1.Exceptions), "PolicyExceptions")
}

func list[T any](ctx context.Context, from dynamic.ResourceInterface, what string) ([]T, error) {
	found, err := from.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", what, err)
	}
	all := make([]T, len(found.Items))
	for n := range found.Items {
		if err := decode(&found.Items[n], &all[n]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func decode(object *unstructured.Unstructured, into any) error {
	if err := k8sruntime.DefaultUnstructuredConverter.FromUnstructured(object.Object, into); err != nil {
		return fmt.Errorf("reading the %s %s: %w", object.GetKind(), object.GetName(), err)
	}
	return nil
}

package registration

import (
	"context"
	"crypto/x509"
	"fmt"
	"strconv"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/admission/webhook/configuration"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// inspection is one look.
type inspection struct {
	client dynamic.Interface
	place  Place
	state  *State
}

func inspect(ctx context.Context, client dynamic.Interface, place Place, now time.Time) (*State, error) {
	if place.Name == "" {
		place.Name = configuration.DefaultName
	}
	if place.Namespace == "" {
		place.Namespace = v1alpha1.DefaultNamespace
	}
	i := &inspection{client: client, place: place, state: &State{}}
	annotation, err := i.configurations(ctx)
	if err != nil {
		return nil, err
	}
	var window *window
	var lease coordinationv1.Lease
	switch found, err := i.read(ctx, leaseResource, place.Namespace, leaseName(place.Name), &lease); {
	case err != nil:
		return nil, err
	case found:
		m := decodeMemory(&lease)
		window = m.window
		i.state.Since, i.state.Uninstalled = m.since, m.uninstalled
	}
	glasses, err := i.glasses(ctx)
	if err != nil {
		return nil, err
	}
	missing := i.state.Validating == nil || i.state.Mutating == nil
	i.state.BreakGlass, _, _ = openingsOf(now, glasses, annotation, i.annotator(), missing, window)
	for name, into := range map[string]**Certificate{AuthoritySecret: &i.state.Authority, ServingSecret: &i.state.Leaf} {
		if *into, err = i.certificate(ctx, name); err != nil {
			return nil, err
		}
	}
	return i.state, nil
}

// read reads an object, and says whether it is there. What the caller may not read is noted.
func (i *inspection) read(ctx context.Context, resource schema.GroupVersionResource, namespace, name string, into any) (bool, error) {
	var of dynamic.ResourceInterface = i.client.Resource(resource)
	if namespace != "" {
		of = i.client.Resource(resource).Namespace(namespace)
	}
	found, err := of.Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case apierrors.IsForbidden(err):
		i.state.Unread = append(i.state.Unread, err)
		return false, nil
	case err != nil:
		return false, fmt.Errorf("reading %s %s: %w", resource.Resource, name, err)
	}
	if err := k8sruntime.DefaultUnstructuredConverter.FromUnstructured(found.Object, into); err != nil {
		return false, fmt.Errorf("reading %s %s: %w", resource.Resource, name, err)
	}
	return true, nil
}

// configurations reads both, and gives the annotation that breaks the glass.
func (i *inspection) configurations(ctx context.Context) (annotation string, err error) {
	var v admissionregistrationv1.ValidatingWebhookConfiguration
	found, err := i.read(ctx, validatingConfigurations, "", i.place.Name, &v)
	if err != nil {
		return "", err
	}
	if found {
		i.state.Validating = registeredOf(ofValidating(&v))
		annotation = v.Annotations[v1alpha1.BreakGlassUntilAnnotation]
	}
	var m admissionregistrationv1.MutatingWebhookConfiguration
	if found, err = i.read(ctx, mutatingConfigurations, "", i.place.Name, &m); err != nil {
		return "", err
	}
	if found {
		i.state.Mutating = registeredOf(ofMutating(&m))
		if value := m.Annotations[v1alpha1.BreakGlassUntilAnnotation]; value != "" {
			annotation = value
		}
	}
	return annotation, nil
}

func (i *inspection) annotator() string {
	for _, one := range []*Registered{i.state.Validating, i.state.Mutating} {
		if one != nil && one.ChangedBy != "" {
			return one.ChangedBy
		}
	}
	return "unknown"
}

func registeredOf(c *configured) *Registered {
	made := &Registered{Name: c.meta.Name, Controlled: c.meta.Labels["app.kubernetes.io/managed-by"] == ManagedBy, SameCA: true}
	made.ChangedBy, made.ChangedAt = changedBy(&c.meta, "")
	for n := range c.entries {
		w := &c.entries[n]
		made.Entries = append(made.Entries, w.Name)
		if failsClosed(w.Name) && (w.FailurePolicy == nil || *w.FailurePolicy != admissionregistrationv1.Fail) {
			made.FailOpen = append(made.FailOpen, w.Name)
		}
		if string(w.ClientConfig.CABundle) != string(c.entries[0].ClientConfig.CABundle) {
			made.SameCA = false
		}
		if s := w.ClientConfig.Service; s != nil {
			port := int32(443)
			if s.Port != nil {
				port = *s.Port
			}
			made.Service = s.Namespace + "/" + s.Name + ":" + strconv.Itoa(int(port))
		} else if w.ClientConfig.URL != nil {
			made.URL = *w.ClientConfig.URL
		}
	}
	for _, one := range c.authorities() {
		made.CA = append(made.CA, *certificateOf(one))
	}
	return made
}

func certificateOf(one *x509.Certificate) *Certificate {
	return &Certificate{Subject: one.Subject.String(), NotBefore: one.NotBefore, NotAfter: one.NotAfter}
}

func (i *inspection) glasses(ctx context.Context) ([]v1alpha1.BreakGlass, error) {
	list, err := i.client.Resource(v1alpha1.BreakGlasses).List(ctx, metav1.ListOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case apierrors.IsForbidden(err):
		i.state.Unread = append(i.state.Unread, err)
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading the BreakGlasses: %w", err)
	}
	return glassesOf(list.Items), nil
}

// glassesOf are those that can be read: the schema refuses others.
func glassesOf(items []unstructured.Unstructured) []v1alpha1.BreakGlass {
	var all []v1alpha1.BreakGlass
	for n := range items {
		var one v1alpha1.BreakGlass
		if k8sruntime.DefaultUnstructuredConverter.FromUnstructured(items[n].Object, &one) == nil {
			all = append(all, one)
		}
	}
	return all
}

func (i *inspection) certificate(ctx context.Context, name string) (*Certificate, error) {
	var secret corev1.Secret
	found, err := i.read(ctx, secretResource, i.place.Namespace, name, &secret)
	if err != nil || !found {
		return nil, err
	}
	leaf := decodeLeaf(&secret)
	if leaf == nil {
		i.state.Unread = append(i.state.Unread, fmt.Errorf("the Secret %s/%s holds no certificate with its key", i.place.Namespace, name))
		return nil, nil
	}
	return certificateOf(leaf), nil
}

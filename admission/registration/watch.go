package registration

import (
	"context"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// The kinds that are kept, and those that are read.
var (
	validatingConfigurations = admissionregistrationv1.SchemeGroupVersion.WithResource("validatingwebhookconfigurations")
	mutatingConfigurations   = admissionregistrationv1.SchemeGroupVersion.WithResource("mutatingwebhookconfigurations")
	secretResource           = corev1.SchemeGroupVersion.WithResource("secrets")
	leaseResource            = coordinationv1.SchemeGroupVersion.WithResource("leases")
	sliceResource            = discoveryv1.SchemeGroupVersion.WithResource("endpointslices")
)

// watched is something whose changes are a reason to look.
type watched struct {
	resource  schema.GroupVersionResource
	namespace string
	name      string // by a field selector, so that a role can be limited to it
	label     string
}

func (r *Registration) watches() []watched {
	in := r.options.Service.Namespace
	return []watched{
		{resource: validatingConfigurations, name: r.options.Name},
		{resource: mutatingConfigurations, name: r.options.Name},
		{resource: secretResource, namespace: in, name: AuthoritySecret},
		{resource: secretResource, namespace: in, name: ServingSecret},
		{resource: leaseResource, namespace: in, name: r.leaseName()},
		{resource: sliceResource, namespace: in, label: discoveryv1.LabelServiceName + "=" + r.options.Service.Name},
		{resource: v1alpha1.BreakGlasses},
	}
}

// watch has a turn taken whenever something changes that a turn reads. Only metadata are watched: a turn reads what it needs as it
// is then, and no Secret lies in memory for this.
func (r *Registration) watch(ctx context.Context) (stop func(), err error) {
	config := rest.CopyConfig(r.options.Config)
	config.UserAgent = ManagedBy + "/registration"
	client, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the cluster: %w", err)
	}
	ctx, end := context.WithCancel(ctx)
	done := make(chan struct{})
	watches, running := r.watches(), 0
	for _, w := range watches {
		informer := metadatainformer.NewFilteredMetadataInformer(client, w.resource, w.namespace, 0, cache.Indexers{}, func(o *metav1.ListOptions) {
			o.LabelSelector = w.label
			if w.name != "" {
				o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, w.name).String()
			}
		}).Informer()
		_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { r.poke() },
			UpdateFunc: func(any, any) { r.poke() },
			DeleteFunc: func(object any) { r.noteDeleted(w.resource, object); r.poke() },
		})
		if err == nil {
			// What cannot be watched, such as a kind that is not served yet, is looked at on every turn, and the reason said there.
			err = informer.SetWatchErrorHandlerWithContext(func(context.Context, *cache.Reflector, error) {})
		}
		if err != nil {
			end()
			return nil, fmt.Errorf("watching %s: %w", w.resource.Resource, err)
		}
		running++
		go func() { informer.RunWithContext(ctx); done <- struct{}{} }()
	}
	return func() {
		end()
		for range running {
			<-done
		}
	}, nil
}

// noteDeleted keeps what a configuration said when it was deleted: whoever annotates it and deletes it wants it gone until then.
func (r *Registration) noteDeleted(resource schema.GroupVersionResource, object any) {
	if resource != validatingConfigurations && resource != mutatingConfigurations {
		return
	}
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	meta, ok := object.(metav1.Object)
	if !ok {
		return
	}
	if until := meta.GetAnnotations()[v1alpha1.BreakGlassUntilAnnotation]; until != "" {
		r.mu.Lock()
		r.deleted = until
		r.mu.Unlock()
	}
}

func (r *Registration) takeDeleted() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	until := r.deleted
	r.deleted = ""
	return until
}

// keepDeleted has the next turn see what this one could not write down.
func (r *Registration) keepDeleted(until string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deleted == "" {
		r.deleted = until
	}
}

package quarantine

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"

	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// policySettles is how long changes of network policies are gathered before what they may concern is proved anew: whoever applies ten of
// them means all ten.
const policySettles = time.Second

// watch has quarantines settled when they change, when their pods do, and when network policies do. It gives how to end that.
func (c *Controller) watch(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	stops := []func(){c.watchQuarantines(ctx)}
	if client, err := metadata.NewForConfig(c.o.Config); err != nil {
		c.log.Error("watching pods and network policies: proofs are repeated by the clock only", "error", err)
	} else {
		stops = append(stops, c.watchPods(ctx, client), c.watchPolicies(ctx, client))
	}
	return func() {
		cancel()
		for _, one := range stops {
			one()
		}
	}
}

func (c *Controller) watchQuarantines(ctx context.Context) (stop func()) {
	factory := dynamicinformer.NewDynamicSharedInformerFactory(c.dynamic, 0)
	informer := factory.ForResource(v1alpha1.Quarantines).Informer()
	c.mu.Lock()
	c.informer = informer
	c.mu.Unlock()
	changed := func(object any) {
		if o, ok := last(object).(*unstructured.Unstructured); ok && !idle(o) {
			c.queue.Add(o.GetName())
		}
	}
	// The error is of an informer that has stopped, which this one has not.
	_, _ = informer.AddEventHandler(handler(changed))
	factory.Start(ctx.Done())
	c.o.Metrics.counts(func() map[counted]int { return census(informer.GetStore()) })
	return factory.Shutdown
}

// idle says that nothing is to be done about a Quarantine: most of those that there are have been over for long.
func idle(o *unstructured.Unstructured) bool {
	phase, _, _ := unstructured.NestedString(o.Object, "status", "phase")
	wanted, _, _ := unstructured.NestedInt64(o.Object, "spec", "reopened")
	reopened, _, _ := unstructured.NestedInt64(o.Object, "status", "reopened")
	_, released, _ := unstructured.NestedMap(o.Object, "spec", "release")
	return v1alpha1.Phase(phase).Over() && wanted == reopened && !(released && phase == string(v1alpha1.PhaseAudited))
}

// watchPods follows the pods in quarantine, and no others: the label is what the API server selects by, so that one that loses it is
// told of as deleted.
func (c *Controller) watchPods(ctx context.Context, client metadata.Interface) (stop func()) {
	factory := metadatainformer.NewFilteredSharedInformerFactory(client, 0, metav1.NamespaceAll, func(o *metav1.ListOptions) { o.LabelSelector = v1alpha1.QuarantineLabel })
	_, _ = factory.ForResource(pods).Informer().AddEventHandler(handler(func(object any) {
		if o, ok := last(object).(*metav1.PartialObjectMetadata); ok {
			c.reprove(o.Labels[v1alpha1.QuarantineLabel])
		}
	}))
	factory.Start(ctx.Done())
	return factory.Shutdown
}

// watchPolicies follows the network policies of all APIs that the cluster serves now and a proof reads.
func (c *Controller) watchPolicies(ctx context.Context, client metadata.Interface) (stop func()) {
	factory := metadatainformer.NewSharedInformerFactory(client, 0)
	for _, resource := range served(c.kube.Discovery(), isolation.Resources()) {
		_, _ = factory.ForResource(resource).Informer().AddEventHandler(handler(func(object any) {
			o, ok := last(object).(*metav1.PartialObjectMetadata)
			switch {
			case !ok:
			case o.Name == v1alpha1.NetworkPolicyName(o.Labels[v1alpha1.QuarantineLabel]):
				c.reprove(o.Labels[v1alpha1.QuarantineLabel]) // it selects one pod, and concerns no other
			default:
				c.policyChanged(o.Namespace)
			}
		}))
	}
	factory.Start(ctx.Done())
	return factory.Shutdown
}

// served are those of some resources that the API server has. What cannot be found out is left out: proofs are repeated by the clock, too.
func served(client discovery.DiscoveryInterface, resources []schema.GroupVersionResource) []schema.GroupVersionResource {
	has := map[string]map[string]bool{}
	var found []schema.GroupVersionResource
	for _, resource := range resources {
		version := resource.GroupVersion().String()
		if has[version] == nil {
			has[version] = map[string]bool{}
			if list, err := client.ServerResourcesForGroupVersion(version); err == nil {
				for _, one := range list.APIResources {
					has[version][one.Name] = true
				}
			}
		}
		if has[version][resource.Resource] {
			found = append(found, resource)
		}
	}
	return found
}

// reprove has a quarantine proved anew, now.
func (c *Controller) reprove(name string) {
	if name == "" {
		return
	}
	c.mu.Lock()
	delete(c.proved, name)
	c.mu.Unlock()
	c.queue.Add(name)
}

// policyChanged has the quarantines of a namespace proved anew soon, or all where a policy has no namespace.
func (c *Controller) policyChanged(namespace string) {
	wait := policySettles
	for _, object := range c.informer.GetStore().List() {
		o, ok := object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		of, _, _ := unstructured.NestedString(o.Object, "spec", "pod", "namespace")
		phase, _, _ := unstructured.NestedString(o.Object, "status", "phase")
		if phase != string(v1alpha1.PhaseContained) || namespace != "" && of != namespace {
			continue
		}
		c.mu.Lock()
		delete(c.proved, o.GetName())
		c.mu.Unlock()
		c.queue.AddAfter(o.GetName(), wait)
		wait += policySettles / 10 // one after the other
	}
}

// census counts quarantines by phase and verdict.
func census(store cache.Store) map[counted]int {
	numbers := map[counted]int{}
	for _, object := range store.List() {
		o, ok := object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		phase, _, _ := unstructured.NestedString(o.Object, "status", "phase")
		verdict, _, _ := unstructured.NestedString(o.Object, "status", "verdict")
		if phase == "" {
			phase = string(v1alpha1.PhasePending)
		}
		numbers[counted{phase, verdict}]++
	}
	return numbers
}

func handler(changed func(any)) cache.ResourceEventHandlerFuncs {
	return cache.ResourceEventHandlerFuncs{AddFunc: changed, UpdateFunc: func(_, now any) { changed(now) }, DeleteFunc: changed}
}

// last is an object as it was last seen.
func last(object any) any {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		return gone.Obj
	}
	return object
}

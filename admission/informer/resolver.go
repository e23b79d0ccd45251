package informer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// resolved is how the API server serves a resource.
type resolved struct {
	resource schema.GroupVersionResource
	kind     string
}

// resolver finds out how a resource is served; nil where it is not.
type resolver interface {
	resolve(ctx context.Context, resource schema.GroupResource) (*resolved, error)
}

// discoveryResolver asks discovery. All kinds ask when the webhook starts, so an
// answer is good for a moment.
type discoveryResolver struct {
	client discovery.DiscoveryInterfaceWithContext

	mu      sync.Mutex
	asked   time.Time
	groups  []*metav1.APIGroup
	lists   []*metav1.APIResourceList
	failure error
}

const discoveryFresh = 2 * time.Second

func (r *discoveryResolver) resolve(ctx context.Context, resource schema.GroupResource) (*resolved, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.asked) > discoveryFresh {
		r.groups, r.lists, r.failure = r.client.ServerGroupsAndResourcesWithContext(ctx)
		r.asked = time.Now()
	}
	return search(r.groups, r.lists, r.failure, resource)
}

// search prefers the version that the group prefers. A group whose discovery failed
// (its API service is down) may serve the resource for all we know.
func search(groups []*metav1.APIGroup, lists []*metav1.APIResourceList, failure error, resource schema.GroupResource) (*resolved, error) {
	if failed, partly := discovery.GroupDiscoveryFailedErrorGroups(failure); failure != nil && !partly {
		return nil, failure
	} else if partly {
		for version, err := range failed {
			if version.Group == resource.Group {
				return nil, fmt.Errorf("group %s does not answer: %w", version.Group, err)
			}
		}
	}
	var found *resolved
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil || version.Group != resource.Group {
			continue
		}
		for _, served := range list.APIResources {
			if served.Name != resource.Resource || !slices.Contains(served.Verbs, "list") || !slices.Contains(served.Verbs, "watch") {
				continue
			}
			if found == nil || preferred(groups, version) {
				found = &resolved{resource: version.WithResource(resource.Resource), kind: served.Kind}
			}
		}
	}
	return found, nil
}

func preferred(groups []*metav1.APIGroup, version schema.GroupVersion) bool {
	return slices.ContainsFunc(groups, func(group *metav1.APIGroup) bool {
		return group.Name == version.Group && group.PreferredVersion.GroupVersion == version.String()
	})
}

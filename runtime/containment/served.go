package containment

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"github.com/portcullis-dev/portcullis/runtime/isolation"
)

// served is what the API server was seen to serve.
type served struct {
	at        time.Time
	resources map[schema.GroupVersionResource]bool
	kinds     map[schema.GroupVersionKind]schema.GroupVersionResource
	failed    map[schema.GroupVersion]error // of these it could not be found out
}

// servedFor is how long that counts: the definitions of a network plugin come with the plugin, which is not installed every day.
const servedFor = 5 * time.Minute

// look finds out what the cluster serves, if that is not known or too old.
func (c *Cluster) look(ctx context.Context) (*served, error) {
	c.mu.Lock()
	known := c.served
	c.mu.Unlock()
	if known != nil && c.now().Sub(known.at) < servedFor {
		return known, nil
	}
	return c.lookAgain(ctx)
}

// lookAgain finds it out in any case.
func (c *Cluster) lookAgain(ctx context.Context) (*served, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found := &served{at: c.now(), resources: map[schema.GroupVersionResource]bool{}, kinds: map[schema.GroupVersionKind]schema.GroupVersionResource{}, failed: map[schema.GroupVersion]error{}}
	_, lists, err := c.discover.ServerGroupsAndResources()
	var partial *discovery.ErrGroupDiscoveryFailed
	switch {
	case errors.As(err, &partial):
		found.failed = partial.Groups
	case err != nil:
		return nil, fmt.Errorf("finding out what the cluster serves: %w", err)
	}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for _, resource := range list.APIResources {
			if strings.Contains(resource.Name, "/") {
				continue
			}
			found.resources[version.WithResource(resource.Name)] = true
			found.kinds[version.WithKind(resource.Kind)] = version.WithResource(resource.Name)
		}
	}
	c.mu.Lock()
	c.served = found
	c.mu.Unlock()
	return found, nil
}

// wellKnown are the owners of pods that every cluster has: of these nobody has to be asked.
var wellKnown = map[schema.GroupKind]schema.GroupVersionResource{
	{Group: "apps", Kind: "Deployment"}:        {Group: "apps", Version: "v1", Resource: "deployments"},
	{Group: "apps", Kind: "ReplicaSet"}:        {Group: "apps", Version: "v1", Resource: "replicasets"},
	{Group: "apps", Kind: "StatefulSet"}:       {Group: "apps", Version: "v1", Resource: "statefulsets"},
	{Group: "apps", Kind: "DaemonSet"}:         {Group: "apps", Version: "v1", Resource: "daemonsets"},
	{Group: "batch", Kind: "Job"}:              {Group: "batch", Version: "v1", Resource: "jobs"},
	{Group: "batch", Kind: "CronJob"}:          {Group: "batch", Version: "v1", Resource: "cronjobs"},
	{Group: "", Kind: "ReplicationController"}: {Version: "v1", Resource: "replicationcontrollers"},
}

// resourceOf is the resource of a kind.
func (c *Cluster) resourceOf(group, version, kind string) (schema.GroupVersionResource, error) {
	if known, ok := wellKnown[schema.GroupKind{Group: group, Kind: kind}]; ok {
		return known, nil
	}
	found, err := c.look(context.Background())
	if err != nil {
		return schema.GroupVersionResource{}, err
	}
	if resource, ok := found.kinds[schema.GroupVersionKind{Group: group, Version: version, Kind: kind}]; ok {
		return resource, nil
	}
	return schema.GroupVersionResource{}, fmt.Errorf("the cluster serves no %s of %s/%s", kind, group, version)
}

// policies are the resources that a proof reads and that are served: of each kind one version, the first in isolation's order. It is an error if
// of one of them it could not be found out: then what it allows is not known.
func (s *served) policies() ([]schema.GroupVersionResource, error) {
	var all []schema.GroupVersionResource
	seen := map[schema.GroupResource]bool{}
	for _, resource := range isolation.Resources() {
		same := schema.GroupResource{Group: strings.TrimPrefix(resource.Group, "crd."), Resource: resource.Resource}
		if seen[same] {
			continue
		}
		if err := s.failed[resource.GroupVersion()]; err != nil {
			return nil, fmt.Errorf("finding out what the cluster serves of %s: %w", resource.GroupVersion(), err)
		}
		if s.resources[resource] {
			seen[same] = true
			all = append(all, resource)
		}
	}
	return all, nil
}

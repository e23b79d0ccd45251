package stored

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"github.com/portcullis-dev/portcullis/admission/audit"
	"github.com/portcullis-dev/portcullis/policies"
)

// Kind is a resource as the API server serves it.
type Kind struct {
	Group, Version, Kind, Resource string
	Namespaced                     bool
	// Watchable says that changes can be followed.
	Watchable bool
}

// GroupResource is "deployments.apps".
func (k Kind) GroupResource() string {
	return audit.Reference{Group: k.Group, Resource: k.Resource}.GroupResource()
}

// path is where the API server lists the kind, of one namespace or of all for "".
func (k Kind) path(namespace string) string {
	path := "/apis/" + k.Group + "/" + k.Version
	if k.Group == "" {
		path = "/api/" + k.Version
	}
	if namespace != "" {
		path += "/namespaces/" + namespace
	}
	return path + "/" + k.Resource
}

// Kinds are the kinds whose creation policies are about and that the API server serves, each in the version that it prefers,
// sorted so that owners come before what they own. A group whose server does not answer is a gap if policies are about it.
func (c *Client) Kinds(ctx context.Context, interests []policies.Interest) ([]Kind, []audit.Gap, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	groups, lists, err := c.discovery.ServerGroupsAndResourcesWithContext(ctx)
	failed, partly := discovery.GroupDiscoveryFailedErrorGroups(err)
	if err != nil && !partly {
		return nil, nil, fmt.Errorf("asking the API server what it serves: %w", err)
	}
	wanted := map[schema.GroupResource]bool{}
	for _, interest := range interests {
		if interest.Operation == "CREATE" && interest.Validates && !strings.Contains(interest.Resource, "/") {
			wanted[schema.GroupResource{Group: interest.Group, Resource: interest.Resource}] = true
		}
	}
	found := map[schema.GroupResource]Kind{}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for _, served := range list.APIResources {
			name := schema.GroupResource{Group: version.Group, Resource: served.Name}
			if _, known := found[name]; !wanted[name] || !slices.Contains(served.Verbs, "list") || known && !prefers(groups, version) {
				continue
			}
			found[name] = Kind{version.Group, version.Version, served.Kind, served.Name, served.Namespaced, slices.Contains(served.Verbs, "watch")}
		}
	}
	var gaps []audit.Gap
	for version, err := range failed {
		for name := range wanted {
			if _, known := found[name]; !known && name.Group == version.Group {
				gaps = append(gaps, audit.Gap{What: name.String(), Reason: fmt.Sprintf("its server does not answer (%v): see kubectl get apiservices", err)})
			}
		}
	}
	var kinds []Kind
	for _, kind := range found {
		kinds = append(kinds, kind)
	}
	slices.SortFunc(kinds, compareKinds)
	slices.SortFunc(gaps, func(a, b audit.Gap) int {
		return cmp.Or(strings.Compare(a.What, b.What), strings.Compare(a.Reason, b.Reason))
	})
	return kinds, slices.CompactFunc(gaps, func(a, b audit.Gap) bool { return a.What == b.What }), nil
}

func prefers(groups []*metav1.APIGroup, version schema.GroupVersion) bool {
	return slices.ContainsFunc(groups, func(group *metav1.APIGroup) bool {
		return group.Name == version.Group && group.PreferredVersion.GroupVersion == version.String()
	})
}

func compareKinds(a, b Kind) int {
	return audit.CompareOrder(audit.Reference{Group: a.Group, Resource: a.Resource}, audit.Reference{Group: b.Group, Resource: b.Resource})
}

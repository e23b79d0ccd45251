package workload

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// podResources writes spec.resources (KEP-2837). As the API server does, requests
// missing beside limits default to what the containers request together, else to
// the limits.
func (b *builder) podResources() error {
	own := &b.spec.Resources
	path := b.paths.field(b.path, "resources")
	if len(own.Limits) == 0 {
		var err error
		b.out.Resources, err = b.resources(own, path)
		return err
	}
	filled := *own
	filled.Requests = append(quantities(nil), own.Requests...)
	for _, name := range []string{"cpu", "memory"} {
		if own.Requests.has(name) {
			continue
		}
		if sum, ok := b.requested(name); ok {
			filled.Requests = append(filled.Requests, namedQuantity{name, quantity(sum.String())})
		}
	}
	var err error
	b.out.Resources, err = b.resources(&filled, path)
	return err
}

// requested is what all containers need of a resource at once, by the rules of
// k8s.io/component-helpers/resource: containers and sidecars run together, each
// init container beside the sidecars before it.
func (b *builder) requested(name string) (total resource.Quantity, ok bool) {
	var sidecars, most resource.Quantity
	for i := range b.containers {
		c := &b.containers[i]
		text, found := c.Resources.request(name)
		if !found || c.role == RoleEphemeral || b.syntax.isOpen(string(text)) {
			continue
		}
		q, err := parseQuantity(text)
		if err != nil {
			continue // reported with its path when the container is read
		}
		ok = true
		switch c.role {
		case RoleApp:
			total.Add(q)
		case RoleSidecar:
			sidecars.Add(q)
			total.Add(q)
			q = sidecars.DeepCopy()
		default:
			q.Add(sidecars)
		}
		if c.role != RoleApp && q.Cmp(most) > 0 {
			most = q
		}
	}
	if most.Cmp(total) > 0 {
		total = most
	}
	return total, ok
}

// request is what a container requests, defaulted to its limit.
func (r *resources) request(name string) (quantity, bool) {
	for _, list := range []quantities{r.Requests, r.Limits} {
		for _, n := range list {
			if n.name == name && strings.TrimSpace(string(n.value)) != "" {
				return n.value, true
			}
		}
	}
	return "", false
}

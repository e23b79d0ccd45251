package workload

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// podResources writes spec.resources (KEP-2837) with the API server's defaults,
// which it sets only where the manifest sets something: huge pages are limited to
// what the containers are; requests missing beside limits are what the containers
// request together, else the limits.
func (b *builder) podResources() error {
	filled := b.spec.Resources
	if len(filled.Limits)+len(filled.Requests) > 0 {
		filled.Limits = b.filled(filled.Limits, b.hugePages())
	}
	if len(filled.Limits) > 0 {
		filled.Requests = b.filled(filled.Requests, []string{"cpu", "memory"})
	}
	var err error
	b.out.Resources, err = b.resources(&filled, b.paths.field(b.path, "resources"))
	return err
}

// filled adds what the containers request of some resources where the list lacks them.
func (b *builder) filled(list quantities, names []string) quantities {
	out := append(quantities(nil), list...)
	for _, name := range names {
		if list.has(name) {
			continue
		}
		if sum, ok := b.requested(name); ok {
			out = append(out, namedQuantity{name, quantity(sum.String())})
		}
	}
	return out
}

// hugePages are the names of the huge page resources the containers are limited in.
func (b *builder) hugePages() []string {
	var names []string
	for i := range b.containers {
		for _, n := range b.containers[i].Resources.Limits {
			if strings.HasPrefix(n.name, "hugepages-") && !slices.Contains(names, n.name) {
				names = append(names, n.name)
			}
		}
	}
	return names
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

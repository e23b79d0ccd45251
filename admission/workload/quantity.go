package workload

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// parseQuantity reads a quantity by Kubernetes' own rules.
func parseQuantity(text quantity) (resource.Quantity, error) {
	q, err := resource.ParseQuantity(strings.TrimSpace(string(text)))
	if err != nil {
		return q, fmt.Errorf("%q is no quantity; write a number with a unit, such as 500m, 1 or 64Mi", abbreviate(string(text)))
	}
	return q, nil
}

// milli is the value in thousandths, rounded away from zero; beyond 64 bits the
// largest, where [resource.Quantity.MilliValue] is undefined.
func milli(q resource.Quantity) int64 {
	switch {
	case q.Sign() < 0: // their values are wrong in part; the API server refuses them
		q = q.DeepCopy()
		q.Neg()
		return -milli(q)
	case q.CmpInt64(math.MaxInt64/1000) >= 0:
		return math.MaxInt64
	}
	return q.MilliValue()
}

// whole is the value, rounded away from zero; beyond 64 bits the largest.
func whole(q resource.Quantity) int64 {
	switch {
	case q.Sign() < 0:
		q = q.DeepCopy()
		q.Neg()
		return -whole(q)
	case q.CmpInt64(math.MaxInt64) >= 0:
		return math.MaxInt64
	}
	return q.Value()
}

// resources writes a container's or pod's resources, requests defaulted to limits.
func (b *builder) resources(r *resources, parent string) (Resources, error) {
	out := Resources{Claims: make([]string, 0, len(r.Claims))}
	for _, claim := range r.Claims {
		out.Claims = append(out.Claims, claim.Name)
	}
	var err error
	if out.Limits, err = b.resourceList(parent, "limits", r.Limits, nil); err != nil {
		return out, err
	}
	out.Requests, err = b.resourceList(parent, "requests", r.Requests, r.Limits)
	return out, err
}

// resourceList writes a list, with what it lacks from defaults. Paths name the
// field of the list even where a default stands: it is where the value ought to be,
// and where the API server puts it.
func (b *builder) resourceList(parent, field string, own, defaults quantities) (ResourceList, error) {
	list := ResourceList{Extended: []ExtendedResource{}}
	for _, n := range own {
		if err := b.addResource(&list, n, parent, field); err != nil {
			return list, err
		}
	}
	for _, n := range defaults {
		if own.has(n.name) {
			continue
		}
		if err := b.addResource(&list, n, parent, field); err != nil {
			return list, err
		}
	}
	slices.SortFunc(list.Extended, func(a, b ExtendedResource) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func (b *builder) addResource(list *ResourceList, n namedQuantity, parent, field string) error {
	if b.syntax.isOpen(string(n.value)) {
		return nil // listed in Unresolved
	}
	q, err := parseQuantity(n.value)
	if err != nil {
		return fmt.Errorf("reading %s: %w", b.paths.key(parent, field, n.name), err)
	}
	switch n.name {
	case "cpu":
		list.CPU = &MilliQuantity{q.String(), milli(q)}
	case "memory":
		list.Memory = &Quantity{q.String(), whole(q)}
	case "ephemeral-storage":
		list.EphemeralStorage = &Quantity{q.String(), whole(q)}
	default:
		list.Extended = append(list.Extended,
			ExtendedResource{n.name, q.String(), whole(q), b.paths.key(parent, field, n.name)})
	}
	return nil
}

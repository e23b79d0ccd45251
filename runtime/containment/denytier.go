package containment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/portcullis-dev/portcullis/runtime/isolation"
)

// tiers are the APIs with a deny that stands before NetworkPolicies, best first.
func tiers() []isolation.API {
	return []isolation.API{isolation.ClusterNetworkPolicy, isolation.AdminNetworkPolicy, isolation.CiliumClusterwideNetworkPolicy, isolation.GlobalNetworkPolicy}
}

// Setup finds out what the cluster offers and installs the standing deny in each API that can hold one, so that to isolate a pod is to label it. It is
// called at the start and now and then; what is there and as it must be is left alone. Where it fails for one API the
// others have theirs.
func (c *Cluster) Setup(ctx context.Context) error {
	found, err := c.lookAgain(ctx)
	if err != nil {
		return err
	}
	if c.options.CNI == "" {
		if cni := c.findProvider(ctx); cni == "" {
			c.log.WarnContext(ctx, "the provider of the network is not known, so at best isolation is Unverified; name it by a flag")
		}
	}
	var problems []error
	var installed []string
	for _, api := range tiers() {
		object, resource := isolation.DenyTier(api)
		if resource.Empty() || !found.resources[resource] {
			continue
		}
		if err := c.ensureTier(ctx, object, resource); err != nil {
			problems = append(problems, fmt.Errorf("installing the standing deny as %s: %w", api, err))
			continue
		}
		installed = append(installed, string(api))
	}
	if len(installed) == 0 {
		c.log.InfoContext(ctx, "the cluster has no API for a deny before all network policies: a pod is isolated by a policy of its own, and by taking its labels off")
	} else {
		c.log.InfoContext(ctx, "the standing deny is installed", "apis", installed)
	}
	return errors.Join(problems...)
}

// ensureTier creates a standing deny, or puts it right. An API of the standard channel of network-policy-api knows no networks as peers of
// AdminNetworkPolicy: there the deny is about pods alone, and what remains with addresses outside is for the policy of the quarantine. The
// proof tells.
func (c *Cluster) ensureTier(ctx context.Context, object isolation.Object, resource schema.GroupVersionResource) error {
	var wanted unstructured.Unstructured
	if err := json.Unmarshal(object, &wanted.Object); err != nil {
		return fmt.Errorf("decoding it: %w", err)
	}
	err := c.ensureDeny(ctx, &wanted, resource)
	if apierrors.IsInvalid(err) && withoutNetworks(wanted.Object) {
		c.log.WarnContext(ctx, "the standing deny is about pods alone: the API knows no networks as peers", "resource", resource.String(), "error", err)
		return c.ensureDeny(ctx, &wanted, resource)
	}
	return err
}

// withoutNetworks takes the peers that are networks from what egress denies, and says whether there were some.
func withoutNetworks(object map[string]any) (some bool) {
	rules, _, _ := unstructured.NestedSlice(object, "spec", "egress")
	for _, rule := range rules {
		fields, _ := rule.(map[string]any)
		peers, _ := fields["to"].([]any)
		kept := slices.DeleteFunc(peers, func(peer any) bool {
			of, _ := peer.(map[string]any)
			_, networks := of["networks"]
			return networks
		})
		some = some || len(kept) < len(peers)
		if fields != nil {
			fields["to"] = kept
		}
	}
	if some {
		some = unstructured.SetNestedSlice(object, rules, "spec", "egress") == nil
	}
	return some
}

// ensureDeny creates one object, or puts it right. One of its name that is not ours is not touched.
func (c *Cluster) ensureDeny(ctx context.Context, wanted *unstructured.Unstructured, resource schema.GroupVersionResource) error {
	_, err := c.client.Resource(resource).Create(ctx, wanted, metav1.CreateOptions{FieldManager: actor})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	_, err = c.change(ctx, resource, "", wanted.GetName(), "", func(have *unstructured.Unstructured) ([]operation, error) {
		if !slices.ContainsFunc(have.GetManagedFields(), managed) {
			return nil, fmt.Errorf("%s is somebody else's: rename it", wanted.GetName())
		}
		// What the API server has filled in beside what was written stays.
		if covers(have.Object["spec"], wanted.Object["spec"]) {
			return nil, nil
		}
		return []operation{{Op: "replace", Path: "/spec", Value: wanted.Object["spec"]}}, nil
	})
	return err
}

// managed says whether the responder has written some of an object.
func managed(entry metav1.ManagedFieldsEntry) bool { return entry.Manager == actor }

// covers says whether an object has all that is wanted of it: lists are equal in length, maps may have fields with defaults.
func covers(have, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		held, ok := have.(map[string]any)
		if !ok {
			return len(want) == 0 && have == nil
		}
		for key, value := range want {
			if !covers(held[key], value) {
				return false
			}
		}
		return true
	case []any:
		held, ok := have.([]any)
		if !ok || len(held) != len(want) {
			return len(want) == 0 && have == nil
		}
		for n := range want {
			if !covers(held[n], want[n]) {
				return false
			}
		}
		return true
	default:
		return equality.Semantic.DeepEqual(number(have), number(want))
	}
}

// number makes numbers comparable: JSON that was decoded in two ways has two types of them.
func number(value any) any {
	if n, ok := value.(int64); ok {
		return float64(n)
	}
	return value
}

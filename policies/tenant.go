package policies

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// OwnPolicies are the ids of the policies that are the bundle's own, sorted: not those of a bundle that it includes.
func (b *Bundle) OwnPolicies() []string {
	var ids []string
	for id, policy := range b.Policies {
		if _, included := b.included[policy.File]; !included {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// CheckTenant says what keeps a bundle from being a tenant's, which judges some namespaces only: nil for nothing. All
// that it could see of others, and all by which its policies could be taken for others', is refused (CVE-2026-22039,
// CVE-2026-41068). That it judges nothing but its namespaces is up to whoever lets it judge.
func (b *Bundle) CheckTenant() error {
	var problems []error
	report := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	group := b.Manifest.Name + "/"
	for _, id := range b.OwnPolicies() {
		if !strings.HasPrefix(id, group) {
			report("policy %s: the policies of a tenant's bundle are in the group of its name, so that they are not taken for others': make it %s%s", id, group, lastSegment(id))
		}
	}
	for _, id := range b.configured() {
		if b.readsIncidents(b.Policies[id].module, map[*ast.Module]bool{}) {
			report("policy %s reads input.incidents, which are those of the whole cluster: leave it to the cluster's own bundle", id)
		}
		for _, read := range b.Policies[id].Reads {
			if read.Scope != "namespace" {
				report("policy %s reads %s of the whole cluster: a tenant's bundle reads its own namespaces only (scope: namespace)", id, read.Resource)
			}
		}
	}
	for _, exception := range b.Exceptions {
		if exception.Selector.ClusterScoped {
			report("exception %q is about objects without a namespace, which a tenant's bundle does not judge", exception.Name)
		}
	}
	if b.Manifest.ProfileLabel != "" {
		report("profileLabel: a tenant's bundle gives its namespaces their profile by name")
	}
	if len(problems) > 0 {
		return fmt.Errorf("checking the bundle of a tenant: %w", errors.Join(problems...))
	}
	return nil
}

// readsIncidents says whether a module names input.incidents, or one of those that it shares code with does.
func (b *Bundle) readsIncidents(module *ast.Module, seen map[*ast.Module]bool) bool {
	if seen[module] {
		return false
	}
	seen[module] = true
	found := false
	ast.WalkRefs(module, func(ref ast.Ref) bool {
		found = found || len(ref) > 1 && ref[0].Equal(ast.InputRootDocument) && ref[1].Equal(incidentsKey)
		for _, shared := range b.libraries {
			if !found && ref.HasPrefix(shared.Package.Path) && b.readsIncidents(shared, seen) {
				found = true
			}
		}
		return false
	})
	return found
}

// configured are the ids of all policies that some profile configures, sorted.
func (b *Bundle) configured() []string {
	ids := map[string]bool{}
	resolved, _ := b.resolveProfiles() // Load has reported what is wrong with them
	for _, instances := range resolved {
		for _, instance := range instances {
			if b.Policies[instance.Policy] != nil {
				ids[instance.Policy] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

func lastSegment(id string) string { return id[strings.LastIndex(id, "/")+1:] }

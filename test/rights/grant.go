package rights

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Grant is one verb of one resource that an account may use.
type Grant struct {
	// Account is NAMESPACE/NAME.
	Account         string
	Verb            string
	Group, Resource string
	// Namespace is "" for everywhere, Name "" for all names.
	Namespace, Name string
	// Role is the kind and the name of who gives it.
	Role string
}

func (g Grant) String() string {
	of := g.Resource
	if g.Group != "" {
		of += "." + g.Group
	}
	if g.Name != "" {
		of += " " + g.Name
	}
	where := "everywhere"
	if g.Namespace != "" {
		where = "in " + g.Namespace
	}
	return fmt.Sprintf("%s may %s %s %s (%s)", g.Account, g.Verb, of, where, g.Role)
}

// covers says whether a request needs this or one like it.
func (g Grant) covers(u Use) bool {
	return u.Status != http.StatusForbidden && g.Account == u.Account && g.Verb == u.Verb && g.Group == u.Group && g.Resource == u.Resource &&
		(g.Namespace == "" || g.Namespace == u.Namespace) && (g.Name == "" || g.Name == u.Name)
}

// Granted is what the service accounts of a namespace may do, by all bindings that name them. Rules of wildcards, and of URLs that are
// no resources, are errors: none of ours has one.
func Granted(ctx context.Context, client kubernetes.Interface, namespace string) ([]Grant, error) {
	rules := map[string][]rbacv1.PolicyRule{}
	clusterRoles, err := client.RbacV1().ClusterRoles().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing ClusterRoles: %w", err)
	}
	for _, role := range clusterRoles.Items {
		rules["ClusterRole "+role.Name] = role.Rules
	}
	roles, err := client.RbacV1().Roles("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing Roles: %w", err)
	}
	for _, role := range roles.Items {
		rules["Role "+role.Namespace+"/"+role.Name] = role.Rules
	}
	var all []Grant
	add := func(subjects []rbacv1.Subject, in, role string) error {
		for _, subject := range subjects {
			if subject.Kind != rbacv1.ServiceAccountKind || subject.Namespace != namespace {
				continue
			}
			given, err := expand(rules[role])
			if err != nil {
				return fmt.Errorf("reading %s: %w", role, err)
			}
			for _, g := range given {
				g.Account, g.Namespace, g.Role = namespace+"/"+subject.Name, in, role
				all = append(all, g)
			}
		}
		return nil
	}
	clusterBindings, err := client.RbacV1().ClusterRoleBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing ClusterRoleBindings: %w", err)
	}
	for _, b := range clusterBindings.Items {
		if err := add(b.Subjects, "", "ClusterRole "+b.RoleRef.Name); err != nil {
			return nil, err
		}
	}
	bindings, err := client.RbacV1().RoleBindings("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing RoleBindings: %w", err)
	}
	for _, b := range bindings.Items {
		role := b.RoleRef.Kind + " " + b.RoleRef.Name
		if b.RoleRef.Kind == "Role" {
			role = "Role " + b.Namespace + "/" + b.RoleRef.Name
		}
		if err := add(b.Subjects, b.Namespace, role); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b Grant) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(all), nil
}

// expand makes one grant of each verb, resource and name.
func expand(rules []rbacv1.PolicyRule) ([]Grant, error) {
	var all []Grant
	for _, rule := range rules {
		if len(rule.NonResourceURLs) > 0 {
			return nil, fmt.Errorf("it is about the URLs %v", rule.NonResourceURLs)
		}
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, list := range [][]string{rule.APIGroups, rule.Resources, rule.Verbs} {
			if slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, "*") }) {
				return nil, fmt.Errorf("it has a wildcard: %v", list)
			}
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					for _, name := range names {
						all = append(all, Grant{Verb: verb, Group: group, Resource: resource, Name: name})
					}
				}
			}
		}
	}
	return all, nil
}

// Unused are the grants that no request needed. One that counts everywhere, and was needed in the account's own namespace only, is one of
// them, too: namespaced says whether a resource is in namespaces.
func Unused(granted []Grant, uses []Use, namespaced func(group, resource string) bool) []Grant {
	var unused []Grant
	seen := map[Grant]bool{} // whatever the role
	for _, g := range granted {
		own, _, _ := strings.Cut(g.Account, "/")
		used := slices.ContainsFunc(uses, func(u Use) bool {
			elsewhere := g.Namespace != "" || u.Namespace != own || !namespaced(g.Group, g.Resource)
			return g.covers(u) && elsewhere
		})
		if used || seen[g] {
			continue
		}
		seen[g] = true
		unused = append(unused, g)
	}
	slices.SortFunc(unused, func(a, b Grant) int {
		return cmp.Or(strings.Compare(a.Account, b.Account), strings.Compare(a.String(), b.String()))
	})
	return unused
}

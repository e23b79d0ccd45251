package configuration

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/policies"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
)

// resource is what a rule is about: a group and a plural with its subresource, "*"
// for any group, any resource or any subresource.
type resource struct{ group, name string }

// covers says whether a rule for r matches o, as the API server's matcher does: "*"
// is every resource without its subresources, "*/*" every resource with them.
func (r resource) covers(o resource) bool {
	if r.group != "*" && r.group != o.group {
		return false
	}
	name, sub, _ := strings.Cut(r.name, "/")
	otherName, otherSub, _ := strings.Cut(o.name, "/")
	return (name == "*" || name == otherName) && (sub == "*" || sub == otherSub)
}

func (r resource) wild() bool { return r.group == "*" || strings.Contains(r.name, "*") }

// reviews are never sent to webhooks (KEP-2896 and the API server's exclusion list): an
// answer to them is part of admitting everything else.
var reviews = []resource{
	{"authentication.k8s.io", "selfsubjectreviews"},
	{"authentication.k8s.io", "tokenreviews"},
	{"authorization.k8s.io", "localsubjectaccessreviews"},
	{"authorization.k8s.io", "selfsubjectaccessreviews"},
	{"authorization.k8s.io", "selfsubjectrulesreviews"},
	{"authorization.k8s.io", "subjectaccessreviews"},
}

// admissionConfiguration is never sent to webhooks that are configured through the
// API, so that a broken one can be removed.
var admissionConfiguration = []resource{
	{"admissionregistration.k8s.io", "mutatingadmissionpolicies"},
	{"admissionregistration.k8s.io", "mutatingadmissionpolicybindings"},
	{"admissionregistration.k8s.io", "mutatingwebhookconfigurations"},
	{"admissionregistration.k8s.io", "validatingadmissionpolicies"},
	{"admissionregistration.k8s.io", "validatingadmissionpolicybindings"},
	{"admissionregistration.k8s.io", "validatingwebhookconfigurations"},
}

// companions are subresources through which a resource is changed as well. A rule
// for pods does not match them, so whoever forgets them is bypassed
// (pods/ephemeralcontainers; namespaces/finalize: CVE-2026-30963).
var companions = map[resource][]string{
	{"", "pods"}:       {"pods/ephemeralcontainers", "pods/resize"},
	{"", "namespaces"}: {"namespaces/finalize", "namespaces/status"},
}

// equivalents are resources that the API server serves from one store under two
// groups. With matchPolicy Equivalent a rule for one matches both, so both have to
// stand in the same entry.
var equivalents = map[resource]resource{
	{"events.k8s.io", "events"}: {"", "events"},
}

// interest is a resource and an operation.
type interest struct {
	resource
	operation string
}

// ruleSet is what the entries of one configuration match: first what is matched in every
// namespace and outside of them, then a part for each distinct set of namespaces. No
// request is in two parts, or twice in one; what overlaps by a wildcard, or is closed only
// in some namespaces, the conditions tell apart.
type ruleSet []part

// part is what is matched in the same namespaces, all of them for nil.
type part struct {
	namespaces   []string
	fail, ignore []interest
}

var operations = []string{"CREATE", "UPDATE", "DELETE", "CONNECT"}

// reach is where an interest holds: where any policy wants it, and where one that fails
// closed does.
type reach struct{ any, closed scope }

// split sorts the interests of one door into what fails closed and what does not.
func split(interests []policies.Interest, wanted func(policies.Interest) bool, undelivered [][]resource) (ruleSet, error) {
	reaches := map[interest]reach{}
	note := func(i interest, declared policies.Interest) {
		where, noted := i.scope(declared.Namespaces), reaches[i]
		noted.any = noted.any.with(where)
		if declared.FailClosed {
			noted.closed = noted.closed.with(where)
		}
		reaches[i] = noted
	}
	for _, declared := range interests {
		if !wanted(declared) {
			continue
		}
		if !slices.Contains(operations, declared.Operation) || declared.Resource == "" {
			return nil, fmt.Errorf("a policy matches operation %q of resource %q: use one of %s and a resource's plural", declared.Operation, declared.Resource, strings.Join(operations, ", "))
		}
		i := interest{resource{declared.Group, declared.Resource}, declared.Operation}
		if original, ok := equivalents[i.resource]; ok {
			i.resource = original
		}
		if delivered(i.resource, undelivered) {
			note(i, declared)
		}
		if i.operation == "UPDATE" {
			for _, companion := range companions[i.resource] {
				note(interest{resource{i.group, companion}, "UPDATE"}, declared)
			}
		}
	}
	return sortOut(reaches), nil
}

func delivered(r resource, undelivered [][]resource) bool {
	for _, resources := range undelivered {
		if slices.Contains(resources, r) {
			return false
		}
	}
	return true
}

// sortOut leaves out what a wildcard of the same entry, or of the stricter one,
// covers already. Wildcards hold everywhere.
func sortOut(reaches map[interest]reach) ruleSet {
	covered := func(i interest, failClosed bool) bool {
		for other, where := range reaches {
			if other != i && other.operation == i.operation && other.wild() && other.covers(i.resource) &&
				(!where.closed.empty() || !failClosed) && !(i.covers(other.resource) && compare(i, other) < 0) {
				return true
			}
		}
		return false
	}
	set := ruleSet{{}}
	for i, where := range reaches {
		if where.closed.empty() || !covered(i, true) {
			set.add(where.closed, func(p *part) { p.fail = append(p.fail, i) })
		}
		if !covered(i, false) {
			set.add(where.any.without(where.closed), func(p *part) { p.ignore = append(p.ignore, i) })
		}
	}
	for _, p := range set {
		slices.SortFunc(p.fail, compare)
		slices.SortFunc(p.ignore, compare)
	}
	slices.SortFunc(set, func(a, b part) int { return slices.Compare(a.namespaces, b.namespaces) })
	return set
}

// add changes the part of a scope, which is made if there is none yet.
func (s *ruleSet) add(where scope, change func(*part)) {
	if where.empty() {
		return
	}
	i := slices.IndexFunc(*s, func(p part) bool { return slices.Equal(p.namespaces, where.names) })
	if i < 0 {
		i = len(*s)
		*s = append(*s, part{namespaces: where.names})
	}
	change(&(*s)[i])
}

func compare(a, b interest) int {
	return cmp.Or(
		strings.Compare(a.group, b.group),
		strings.Compare(a.name, b.name),
		cmp.Compare(slices.Index(operations, a.operation), slices.Index(operations, b.operation)),
	)
}

// rules groups interests: resources of a group that share their operations stand in
// one rule. All versions are named, since a version the rules forget is a way in.
func rules(interests []interest, scope admissionregistrationv1.ScopeType) []admissionregistrationv1.RuleWithOperations {
	byResource := map[resource][]admissionregistrationv1.OperationType{}
	var resources []resource
	for _, i := range interests {
		if byResource[i.resource] == nil {
			resources = append(resources, i.resource)
		}
		byResource[i.resource] = append(byResource[i.resource], admissionregistrationv1.OperationType(i.operation))
	}
	var rules []admissionregistrationv1.RuleWithOperations
	for _, r := range resources {
		group, operations := r.groups(), byResource[r]
		same := slices.IndexFunc(rules, func(rule admissionregistrationv1.RuleWithOperations) bool {
			return slices.Equal(rule.APIGroups, group) && slices.Equal(rule.Operations, operations)
		})
		if same >= 0 {
			rules[same].Resources = append(rules[same].Resources, r.name)
			continue
		}
		rules = append(rules, admissionregistrationv1.RuleWithOperations{
			Operations: operations,
			Rule: admissionregistrationv1.Rule{
				APIGroups:   group,
				APIVersions: []string{"*"},
				Resources:   []string{r.name},
				Scope:       &scope,
			},
		})
	}
	return rules
}

// groups names the resource's group, and those that serve the same objects.
func (r resource) groups() []string {
	groups := []string{r.group}
	for other, original := range equivalents {
		if original == r {
			groups = append(groups, other.group)
		}
	}
	slices.Sort(groups)
	return groups
}

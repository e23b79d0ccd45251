package policies

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Interest is a resource and an operation that policies of a bundle match: what the
// webhook configurations are computed from. Where the policies that fail closed are
// limited to fewer namespaces than the others, there are two of a pair, and the one that
// fails closed counts in its namespaces.
type Interest struct {
	Group string
	// Resource is the plural, with its subresource if any: "pods", "pods/exec".
	Resource  string
	Operation string // CREATE, UPDATE, DELETE, CONNECT
	// Validates and Mutates say by which door policies want it.
	Validates, Mutates bool
	// FailClosed is true when a policy matches that has denials or patches, enforces and fails closed.
	FailClosed bool
	// Namespaces are the only ones that any of the policies is configured for, by exact
	// names and sorted; nil when some policy is for more than can be named.
	Namespaces []string
}

// Interests are all pairs of resource and operation that policies match at the
// admission door, sorted: those of one profile, or of all for "".
func (e *Engine) Interests(profile string) []Interest {
	found := map[indexKey]*interested{}
	for key, instances := range e.index.entries {
		// Events and syncs come by other doors, and what a pod's own token may not do is asked by an entry that is there only while a pod is
		// quarantined.
		if profile != "" && key.profile != profile || key.operation == OperationEvent || syncResources[key.operation] != "" || key.group == wildcard {
			continue
		}
		key.profile = ""
		for _, i := range instances {
			if !i.policy.at(DoorAdmission) {
				continue
			}
			if found[key] == nil {
				found[key] = &interested{}
			}
			found[key].add(i)
		}
	}
	var interests []Interest
	for key, interested := range found {
		interests = append(interests, interested.in(key)...)
	}
	slices.SortFunc(interests, compareInterests)
	return interests
}

// interested gathers the instances behind one resource and operation.
type interested struct {
	validates, mutates bool
	all, closed        namespaceSet // where any is asked, and where one that fails closed is
}

func (n *interested) add(i *instance) {
	n.mutates = n.mutates || i.policy.has(EffectPatch)
	n.validates = n.validates || i.policy.has(EffectDeny) || i.policy.has(EffectWarn)
	names := i.Match.exactNamespaces()
	n.all.add(names)
	// A policy that has nothing but warnings refuses nothing when it is asked either.
	refuses := i.policy.has(EffectDeny) || i.policy.has(EffectPatch)
	if refuses && i.Enforcement == EnforceDeny && i.FailMode == FailClosed {
		n.closed.add(names)
	}
}

func (n *interested) in(key indexKey) []Interest {
	open := Interest{
		Group: key.group, Resource: key.resource, Operation: key.operation,
		Validates: n.validates, Mutates: n.mutates, Namespaces: n.all.names(),
	}
	closed := open
	closed.FailClosed, closed.Namespaces = true, n.closed.names()
	switch {
	case n.closed.empty():
		return []Interest{open}
	case slices.Equal(closed.Namespaces, open.Namespaces):
		return []Interest{closed}
	}
	return []Interest{closed, open}
}

// exactNamespaces are the only namespaces that can match, nil if they cannot be named:
// none are given, or one is a glob. What is no namespace's name counts as a glob.
func (m *Match) exactNamespaces() []string {
	if m == nil || slices.ContainsFunc(m.Namespaces, func(name string) bool { return len(validation.IsDNS1123Label(name)) > 0 }) {
		return nil
	}
	return m.Namespaces
}

// namespaceSet is a set of namespaces that can be all of them. The zero value is empty.
type namespaceSet struct {
	everywhere bool
	named      map[string]bool
}

// add takes further names in, and all namespaces for none.
func (s *namespaceSet) add(names []string) {
	s.everywhere = s.everywhere || len(names) == 0
	if s.named == nil {
		s.named = map[string]bool{}
	}
	for _, name := range names {
		s.named[name] = true
	}
}

func (s *namespaceSet) empty() bool { return !s.everywhere && len(s.named) == 0 }

// names are sorted; nil for all namespaces.
func (s *namespaceSet) names() []string {
	if s.everywhere {
		return nil
	}
	return sortedKeys(s.named)
}

func compareInterests(a, b Interest) int {
	closedFirst := func(i Interest) int {
		if i.FailClosed {
			return 0
		}
		return 1
	}
	return cmp.Or(
		strings.Compare(a.Group, b.Group),
		strings.Compare(a.Resource, b.Resource),
		strings.Compare(a.Operation, b.Operation),
		closedFirst(a)-closedFirst(b),
	)
}

// MergeInterests are those of several engines, as if all their policies were of one.
func MergeInterests(all ...[]Interest) []Interest {
	found := map[indexKey]*interested{}
	for _, interest := range slices.Concat(all...) {
		key := indexKey{group: interest.Group, resource: interest.Resource, operation: interest.Operation}
		if found[key] == nil {
			found[key] = &interested{}
		}
		merged := found[key]
		merged.mutates = merged.mutates || interest.Mutates
		merged.validates = merged.validates || interest.Validates
		merged.all.add(interest.Namespaces)
		if interest.FailClosed {
			merged.closed.add(interest.Namespaces)
		}
	}
	var interests []Interest
	for key, interested := range found {
		interests = append(interests, interested.in(key)...)
	}
	slices.SortFunc(interests, compareInterests)
	return interests
}

package policies

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gobwas/glob"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// matcher is a compiled Match. The zero value matches everything.
type matcher struct {
	namespaces        globs
	namespaceSelector labels.Selector
	objectSelector    labels.Selector
	kinds             globs
	platforms         []string
	operations        []string
	users             globs
	groups            globs
	serviceAccounts   globs
	exclude           *exclusion
}

type exclusion struct {
	namespaces, kinds, users, groups, serviceAccounts globs
}

// kubernetesPlatform is the platform of every request of an API server.
const kubernetesPlatform = "kubernetes"

func compileMatch(match *Match) (*matcher, error) {
	if match == nil {
		return nil, nil
	}
	var problems []error
	compile := func(field string, patterns []string) globs {
		compiled, err := compileGlobs(patterns)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", field, err))
		}
		return compiled
	}
	selector := func(field string, selector *metav1.LabelSelector) labels.Selector {
		if selector == nil {
			return nil
		}
		compiled, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", field, err))
		}
		return compiled
	}
	m := &matcher{
		namespaces:        compile("namespaces", match.Namespaces),
		namespaceSelector: selector("namespaceSelector", match.NamespaceSelector),
		objectSelector:    selector("objectSelector", match.ObjectSelector),
		kinds:             compile("kinds", match.Kinds),
		platforms:         match.Platforms,
		operations:        match.Operations,
		users:             compile("users", match.Users),
		groups:            compile("groups", match.Groups),
		serviceAccounts:   compile("serviceAccounts", match.ServiceAccounts),
	}
	for _, operation := range match.Operations {
		if !slices.Contains(operations, operation) {
			problems = append(problems, fmt.Errorf("operations: %q is none", operation))
		}
	}
	if e := match.Exclude; e != nil {
		m.exclude = &exclusion{
			namespaces:      compile("exclude.namespaces", e.Namespaces),
			kinds:           compile("exclude.kinds", e.Kinds),
			users:           compile("exclude.users", e.Users),
			groups:          compile("exclude.groups", e.Groups),
			serviceAccounts: compile("exclude.serviceAccounts", e.ServiceAccounts),
		}
	}
	return m, errors.Join(problems...)
}

// matchesRequest decides all but the label selectors, from the request alone.
func (m *matcher) matchesRequest(r *Request) bool {
	if m == nil {
		return true
	}
	kind := func(g globs) bool { return g.match(r.Kind.Kind) || g.match(r.Kind.Group+"/"+r.Kind.Kind) }
	account := func(g globs) bool {
		namespace, name, ok := r.Subject.ServiceAccount()
		return ok && g.match(namespace+"/"+name)
	}
	if e := m.exclude; e != nil {
		if (r.namespace() != "" && e.namespaces.match(r.namespace())) || kind(e.kinds) || e.users.match(r.Subject.Username) ||
			slices.ContainsFunc(r.Subject.Groups, e.groups.match) || account(e.serviceAccounts) {
			return false
		}
	}
	return (m.namespaces == nil || m.namespaces.match(r.namespace())) &&
		(m.kinds == nil || kind(m.kinds)) &&
		(m.platforms == nil || slices.Contains(m.platforms, kubernetesPlatform)) &&
		(m.operations == nil || slices.Contains(m.operations, r.Operation)) &&
		(m.users == nil || m.users.match(r.Subject.Username)) &&
		(m.groups == nil || slices.ContainsFunc(r.Subject.Groups, m.groups.match)) &&
		(m.serviceAccounts == nil || account(m.serviceAccounts))
}

// selects says whether label selectors have to be asked too.
func (m *matcher) selects() bool {
	return m != nil && (m.namespaceSelector != nil || m.objectSelector != nil)
}

// matchesNamespace decides the namespace selector. A request without a namespace
// (nil) is never exempted by one, as in the API server's webhooks.
func (m *matcher) matchesNamespace(namespace *Namespace) bool {
	if m == nil || m.namespaceSelector == nil || namespace == nil {
		return true
	}
	return m.namespaceSelector.Matches(labels.Set(namespace.Labels))
}

// matchesObject decides the object selector; matching the old labels suffices, and an
// object without labels has labels too: none.
func (m *matcher) matchesObject(object *objectLabels) bool {
	if m == nil || m.objectSelector == nil {
		return true
	}
	matches := func(set map[string]string) bool { return m.objectSelector.Matches(labels.Set(set)) }
	switch {
	case !object.hasOld:
		return matches(object.now)
	case !object.hasNow: // deleted
		return matches(object.old)
	}
	return matches(object.now) || matches(object.old)
}

// globs are alternatives: * is any run of characters, ? any one, {a,b} a choice.
type globs []*glob.Pattern

func compileGlobs(patterns []string) (globs, error) {
	var compiled globs
	var problems []error
	for _, pattern := range patterns {
		g, err := glob.Compile(pattern)
		if err != nil || pattern == "" {
			problems = append(problems, fmt.Errorf("glob %q is not valid: %w", pattern, errors.Join(err, errEmptyGlob(pattern))))
			continue
		}
		compiled = append(compiled, g)
	}
	return compiled, errors.Join(problems...)
}

func errEmptyGlob(pattern string) error {
	if pattern == "" {
		return errors.New("it is empty")
	}
	return nil
}

func (g globs) match(s string) bool {
	for _, pattern := range g {
		if pattern.Match(s) {
			return true
		}
	}
	return false
}

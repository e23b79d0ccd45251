package admissionpolicy

import (
	"fmt"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/policies"
)

// reach is one way in which namespaces come to a profile.
type reach struct {
	profile string
	suffix  string // of names, "" for the profile's own
	// namespaces select by a label, nil for all.
	namespaces *metav1.LabelSelector
	// labelled leaves out what is in no namespace, which no selector does.
	labelled bool
	// assigned has the bundle's list of namespaces decide.
	assigned bool
}

// reaches are the ways in which a bundle gives some namespace, or what has none, a profile.
func (x *export) reaches(profile string) []reach {
	if x.options.Profile != "" {
		return []reach{{profile: profile}}
	}
	label := x.bundle.Manifest.ProfileLabel
	assigned := reach{profile: profile, assigned: true}
	var all []reach
	if label != "" {
		all = append(all, reach{profile: profile, suffix: profile + "-by-label", labelled: true, namespaces: &metav1.LabelSelector{MatchLabels: map[string]string{label: profile}}})
		assigned.namespaces = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: label, Operator: metav1.LabelSelectorOpDoesNotExist}}}
	}
	if x.assigns(profile) {
		all = append(all, assigned)
	}
	return all
}

// assigns says whether a profile is the default or in the bundle's list.
func (x *export) assigns(profile string) bool {
	m := &x.bundle.Manifest
	return len(m.Profiles) == 0 || m.DefaultProfile == profile ||
		slices.ContainsFunc(m.Namespaces, func(a policies.Assignment) bool { return a.Profile == profile })
}

// Expressions about the request. The API server leaves empty fields out.
const (
	namespaceExpression = "(has(request.namespace) ? request.namespace : '')"
	// A Namespace is in itself, whether the request says so or not.
	ownNamespaceExpression = "(request.resource.group == '' && request.resource.resource == 'namespaces'" +
		" ? (has(request.name) && request.name != '' ? request.name : dyn(object != null ? object : oldObject).metadata.?name.orValue(''))" +
		" : has(request.namespace) ? request.namespace : '')"
	nameExpression    = "(has(request.name) ? request.name : '')"
	kindExpression    = "request.kind.kind"
	groupedExpression = "(request.kind.group + '/' + request.kind.kind)"
	userExpression    = "request.userInfo.username"
	groupsExpression  = "(has(request.userInfo.groups) ? request.userInfo.groups : [])"
	accountPrefix     = "system:serviceaccount:"
)

const (
	// An API server takes no more matchConditions (validateMatchConditions in pkg/apis/admissionregistration/validation).
	maxConditions = 64
	// maxExceptionText is how many bytes of exceptions one condition holds. CEL reads no expression of more than 100,000
	// characters, and one may cost 1,000,000: a regular expression costs about 6 for each of its characters where the text has
	// 253, the longest name.
	maxExceptionText = 64 << 10
	// maxConditionText is how many bytes all conditions have: they may cost 2,500,000 together, and kubectl apply keeps a copy
	// of the object in an annotation, which has 256 KiB.
	maxConditionText = 128 << 10
)

// tooLarge says why an API server would refuse these conditions, or requests because of them; "" if it would not.
func (m *matched) tooLarge() string {
	size := 0
	for _, condition := range m.conditions {
		size += len(condition.Expression)
		if len(condition.Expression) > maxExceptionText+maxExceptionText/4 {
			size = maxConditionText + 1
		}
	}
	if len(m.conditions) > maxConditions || size > maxConditionText {
		return "its match and its exceptions are more than the API server evaluates: fewer exceptions with more namespaces each take less"
	}
	return ""
}

// matched are the conditions of one policy.
type matched struct {
	conditions []admissionregistrationv1.MatchCondition
	milder     []string
	problem    error
}

func (m *matched) add(name, expression string) {
	m.conditions = append(m.conditions, admissionregistrationv1.MatchCondition{Name: name, Expression: expression})
}

// any is true of a text that matches one of some globs.
func (m *matched) any(text string, patterns []string) string {
	expression, err := anyGlob(text, patterns)
	if err != nil && m.problem == nil {
		m.problem = err
	}
	return expression
}

// conditions are those under which a policy judges: what nobody judges, the profile, the instance's match and the exceptions.
func (x *export) conditions(policy *policies.Policy, i *policies.Instance, where reach) (*matched, error) {
	m := &matched{conditions: slices.Clone(x.options.Exempt)}
	if about(policy, "", "pods") {
		m.conditions = append(m.conditions, x.options.ExemptPods...)
	}
	namespace := namespaceExpression
	if about(policy, "", "namespaces") {
		namespace = ownNamespaceExpression
	}
	if where.labelled {
		m.add("in-a-namespace", namespace+" != ''")
	}
	if where.assigned {
		if expression := x.assignment(m, where.profile, namespace); expression != "" {
			m.add("profile", expression)
		}
	}
	m.match(i.Match, namespace)
	x.exceptions(m, policy.ID, namespace)
	return m, m.problem
}

// about says whether a policy is about a resource.
func about(policy *policies.Policy, group, resource string) bool {
	return slices.ContainsFunc(policy.Subject.Operations, func(operation string) bool {
		return slices.ContainsFunc(policy.Subject.ResourcesFor(operation), func(g policies.GroupResource) bool {
			return g.Group == group && slices.Contains(g.Resources, resource)
		})
	})
}

// assignment is true in the namespaces that the bundle's list gives a profile, "" where it is true everywhere. The first
// entry that matches counts, and what is in no namespace has the default.
func (x *export) assignment(m *matched, profile, namespace string) string {
	manifest := &x.bundle.Manifest
	const yes, no = "true", "false"
	constant := func(is bool) string {
		if is {
			return yes
		}
		return no
	}
	byDefault := constant(len(manifest.Profiles) == 0 || manifest.DefaultProfile == profile)
	expression, wild := byDefault, false
	for _, entry := range slices.Backward(manifest.Namespaces) {
		is, in := constant(entry.Profile == profile), m.any(namespace, entry.Match)
		wild = wild || slices.ContainsFunc(entry.Match, func(pattern string) bool { return strings.Trim(pattern, "*") == "" })
		switch {
		case is == expression:
		case is == yes && expression == no:
			expression = in
		case is == yes:
			expression = in + " || " + expression
		case expression == yes:
			expression = "!(" + in + ")"
		default:
			expression = "!(" + in + ") && (" + expression + ")"
		}
	}
	if expression == yes {
		return ""
	}
	if wild && expression != byDefault {
		expression = namespace + " == '' ? " + byDefault + " : (" + expression + ")"
	}
	return expression
}

// match says what the match of an instance does. Operations are those of the rules, selectors the API server's own.
func (m *matched) match(match *policies.Match, namespace string) {
	if match == nil {
		return
	}
	fields := func(prefix string, namespaces, kinds, users, groups, accounts []string, wrap func(string) string) {
		for _, field := range []struct {
			name, expression string
			given            []string
		}{
			{"namespaces", m.any(namespace, namespaces), namespaces},
			{"kinds", m.any(kindExpression, kinds) + " || " + m.any(groupedExpression, kinds), kinds},
			{"users", m.any(userExpression, users), users},
			{"groups", groupsExpression + ".exists(g, " + m.any("g", groups) + ")", groups},
			{"service-accounts", m.accounts(accounts), accounts},
		} {
			if len(field.given) > 0 {
				m.add(prefix+field.name, wrap(field.expression))
			}
		}
	}
	fields("match-", match.Namespaces, match.Kinds, match.Users, match.Groups, match.ServiceAccounts, func(e string) string { return e })
	if e := match.Exclude; e != nil {
		fields("exclude-", e.Namespaces, e.Kinds, e.Users, e.Groups, e.ServiceAccounts, func(e string) string { return "!(" + e + ")" })
	}
}

// accounts is true of a service account that one of some globs names as namespace/name.
func (m *matched) accounts(patterns []string) string {
	account := fmt.Sprintf("%s.substring(%d).replace(':', '/', 1)", userExpression, len(accountPrefix))
	return userExpression + ".startsWith('" + accountPrefix + "') && (" + m.any(account, patterns) + ")"
}

// exceptions leave out what the bundle's exceptions waive. Those for single containers leave out the whole object, and no
// condition knows when one ends: both is milder than the webhook, never stricter.
func (x *export) exceptions(m *matched, policy, namespace string) {
	var excepted []string
	for k := range x.bundle.Exceptions {
		e := &x.bundle.Exceptions[k]
		if e.Policy != policy || !x.options.Now.Before(e.Ends()) {
			continue
		}
		in := m.any(namespace, e.Selector.Namespaces)
		switch {
		case len(e.Selector.Namespaces) == 0:
			in = namespace + " == ''"
		case e.Selector.ClusterScoped:
			in = "(" + namespace + " == '' || " + in + ")"
		default:
			in = "(" + namespace + " != '' && (" + in + "))"
		}
		terms := []string{in}
		if len(e.Selector.Kinds) > 0 {
			terms = append(terms, "("+m.any(kindExpression, e.Selector.Kinds)+" || "+m.any(groupedExpression, e.Selector.Kinds)+")")
		}
		if len(e.Selector.Names) > 0 {
			terms = append(terms, nameExpression+" != ''", "("+m.any(nameExpression, e.Selector.Names)+")")
		}
		excepted = append(excepted, strings.Join(terms, " && "))
		m.milder = append(m.milder, fmt.Sprintf("exception %s ends on %s, and its objects stay excepted until it is exported again", e.Name, e.Expires))
		if len(e.Selector.Containers) > 0 {
			m.milder = append(m.milder, fmt.Sprintf("exception %s is for single containers; its objects are left out as a whole", e.Name))
		}
	}
	for n, together := range ofSize(excepted, maxExceptionText) {
		name := "not-excepted"
		if n > 0 {
			name = fmt.Sprintf("not-excepted-%d", n+1)
		}
		m.add(name, "!("+strings.Join(together, " || ")+")")
	}
	if granting := x.bundle.ClusterExcepts(policy); len(granting) > 0 && !x.options.IgnoreClusterExceptions {
		m.add("no-exceptions-of-the-cluster", "!("+namespace+" != '' && ("+m.any(namespace, granting)+"))")
		m.milder = append(m.milder, "namespaces that may grant exceptions in the cluster are left out: "+strings.Join(granting, ", "))
	}
}

// ofSize puts texts together, no more than so many bytes of them.
func ofSize(texts []string, most int) [][]string {
	var groups [][]string
	size := 0
	for _, text := range texts {
		if size += len(text); len(groups) == 0 || size > most {
			groups, size = append(groups, nil), len(text)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], text)
	}
	return groups
}

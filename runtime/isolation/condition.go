package isolation

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// truth is what is known of a condition.
type truth int

const (
	never truth = iota
	perhaps
	always
)

func (t truth) not() truth {
	switch t {
	case never:
		return always
	case always:
		return never
	default:
		return perhaps
	}
}

func truthOf(known bool) truth {
	if known {
		return always
	}
	return never
}

// domain is whose attribute a condition is about.
type domain int

const (
	podLabel domain = iota
	namespaceLabel
	serviceAccountName
	hidden // never known: labels of service accounts, and those that a provider makes
)

// namespaceName is the label of every namespace that holds its name (KEP-2161).
const namespaceName = "kubernetes.io/metadata.name"

// attribute is something of a pod that conditions are about.
type attribute struct {
	domain domain
	name   string
}

type operator int

// Each stands beside its opposite.
const (
	opAnd        operator = iota // of parts; of none it holds
	opOr                         // of parts; of none it does not hold
	opIn                         // the attribute is there with one of the values
	opNotIn                      // it is not there, or has another value
	opHas                        // it is there
	opHasNot                     // it is not
	opText                       // it is there and its value contains, or begins or ends with, the first of values
	opTextNot                    // the opposite
	opUnknown                    // nobody knows; on tells one from another
	opUnknownNot                 // the opposite
)

// textMatch is how opText compares.
type textMatch int

const (
	contains textMatch = iota
	startsWith
	endsWith
)

// condition is a condition on a pod, in negation normal form. The zero value holds for every pod.
type condition struct {
	op     operator
	on     attribute
	values []string // sorted
	text   textMatch
	parts  []condition
}

// nobody holds for no pod.
func nobody() condition { return condition{op: opOr} }

func and(parts ...condition) condition {
	var flat []condition
	for _, part := range parts {
		if part.op == opAnd {
			flat = append(flat, part.parts...)
		} else {
			flat = append(flat, part)
		}
	}
	if len(flat) == 1 {
		return flat[0]
	}
	return condition{op: opAnd, parts: flat}
}

func or(parts ...condition) condition {
	if len(parts) == 1 {
		return parts[0]
	}
	return condition{op: opOr, parts: parts}
}

func in(on attribute, values ...string) condition {
	values = slices.Clone(values)
	slices.Sort(values)
	return condition{op: opIn, on: on, values: slices.Compact(values)}
}

func notIn(on attribute, values ...string) condition {
	c := in(on, values...)
	c.op = opNotIn
	return c
}

// unknown is a condition that is not understood, but the same as another one of the same words.
func unknown(words string) condition {
	return condition{op: opUnknown, on: attribute{hidden, words}}
}

// inNamespace holds for the pods of one namespace.
func inNamespace(name string) condition {
	return in(attribute{namespaceLabel, namespaceName}, name)
}

// not is the opposite.
func (c condition) not() condition {
	n := c
	n.op, n.parts = c.op.opposite(), nil
	for _, part := range c.parts {
		n.parts = append(n.parts, part.not())
	}
	return n
}

func (o operator) opposite() operator {
	switch o {
	case opAnd, opIn, opHas, opText, opUnknown:
		return o + 1
	default:
		return o - 1
	}
}

// everything says that the condition holds for every pod, by its form.
func (c condition) everything() bool { return c.op == opAnd && len(c.parts) == 0 }

// selector is a label selector as a condition. An operator that is not known makes it one of which nobody knows.
func selector(s *metav1.LabelSelector, of domain) condition {
	if s == nil {
		return nobody()
	}
	var parts []condition
	for key, value := range s.MatchLabels {
		parts = append(parts, in(attribute{of, key}, value))
	}
	slices.SortFunc(parts, func(a, b condition) int { return strings.Compare(a.on.name, b.on.name) })
	for _, r := range s.MatchExpressions {
		on := attribute{of, r.Key}
		switch r.Operator {
		case metav1.LabelSelectorOpIn:
			parts = append(parts, in(on, r.Values...))
		case metav1.LabelSelectorOpNotIn:
			parts = append(parts, notIn(on, r.Values...))
		case metav1.LabelSelectorOpExists:
			parts = append(parts, condition{op: opHas, on: on})
		case metav1.LabelSelectorOpDoesNotExist:
			parts = append(parts, condition{op: opHasNot, on: on})
		default:
			parts = append(parts, unknown(r.String()))
		}
	}
	return and(parts...)
}

// lookup says what an attribute is: its value, whether it is there, and whether that is known.
type lookup func(attribute) (value string, there, known bool)

// holds says whether the condition holds where attributes are as looked up.
func (c condition) holds(look lookup) truth {
	switch c.op {
	case opAnd:
		return allOf(c.parts, func(part condition) truth { return part.holds(look) })
	case opOr:
		return allOf(c.parts, func(part condition) truth { return part.holds(look).not() }).not()
	case opUnknown, opUnknownNot:
		return perhaps
	}
	value, there, known := look(c.on)
	if !known {
		return perhaps
	}
	return truthOf(c.test(value, there))
}

// test is a condition on one attribute, on its value.
func (c condition) test(value string, there bool) bool {
	switch c.op {
	case opIn:
		return there && c.names(value)
	case opNotIn:
		return !there || !c.names(value)
	case opHas:
		return there
	case opHasNot:
		return !there
	case opText:
		return there && c.compare(value)
	default: // opTextNot
		return !there || !c.compare(value)
	}
}

func (c condition) names(value string) bool {
	_, found := slices.BinarySearch(c.values, value)
	return found
}

func (c condition) compare(value string) bool {
	switch c.text {
	case startsWith:
		return strings.HasPrefix(value, c.values[0])
	case endsWith:
		return strings.HasSuffix(value, c.values[0])
	default:
		return strings.Contains(value, c.values[0])
	}
}

// given says whether the condition holds for every pod for which the other one does (always), for none of them
// (never), or for some as far as can be told (perhaps). It is never wrong about always and never, but may say perhaps where a
// cleverer reader would not.
func (c condition) given(other condition, namespaces map[string]*Namespace) truth {
	if c.op == opAnd {
		return allOf(c.parts, func(part condition) truth { return part.given(other, namespaces) })
	}
	switch other.op {
	case opOr:
		possible := slices.DeleteFunc(slices.Clone(other.parts), func(part condition) bool { return !part.possible(namespaces) })
		return c.givenEach(possible, func(part condition) truth { return c.given(part, namespaces) })
	case opAnd:
		for _, part := range other.parts {
			if t := c.given(part, namespaces); t != perhaps {
				return t
			}
		}
	}
	if c.op == opOr {
		return allOf(c.parts, func(part condition) truth { return part.given(other, namespaces).not() }).not()
	}
	if other.op == opAnd {
		return perhaps
	}
	return c.givenOne(other, namespaces)
}

// allOf is whether all parts hold.
func allOf(parts []condition, holds func(condition) truth) truth {
	result := always
	for _, part := range parts {
		switch holds(part) {
		case never:
			return never
		case perhaps:
			result = perhaps
		}
	}
	return result
}

// givenEach is what holds whichever part does.
func (c condition) givenEach(parts []condition, of func(condition) truth) truth {
	if len(parts) == 0 {
		return perhaps
	}
	first := of(parts[0])
	for _, part := range parts[1:] {
		if of(part) != first {
			return perhaps
		}
	}
	return first
}

// givenOne compares two conditions on one attribute each.
func (c condition) givenOne(other condition, namespaces map[string]*Namespace) truth {
	if other.op == opIn && other.on == (attribute{namespaceLabel, namespaceName}) && c.on.domain == namespaceLabel && len(other.values) > 0 {
		// The namespaces are named: those that are known have labels that are.
		var named []condition
		for _, name := range other.values {
			named = append(named, inNamespace(name))
		}
		return c.givenEach(named, func(n condition) truth { return c.holds(ofNamespace(n.values[0], namespaces[n.values[0]])) })
	}
	if c.on != other.on {
		return perhaps
	}
	if c.op == opUnknown || c.op == opUnknownNot || other.op == opUnknown || other.op == opUnknownNot {
		switch {
		case c.op == other.op:
			return always
		case c.op == other.op.opposite():
			return never
		default:
			return perhaps
		}
	}
	switch other.op {
	case opHasNot:
		return truthOf(c.test("", false))
	case opIn:
		if len(other.values) == 0 {
			return perhaps
		}
		result := truthOf(c.test(other.values[0], true))
		for _, value := range other.values[1:] {
			if truthOf(c.test(value, true)) != result {
				return perhaps
			}
		}
		return result
	case opNotIn:
		if (c.op == opIn || c.op == opNotIn) && subset(c.values, other.values) {
			return truthOf(c.op == opNotIn)
		}
	case opHas, opText:
		if c.op == opHas || c.op == opHasNot {
			return truthOf(c.op == opHas)
		}
	}
	if (other.op == opText || other.op == opTextNot) && (c.op == opText || c.op == opTextNot) && c.text == other.text && slices.Equal(c.values, other.values) {
		return truthOf(c.op == other.op)
	}
	return perhaps
}

// subset is of lists in order.
func subset(a, b []string) bool {
	return !slices.ContainsFunc(a, func(s string) bool {
		_, found := slices.BinarySearch(b, s)
		return !found
	})
}

// size is about how many comparisons it takes.
func (c condition) size() int {
	size := 1 + len(c.values)/8
	for _, part := range c.parts {
		size += part.size()
	}
	return size
}

// ofNamespace looks up the labels of a namespace; of one that is not known only its name.
func ofNamespace(name string, known *Namespace) lookup {
	return func(on attribute) (string, bool, bool) {
		switch {
		case on.domain != namespaceLabel:
			return "", false, false
		case on.name == namespaceName:
			return name, true, true
		case known == nil:
			return "", false, false
		}
		value, there := known.Labels[on.name]
		return value, there, true
	}
}

// ofPod looks up what a pod is.
func ofPod(pod *Pod, namespace *Namespace) lookup {
	within := ofNamespace(pod.Namespace, namespace)
	return func(on attribute) (string, bool, bool) {
		switch on.domain {
		case podLabel:
			value, there := pod.Labels[on.name]
			return value, there, true
		case serviceAccountName:
			if pod.ServiceAccount == "" {
				return "default", true, true
			}
			return pod.ServiceAccount, true, true
		default:
			return within(on)
		}
	}
}

// possible says whether some pod may meet the condition: false only where its parts contradict each other.
func (c condition) possible(namespaces map[string]*Namespace) bool {
	switch c.op {
	case opOr:
		return slices.ContainsFunc(c.parts, func(part condition) bool { return part.possible(namespaces) })
	case opAnd:
		for i, part := range c.parts {
			if !part.possible(namespaces) {
				return false
			}
			for j, other := range c.parts {
				if i != j && part.given(other, namespaces) == never {
					return false
				}
			}
		}
	case opIn:
		return len(c.values) > 0
	}
	return true
}

// String is the condition in words: "pods with app=dns in namespace kube-system".
func (c condition) String() string {
	parts := []condition{c}
	if c.op == opAnd {
		parts = c.parts
	}
	var pod, namespace []string
	where := ""
	for _, part := range parts {
		switch {
		case part.op == opIn && part.on == (attribute{namespaceLabel, namespaceName}) && where == "":
			where = " in namespace " + strings.Join(part.values, " or ")
		case part.op != opAnd && part.op != opOr && part.on.domain == namespaceLabel:
			namespace = append(namespace, part.words())
		default:
			pod = append(pod, part.words())
		}
	}
	what := "all pods"
	if len(pod) > 0 {
		what = "pods with " + strings.Join(pod, ", ")
	}
	switch {
	case where != "" && len(namespace) > 0:
		return what + where + " if it has " + strings.Join(namespace, ", ")
	case len(namespace) > 0:
		return what + " in namespaces with " + strings.Join(namespace, ", ")
	default:
		return what + where
	}
}

// words is one condition without whose it is, as in a selector of kubectl.
func (c condition) words() string {
	name := c.on.name
	switch c.on.domain {
	case serviceAccountName:
		name = "service account"
	case hidden:
		name = "hidden label " + c.on.name
	}
	switch c.op {
	case opIn:
		if len(c.values) == 1 {
			return name + "=" + c.values[0]
		}
		return fmt.Sprintf("%s in (%s)", name, strings.Join(c.values, ","))
	case opNotIn:
		if len(c.values) == 1 {
			return name + "!=" + c.values[0]
		}
		return fmt.Sprintf("%s notin (%s)", name, strings.Join(c.values, ","))
	case opHas:
		return name
	case opHasNot:
		return "!" + name
	case opText, opTextNot:
		how := map[textMatch]string{contains: "contains", startsWith: "starts with", endsWith: "ends with"}[c.text]
		if c.op == opTextNot {
			return fmt.Sprintf("not(%s %s %q)", name, how, c.values[0])
		}
		return fmt.Sprintf("%s %s %q", name, how, c.values[0])
	case opAnd, opOr:
		var parts []string
		for _, part := range c.parts {
			words := part.words()
			if part.on.domain == namespaceLabel && part.op != opAnd && part.op != opOr {
				words = "namespace's " + words
			}
			parts = append(parts, words)
		}
		return "(" + strings.Join(parts, map[operator]string{opAnd: " and ", opOr: " or "}[c.op]) + ")"
	default:
		return "something that is not understood"
	}
}

package gatekeeper

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	kjson "sigs.k8s.io/json"
)

// wildcard is a name with a "*" before or behind it, or both. It has no other special characters.
type wildcard string

// matches says whether a name is the pattern, or fits it.
func (w wildcard) matches(name string) bool {
	text, before := strings.CutPrefix(string(w), "*")
	text, behind := strings.CutSuffix(text, "*")
	switch {
	case before && (behind || text == ""):
		return strings.Contains(name, text)
	case before:
		return strings.HasSuffix(name, text)
	case behind:
		return strings.HasPrefix(name, text)
	}
	return name == text
}

// matchesGenerated says whether every name that the API server makes of a generateName fits: it appends to it.
func (w wildcard) matchesGenerated(prefix string) bool {
	if prefix == "" || !strings.HasSuffix(string(w), "*") {
		return false
	}
	return w.matches(prefix)
}

func matchesAny(patterns []wildcard, name string) bool {
	return slices.ContainsFunc(patterns, func(w wildcard) bool { return w.matches(name) })
}

// kindSelector selects kinds: an empty list, like "*", is all.
type kindSelector struct {
	APIGroups []string `json:"apiGroups"`
	Kinds     []string `json:"kinds"`
}

func selects(list []string, value string) bool {
	return len(list) == 0 || slices.Contains(list, "*") || slices.Contains(list, value)
}

// source says where an object comes from.
type source string

// The sources: an object that somebody sent, and one that an ExpansionTemplate made of it.
const (
	sourceAll       source = "All"
	sourceOriginal  source = "Original"
	sourceGenerated source = "Generated"
)

// match is spec.match of constraints and mutators. All that is given must match; the empty match matches everything.
type match struct {
	Kinds              []kindSelector        `json:"kinds"`
	Scope              string                `json:"scope"` // *, Cluster, Namespaced
	Namespaces         []wildcard            `json:"namespaces"`
	ExcludedNamespaces []wildcard            `json:"excludedNamespaces"`
	LabelSelector      *metav1.LabelSelector `json:"labelSelector"`
	NamespaceSelector  *metav1.LabelSelector `json:"namespaceSelector"`
	Name               wildcard              `json:"name"`
	Source             source                `json:"source"`

	labels, namespaceLabels labels.Selector // nil for all
}

// prepare checks a match and makes it ready.
func (m *match) prepare() error {
	var problems []error
	if !slices.Contains([]string{"", "*", "Cluster", "Namespaced"}, m.Scope) {
		problems = append(problems, fmt.Errorf("match.scope %q: want *, Cluster or Namespaced", m.Scope))
	}
	if !slices.Contains([]source{"", sourceAll, sourceOriginal, sourceGenerated}, m.Source) {
		problems = append(problems, fmt.Errorf("match.source %q: want All, Original or Generated", m.Source))
	}
	for _, pattern := range slices.Concat(m.Namespaces, m.ExcludedNamespaces, []wildcard{m.Name}) {
		if strings.Contains(strings.Trim(string(pattern), "*"), "*") || strings.Contains(string(pattern), "**") {
			problems = append(problems, fmt.Errorf("match: the pattern %q: a * stands only at the beginning and at the end", pattern))
		}
	}
	var err error
	if m.labels, err = selector(m.LabelSelector); err != nil {
		problems = append(problems, fmt.Errorf("match.labelSelector: %w", err))
	}
	if m.namespaceLabels, err = selector(m.NamespaceSelector); err != nil {
		problems = append(problems, fmt.Errorf("match.namespaceSelector: %w", err))
	}
	return errors.Join(problems...)
}

func selector(given *metav1.LabelSelector) (labels.Selector, error) {
	if given == nil {
		return nil, nil
	}
	return metav1.LabelSelectorAsSelector(given)
}

// matchesKind says whether objects of a kind can match.
func (m *match) matchesKind(group, kind string) bool {
	if len(m.Kinds) == 0 {
		return true
	}
	return slices.ContainsFunc(m.Kinds, func(s kindSelector) bool { return selects(s.APIGroups, group) && selects(s.Kinds, kind) })
}

// subject is what is matched: an object as far as that needs it.
type subject struct {
	group, kind  string
	namespace    string // of the request, or else of the object; "" outside namespaces
	name         string
	generateName string
	labels       map[string]string
	source       source
	// namespaceLabels are those of the namespace. They are read only when namespaceKnown.
	namespaceLabels map[string]string
	namespaceKnown  bool
}

// objectMetadata is the part of an object that matching reads.
type objectMetadata struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name         string            `json:"name"`
		GenerateName string            `json:"generateName"`
		Namespace    string            `json:"namespace"`
		Labels       map[string]string `json:"labels"`
	} `json:"metadata"`
}

func readMetadata(raw []byte) (objectMetadata, error) {
	var metadata objectMetadata
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &metadata); err != nil {
		return metadata, fmt.Errorf("reading the metadata of the object: %w", err)
	}
	return metadata, nil
}

// isNamespace says whether the object is a namespace, for which names of namespaces are its own.
func (s *subject) isNamespace() bool { return s.group == "" && s.kind == "Namespace" }

// scope is the name that the names of namespaces are matched with, "" for an object outside namespaces.
func (s *subject) scope() string {
	if s.isNamespace() {
		return s.name
	}
	return s.namespace
}

// errNamespaceUnknown says that the labels of a namespace decide, and are not known.
var errNamespaceUnknown = errors.New("the labels of the namespace are not known")

// matches decides. The error is errNamespaceUnknown, and only where the labels of the namespace would decide.
func (m *match) matches(s *subject) (bool, error) {
	switch {
	case !m.matchesSubject(s):
		return false, nil
	case m.namespaceLabels == nil, s.scope() == "":
		return true, nil // an object outside namespaces passes
	case s.isNamespace():
		return m.namespaceLabels.Matches(labels.Set(s.labels)), nil
	case !s.namespaceKnown:
		return false, errNamespaceUnknown
	}
	return m.namespaceLabels.Matches(labels.Set(s.namespaceLabels)), nil
}

// matchesSubject is all of a match but the labels of the namespace.
func (m *match) matchesSubject(s *subject) bool {
	return m.matchesKind(s.group, s.kind) && m.matchesScope(s) && m.matchesNames(s) && m.matchesSource(s) &&
		(m.labels == nil || m.labels.Matches(labels.Set(s.labels)))
}

func (m *match) matchesScope(s *subject) bool {
	inNamespace := s.namespace != "" && !s.isNamespace()
	switch m.Scope {
	case "Cluster":
		return !inNamespace
	case "Namespaced":
		return inNamespace
	}
	return true
}

// matchesNames is about the names of the namespace and of the object. Objects outside namespaces pass both lists.
func (m *match) matchesNames(s *subject) bool {
	if scope := s.scope(); scope != "" {
		if len(m.Namespaces) > 0 && !matchesAny(m.Namespaces, scope) || matchesAny(m.ExcludedNamespaces, scope) {
			return false
		}
	}
	return m.Name == "" || m.Name.matches(s.name) || m.Name.matchesGenerated(s.generateName)
}

func (m *match) matchesSource(s *subject) bool {
	return m.Source == "" || m.Source == sourceAll || m.Source == s.source
}

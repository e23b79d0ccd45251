package configuration

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// scope are the namespaces in which an interest holds. The zero value is none.
type scope struct {
	everywhere bool     // what is in no namespace, too
	names      []string // sorted; nil if everywhere
}

// scope is that of policies configured for the named namespaces only, nil for all.
//
// Interests in Namespace objects hold everywhere: to policies such an object is in its own
// namespace, to rules it is cluster-scoped. So do wildcards, which may stand for them.
func (i interest) scope(names []string) scope {
	plural, _, _ := strings.Cut(i.name, "/")
	if len(names) == 0 || i.wild() || i.group == "" && plural == "namespaces" {
		return scope{everywhere: true}
	}
	names = slices.Sorted(slices.Values(names))
	return scope{names: slices.Compact(names)}
}

func (s scope) empty() bool { return !s.everywhere && len(s.names) == 0 }

// with is the union.
func (s scope) with(o scope) scope {
	if s.everywhere || o.everywhere {
		return scope{everywhere: true}
	}
	names := slices.Concat(s.names, o.names)
	slices.Sort(names)
	return scope{names: slices.Compact(names)}
}

// without is s less o as far as names can say it: everywhere less some namespaces is
// still everywhere, and up to conditions.
func (s scope) without(o scope) scope {
	if o.everywhere {
		return scope{}
	}
	return scope{s.everywhere, slices.DeleteFunc(slices.Clone(s.names), func(name string) bool { return slices.Contains(o.names, name) })}
}

// selector selects the namespaces by name, nil for all. The API server sets the label
// kubernetes.io/metadata.name to a namespace's name whenever it reads or writes one
// (SetDefaults_Namespace in k8s.io/kubernetes/pkg/apis/core/v1/defaults.go), so nobody
// can leave or join the selection by labelling.
func (p part) selector() *metav1.LabelSelector {
	if len(p.namespaces) == 0 {
		return nil
	}
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
		Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpIn, Values: p.namespaces,
	}}}
}

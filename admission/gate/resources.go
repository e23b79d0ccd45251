package gate

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/gate/source"
	"github.com/portcullis-dev/portcullis/admission/manifest"
	"github.com/portcullis-dev/portcullis/admission/workload"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// resource is what the API server knows of a kind: the name it is served under and
// whether its objects lie in namespaces.
type resource struct {
	name       string
	namespaced bool
}

// resources maps kinds to resources.
type resources map[schema.GroupKind]resource

// learn reads the CustomResourceDefinitions among documents: they say how a kind
// is called and where its objects lie. What is judged under its usual name keeps
// that: otherwise a definition that is never applied could take objects out of
// their policies' sight. judged is nil where nobody judges.
func (r resources) learn(documents []source.Document, judged func(schema.GroupResource) bool) {
	for i := range documents {
		if documents[i].Kind != "CustomResourceDefinition" {
			continue
		}
		var definition struct {
			Spec struct {
				Group string `json:"group"`
				Scope string `json:"scope"`
				Names struct {
					Kind   string `json:"kind"`
					Plural string `json:"plural"`
				} `json:"names"`
			} `json:"spec"`
		}
		if json.Unmarshal(documents[i].JSON, &definition) != nil || definition.Spec.Names.Plural == "" {
			continue // policies judge the definition itself; here it only teaches nothing
		}
		kind := schema.GroupKind{Group: definition.Spec.Group, Kind: definition.Spec.Names.Kind}
		if builtin(kind) || workload.Carries(kind.Group, kind.Kind) {
			continue
		}
		learned := resource{name: definition.Spec.Names.Plural, namespaced: definition.Spec.Scope != "Cluster"}
		usual := tabled(kind.WithVersion("")).name
		if judged != nil && judged(schema.GroupResource{Group: kind.Group, Resource: usual}) {
			learned.name = usual
		}
		r[kind] = learned
	}
}

// of is the resource of a kind, as well as it can be known.
func (r resources) of(kind schema.GroupVersionKind) resource {
	if learned, ok := r[kind.GroupKind()]; ok {
		return learned
	}
	return tabled(kind)
}

// tabled is the resource of a kind by the tables alone.
func tabled(kind schema.GroupVersionKind) resource {
	served, namespaced := manifest.Resource(kind)
	return resource{name: served.Resource, namespaced: namespaced}
}

// served are the API groups with a dot that the API server of Kubernetes itself
// serves. Other groups under k8s.io are custom resources of Kubernetes' subprojects.
var served = []string{
	"admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "authentication.k8s.io",
	"authorization.k8s.io", "certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io",
	"flowcontrol.apiserver.k8s.io", "internal.apiserver.k8s.io", "networking.k8s.io", "node.k8s.io",
	"rbac.authorization.k8s.io", "resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io", "storagemigration.k8s.io",
}

// builtin says that no definition among the documents can change a kind: it is one
// of Kubernetes' own.
func builtin(kind schema.GroupKind) bool {
	return !strings.Contains(kind.Group, ".") || slices.Contains(served, kind.Group)
}

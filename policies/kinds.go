package policies

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/manifest"
	"github.com/portcullis-dev/portcullis/admission/workload"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// checkKinds refuses kinds that a policy never sees: a misspelt one would silently match
// nothing. Globs and group/Kind, as of custom resources, are taken as they are.
func (m *Matching) checkKinds(kinds []string) error {
	var problems []error
	for _, kind := range kinds {
		if !strings.ContainsAny(kind, "*?[]{}!\\/") && !m.sees(kind) {
			problems = append(problems, fmt.Errorf("kinds: the policy is not about any kind %q: correct the name, or write group/%s for a custom resource", kind, kind))
		}
	}
	return errors.Join(problems...)
}

// sees says whether objects of a kind can come to a policy, as far as names tell.
func (m *Matching) sees(kind string) bool {
	if m.Workload == "any" && slices.ContainsFunc(workload.Known(), func(known workload.KnownKind) bool { return known.Kind == kind }) {
		return true
	}
	plural, _ := manifest.Resource(schema.GroupVersionKind{Kind: kind})
	return slices.ContainsFunc(m.resources(), func(resource groupResource) bool {
		// Subresources have kinds of their own (pods/eviction is an Eviction), but those that
		// a policy about workloads is about are Pods.
		if m.Workload == "" && strings.ContainsAny(resource.Resource, "/*") {
			return true
		}
		return resource.Resource == plural.Resource && kind != strings.ToLower(kind)
	})
}

package backup

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// references are the Secrets that an object names. namespace is that of the installation.
func references(kind *Kind, o *unstructured.Unstructured, namespace string) []Reference {
	var paths [][]string
	switch kind.Kind {
	case "PolicyBundle":
		paths = [][]string{{"spec", "source", "git", "secretRef"}, {"spec", "source", "oci", "secretRef"}, {"spec", "source", "http", "secretRef"}, {"spec", "pushSecretRef"}}
	case "VaultAuth":
		namespace = o.GetNamespace()
		paths = [][]string{{"spec", "jwt", "secretRef", "name"}, {"spec", "appRole", "secretRef", "name"}, {"spec", "cert", "secretName"}}
	case "VaultPush":
		namespace = o.GetNamespace()
		paths = [][]string{{"spec", "secret", "name"}}
	}
	var found []Reference
	for _, path := range paths {
		if name, _, _ := unstructured.NestedString(o.Object, path...); name != "" {
			found = append(found, Reference{Namespace: namespace, Name: name, For: kind.Kind + " " + nameOf(o)})
		}
	}
	return found
}

// nameOf is NAMESPACE/NAME, or NAME.
func nameOf(o *unstructured.Unstructured) string {
	if o.GetNamespace() == "" {
		return o.GetName()
	}
	return o.GetNamespace() + "/" + o.GetName()
}

func sortReferences(m *Manifest) {
	slices.SortFunc(m.Secrets, func(a, b Reference) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.For, b.For))
	})
	m.Secrets = slices.Compact(m.Secrets)
}

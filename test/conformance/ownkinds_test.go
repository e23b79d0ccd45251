package conformance

import (
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/admission/manifest"
	policiesv1alpha1 "github.com/portcullis-dev/portcullis/policies/v1alpha1"
	runtimev1alpha1 "github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	secretsv1alpha1 "github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
)

// TestOwnKindsAreWhereTheirDefinitionsPutThem: the gate knows resource and scope of our own kinds without asking a cluster.
func TestOwnKindsAreWhereTheirDefinitionsPutThem(t *testing.T) {
	checked := 0
	for _, manifests := range [][]byte{policiesv1alpha1.Manifest, runtimev1alpha1.Manifest, secretsv1alpha1.Manifest} {
		objects, err := cluster.Parse(manifests)
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range objects {
			raw, err := yaml.Marshal(object.Object)
			if err != nil {
				t.Fatal(err)
			}
			var definition apiextensionsv1.CustomResourceDefinition
			if err := yaml.Unmarshal(raw, &definition); err != nil {
				t.Fatal(err)
			}
			spec := &definition.Spec
			resource, namespaced := manifest.Resource(schema.GroupVersionKind{Group: spec.Group, Version: spec.Versions[0].Name, Kind: spec.Names.Kind})
			if resource.Resource != spec.Names.Plural || namespaced != (spec.Scope == apiextensionsv1.NamespaceScoped) {
				t.Errorf("%s: got %s, in namespaces %v; want %s, %s", spec.Names.Kind, resource.Resource, namespaced, spec.Names.Plural, spec.Scope)
			}
			checked++
		}
	}
	if checked < 12 {
		t.Errorf("got %d kinds, want all of ours", checked)
	}
}

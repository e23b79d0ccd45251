package doctor

import (
	"bytes"
	"errors"
	"io"

	policiesv1alpha1 "github.com/portcullis-dev/portcullis/policies/v1alpha1"
	runtimev1alpha1 "github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	scannerv1alpha1 "github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	secretsv1alpha1 "github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// group is one API group of ours.
type group struct {
	name string
	// program prints its definitions: "portcullis-controller".
	program string
	// definitions are as built in; roles as for a namespace.
	definitions []byte
	roles       func(namespace string) []byte
}

// groups are all of ours.
func groups() []group {
	return []group{
		{policiesv1alpha1.GroupVersion.Group, "portcullis-controller", policiesv1alpha1.Manifest, policiesv1alpha1.Roles},
		{runtimev1alpha1.GroupVersion.Group, "portcullis-responder", runtimev1alpha1.Manifest, runtimev1alpha1.Roles},
		{secretsv1alpha1.GroupVersion.Group, "portcullis-secrets", secretsv1alpha1.Manifest, secretsv1alpha1.Roles},
		{scannerv1alpha1.GroupVersion.Group, "portcullis-scanner", scannerv1alpha1.Manifest, nil},
	}
}

// parse reads the objects of a YAML stream that is built in. It panics where that is none.
func parse(manifest []byte) []unstructured.Unstructured {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096)
	var objects []unstructured.Unstructured
	for {
		var object unstructured.Unstructured
		err := decoder.Decode(&object.Object)
		switch {
		case errors.Is(err, io.EOF):
			return objects
		case err != nil:
			panic("reading a manifest that is built in: " + err.Error())
		case len(object.Object) > 0:
			objects = append(objects, object)
		}
	}
}

// ofKind are those of a kind.
func ofKind(objects []unstructured.Unstructured, kind string) []unstructured.Unstructured {
	var found []unstructured.Unstructured
	for _, object := range objects {
		if object.GetKind() == kind {
			found = append(found, object)
		}
	}
	return found
}

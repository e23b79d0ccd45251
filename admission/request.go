package admission

import (
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/portcullis-dev/portcullis/admission/manifest"
	"github.com/portcullis-dev/portcullis/policies"
)

// CreateRequest is the request that creating a manifest would make. namespace is
// where namespaced objects go that do not say, as kubectl's --namespace.
func CreateRequest(door Door, document *manifest.Document, namespace string) Request {
	kind := schema.FromAPIVersionAndKind(document.APIVersion, document.Kind)
	resource, namespaced := manifest.Resource(kind)
	request := Request{
		Door:      door,
		Operation: string(admissionv1.Create),
		Resource:  metav1.GroupVersionResource(resource),
		Kind:      metav1.GroupVersionKind(kind),
		Name:      document.Name,
		Object:    document.JSON,
	}
	if namespaced {
		request.Namespace = document.Namespace
		if request.Namespace == "" {
			request.Namespace = namespace
		}
	}
	return request
}

// ClusterObject is a manifest as a fact for policies that read other objects.
func ClusterObject(document *manifest.Document, namespace string) policies.Object {
	request := CreateRequest(DoorGate, document, namespace)
	return policies.Object{
		Group: request.Kind.Group, Version: request.Kind.Version, Kind: request.Kind.Kind,
		Resource:  request.Resource.Resource,
		Namespace: request.Namespace, Name: request.Name,
		Raw: document.JSON,
	}
}

// FromReview is the request of an AdmissionReview v1.
func FromReview(door Door, in *admissionv1.AdmissionRequest) Request {
	request := Request{
		Door:        door,
		UID:         string(in.UID),
		Operation:   string(in.Operation),
		Resource:    in.Resource,
		Kind:        in.Kind,
		SubResource: in.SubResource,
		Namespace:   in.Namespace,
		Name:        in.Name,
		DryRun:      in.DryRun != nil && *in.DryRun,
		Subject: Subject{
			Username: in.UserInfo.Username,
			UID:      in.UserInfo.UID,
			Groups:   in.UserInfo.Groups,
		},
		Object:    in.Object.Raw,
		OldObject: in.OldObject.Raw,
		Options:   in.Options.Raw,
	}
	if len(in.UserInfo.Extra) > 0 {
		request.Subject.Extra = map[string][]string{}
		for key, values := range in.UserInfo.Extra {
			request.Subject.Extra[key] = values
		}
	}
	return request
}

package event

import (
	"bytes"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/portcullis-dev/portcullis/admission"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// parents are the kinds of resources with subresources whose objects are of another kind.
var parents = map[string]string{
	"pods": "Pod", "services": "Service", "nodes": "Node", "serviceaccounts": "ServiceAccount", "replicationcontrollers": "ReplicationController",
	"deployments": "Deployment", "replicasets": "ReplicaSet", "statefulsets": "StatefulSet",
}

// metadata is what is read of an object.
type metadata struct {
	Name            string                  `json:"name"`
	GenerateName    string                  `json:"generateName"`
	UID             types.UID               `json:"uid"`
	OwnerReferences []metav1.OwnerReference `json:"ownerReferences"`
}

// readMetadata reads the metadata of a raw object and nothing behind it. What cannot be read is empty.
func readMetadata(raw []byte) metadata {
	decoder := jsontext.NewDecoder(bytes.NewReader(raw))
	if token, err := decoder.ReadToken(); err != nil || token.Kind() != '{' {
		return metadata{}
	}
	for decoder.PeekKind() == '"' {
		key, err := decoder.ReadToken()
		if err != nil {
			return metadata{}
		}
		if key.String() != "metadata" {
			if decoder.SkipValue() != nil {
				return metadata{}
			}
			continue
		}
		var read metadata
		if jsonv2.UnmarshalDecode(decoder, &read) != nil {
			return metadata{}
		}
		return read
	}
	return metadata{}
}

// about is what an Event is about: the object, or, where it is not there because its creation was denied, who owns it and else its namespace; and then the object as
// related.
func about(request *admission.Request, admitted bool) (regarding corev1.ObjectReference, related *corev1.ObjectReference) {
	raw := request.Object
	if len(raw) == 0 || request.SubResource != "" && len(request.OldObject) > 0 {
		raw = request.OldObject
	}
	read := readMetadata(raw)
	object := objectOf(request, read)
	if request.Operation != "CREATE" || request.SubResource != "" || admitted && object.Name != "" {
		return object, nil
	}
	object.UID = "" // it was never there
	if owner, ok := ownerOf(read, object.Namespace); ok {
		return owner, &object
	}
	if object.Namespace != "" {
		return corev1.ObjectReference{APIVersion: "v1", Kind: "Namespace", Name: object.Namespace, Namespace: object.Namespace}, &object
	}
	return object, nil
}

// objectOf is the object that a request is about; of a subresource the one that it belongs to.
func objectOf(request *admission.Request, read metadata) corev1.ObjectReference {
	object := corev1.ObjectReference{
		APIVersion: metav1.GroupVersion{Group: request.Resource.Group, Version: request.Resource.Version}.String(),
		Kind:       request.Kind.Kind, Namespace: request.Namespace, Name: request.Name, UID: types.UID(bounded(string(read.UID), maxUID)),
	}
	if object.Name == "" {
		object.Name = bounded(read.Name, maxName)
	}
	if object.Name == "" && read.GenerateName != "" {
		object.Name = bounded(read.GenerateName, maxName)
	}
	if request.SubResource != "" {
		if kind := parents[request.Resource.Resource]; kind != "" && kind != request.Kind.Kind {
			object.Kind, object.UID = kind, "" // what was read is the metadata of something else
		}
	}
	if request.Resource.Resource == "namespaces" && request.Resource.Group == "" {
		object.Namespace = "" // the API server says its name there
	}
	return object
}

// Limits of what an object may say of itself, in bytes: those of the API server.
const (
	maxName       = 253
	maxUID        = 64
	maxKind       = 63
	maxAPIVersion = 128
)

// ownerOf is who controls an object, and else its first owner. Nodes, which own their own pods, are of no namespace.
func ownerOf(read metadata, namespace string) (corev1.ObjectReference, bool) {
	var owner *metav1.OwnerReference
	for n := range read.OwnerReferences {
		one := &read.OwnerReferences[n]
		if owner == nil || one.Controller != nil && *one.Controller {
			owner = one
		}
	}
	if owner == nil || namespace == "" || owner.Kind == "" || owner.Name == "" || owner.Kind == "Node" ||
		len(owner.Name) > maxName || len(owner.UID) > maxUID || len(owner.Kind) > maxKind || len(owner.APIVersion) > maxAPIVersion {
		return corev1.ObjectReference{}, false
	}
	return corev1.ObjectReference{APIVersion: owner.APIVersion, Kind: owner.Kind, Namespace: namespace, Name: owner.Name, UID: owner.UID}, true
}

// bounded is a text of so many bytes at most.
func bounded(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "")
}

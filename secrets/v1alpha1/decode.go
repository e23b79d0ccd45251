package v1alpha1

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Object is one of the custom resources.
type Object interface {
	VaultConnection | VaultAuth | VaultSecret | VaultPush | VaultLease
}

// Decode reads an object that a dynamic client gave. It shares nothing with it.
func Decode[T Object](object *unstructured.Unstructured) (*T, error) {
	var decoded T
	raw, err := json.Marshal(object.Object)
	if err == nil {
		err = json.Unmarshal(raw, &decoded)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the %s %s/%s: %w", Kind[T](), object.GetNamespace(), object.GetName(), err)
	}
	return &decoded, nil
}

// Encode is an object for a dynamic client, with its apiVersion and kind.
func Encode[T Object](object *T) (*unstructured.Unstructured, error) {
	stamped := *object
	meta := metav1.TypeMeta{APIVersion: GroupVersion.String(), Kind: Kind[T]()}
	switch o := any(&stamped).(type) {
	case *VaultConnection:
		o.TypeMeta = meta
	case *VaultAuth:
		o.TypeMeta = meta
	case *VaultSecret:
		o.TypeMeta = meta
	case *VaultPush:
		o.TypeMeta = meta
	case *VaultLease:
		o.TypeMeta = meta
	}
	encoded := &unstructured.Unstructured{}
	raw, err := json.Marshal(&stamped)
	if err == nil {
		err = encoded.UnmarshalJSON(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("writing a %s: %w", Kind[T](), err)
	}
	return encoded, nil
}

// Kind is the kind of a type: "VaultSecret".
func Kind[T Object]() string {
	switch any((*T)(nil)).(type) {
	case *VaultConnection:
		return "VaultConnection"
	case *VaultAuth:
		return "VaultAuth"
	case *VaultSecret:
		return "VaultSecret"
	case *VaultPush:
		return "VaultPush"
	default:
		return "VaultLease"
	}
}

package v1alpha1

import (
	"bytes"
	_ "embed" // for the manifests
)

// Manifest are the custom resource definitions: YAML, to be applied once to each cluster.
//
//go:embed crds.yaml
var Manifest []byte

//go:embed roles.yaml
var roles []byte

// DefaultNamespace is that of the responder where nothing else is said.
const DefaultNamespace = "portcullis-system"

// Roles are the roles of the responder, the webhook and those who release quarantines, as YAML. The Leases are those of one
// namespace: the responder's.
func Roles(namespace string) []byte {
	return bytes.ReplaceAll(roles, []byte("namespace: "+DefaultNamespace), []byte("namespace: "+namespace))
}

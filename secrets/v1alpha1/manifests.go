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

// Roles are the roles of portcullis-secrets that do not depend on what is kept where, and those of people, as YAML. The Lease, the key of
// hashes and the VaultLeases are those of one namespace: its own. See NamespaceRole for the rest.
func Roles(namespace string) []byte {
	return bytes.ReplaceAll(roles, []byte("namespace: "+DefaultNamespace), []byte("namespace: "+namespace))
}

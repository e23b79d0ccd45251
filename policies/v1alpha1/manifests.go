package v1alpha1

import (
	"bytes"
	_ "embed" // for the manifests
	"slices"
)

// Manifest are the custom resource definitions: YAML, to be applied once to each cluster.
//
//go:embed crds.yaml
var Manifest []byte

//go:embed roles.yaml
var roles []byte

//go:embed auditroles.yaml
var auditRoles []byte

// DefaultNamespace is that of the controller where nothing else is said.
const DefaultNamespace = "portcullis-system"

// Roles are the roles of controller, audit, webhook and those who grant exceptions, as YAML. Secrets and the Lease are those of one
// namespace: the controller's.
func Roles(namespace string) []byte {
	all := slices.Concat(bytes.TrimSpace(roles), []byte("\n"), auditRoles)
	return bytes.ReplaceAll(all, []byte("namespace: "+DefaultNamespace), []byte("namespace: "+namespace))
}

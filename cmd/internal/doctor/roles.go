package doctor

import (
	"bytes"
	_ "embed" // the roles

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
)

//go:embed roles.yaml
var roles []byte

// Roles are the roles of those who run the doctor, as YAML, for an installation in a namespace.
func Roles(namespace string) []byte {
	return bytes.ReplaceAll(roles, []byte("namespace: "+installation.DefaultNamespace), []byte("namespace: "+namespace))
}

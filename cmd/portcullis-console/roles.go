package main

import (
	"bytes"
	_ "embed" // the roles
)

//go:embed roles.yaml
var rolesYAML []byte

// roles are those of people, and of the webhook with --decisions, in a namespace.
func roles(namespace string) []byte {
	return bytes.ReplaceAll(rolesYAML, []byte("namespace: "+defaultNamespace), []byte("namespace: "+namespace))
}

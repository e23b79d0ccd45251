// Package library is the built-in policy bundle: one folder per policy, shared
// Rego in lib, and bundle.yaml with the profiles baseline, restricted and hardened.
package library

import (
	"embed"
	"io/fs"
)

//go:embed bundle.yaml data lib/*.rego */*/policy.rego */*/policy.cel.yaml
var files embed.FS

// FS is the bundle's file system, as policies.Load takes it.
func FS() fs.FS { return files }

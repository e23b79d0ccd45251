// Package version says which version of Portcullis a program is.
package version

import "runtime/debug"

// stamp is set by the linker, see Makefile: "v1.2.3", or what git describe makes of a
// commit between two releases.
var stamp string

// commit is set by the linker for images, which are built without what Go records of a repository.
var commit string

// Commit is the commit that the program was built from, "unknown" where nobody wrote it down.
func Commit() string {
	if commit != "" {
		return commit
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				return setting.Value
			}
		}
	}
	return "unknown"
}

// String is the version that the program was stamped with, else that of the module it
// was built from, "devel" in its source tree.
func String() string {
	if stamp != "" {
		return stamp
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}

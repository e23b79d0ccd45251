package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
	"github.com/spf13/cobra"
)

// version is that of the module the program was built from, "devel" in its source tree.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of the program and of its built-in library",
		Example: "  portcullis version",
		Args:    arguments(cobra.NoArgs, "version takes no arguments"),
		RunE: func(*cobra.Command, []string) error {
			bundle, err := policies.Load(library.FS())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.stdout, "portcullis %s (%s, %s/%s)\nlibrary %s, %d policies\n",
				version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, bundle.Revision(), len(bundle.Policies))
			return err
		},
	}
}

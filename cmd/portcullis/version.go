package main

import (
	"fmt"
	"runtime"

	"github.com/portcullis-dev/portcullis/cmd/internal/version"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
	"github.com/spf13/cobra"
)

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
				version.String(), runtime.Version(), runtime.GOOS, runtime.GOARCH, bundle.Revision(), len(bundle.Policies))
			return err
		},
	}
}

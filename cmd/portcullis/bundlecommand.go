package main

import (
	"fmt"

	"github.com/portcullis-dev/portcullis/docs/schemas"
	"github.com/spf13/cobra"
)

func (p *program) bundleCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "bundle",
		Short: "Begin, build, verify, publish, fetch, compare and document policy bundles",
		Args:  knownCommand,
		RunE: func(*cobra.Command, []string) error {
			return usagef("bundle needs to know what to do: use bundle init, build, verify, push, pull, diff, docs, schema or import")
		},
	}
	command.AddCommand(
		p.bundleInitCommand(), p.bundleBuildCommand(), p.bundleVerifyCommand(), p.bundlePushCommand(), p.bundlePullCommand(), p.bundleDiffCommand(), p.bundleDocsCommand(),
		p.bundleImportCommand(), p.bundleSchemaCommand(),
	)
	return command
}

func (p *program) bundleSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema [NAME]",
		Short: "Print the JSON schema of a file that people write, or list them",
		Long: `schema prints a JSON schema by which editors complete and check a file. With the comment that
bundle init writes, those with the YAML language server do so by themselves:

  ` + schemas.Line("bundle"),
		Example:   "  portcullis bundle schema\n  portcullis bundle schema verification > verification.schema.json",
		ValidArgs: schemas.Names(),
		Args:      arguments(cobra.MaximumNArgs(1), "name one schema"),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				for _, name := range schemas.Names() {
					fmt.Fprintln(p.stdout, name)
				}
				return nil
			}
			schema, err := schemas.Schema(args[0])
			if err != nil {
				return usageError{err}
			}
			_, err = p.stdout.Write(schema)
			return err
		},
	}
}

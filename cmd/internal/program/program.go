// Package program is what the programs of Portcullis that serve have in common as programs: how they end, and the commands by which they print what a
// cluster must know.
package program

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
)

// Exit codes, the same for all programs. 2 is what a crash of Go returns, 1 and 3 are verdicts, which programs that serve do not give.
const (
	ExitOK       = 0
	ExitInternal = 4
	ExitUsage    = 64
)

// Run has a command do what args say, and returns the exit code. What failed is on stderr.
func Run(ctx context.Context, root *cobra.Command, args []string, stdout, stderr io.Writer) int {
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	called, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	fmt.Fprintf(stderr, "%s: %v\n", root.Name(), err)
	if usage.Is(err) {
		fmt.Fprintf(stderr, "See %s --help.\n", called.CommandPath())
		return ExitUsage
	}
	return ExitInternal
}

// NoArguments is for commands that take flags only.
func NoArguments(command *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage.Errorf("%q is no flag: %s takes flags only", args[0], command.CommandPath())
	}
	return nil
}

// Manifest is a command that prints what is applied to a cluster.
func Manifest(stdout io.Writer, use, short string, manifest []byte) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: NoArguments,
		RunE: func(*cobra.Command, []string) error {
			_, err := stdout.Write(manifest)
			return err
		},
	}
}

// Roles is a command that prints the roles for a program in a namespace. of is the program as people call it.
func Roles(stdout io.Writer, short, of, otherwise string, roles func(namespace string) []byte) *cobra.Command {
	var namespace string
	command := &cobra.Command{
		Use: "roles", Short: short, Args: NoArguments,
		RunE: func(*cobra.Command, []string) error {
			if err := CheckNamespace("--namespace", namespace); err != nil {
				return err
			}
			_, err := stdout.Write(roles(namespace))
			return err
		},
	}
	command.Flags().StringVar(&namespace, "namespace", otherwise, "`namespace` of the "+of)
	return command
}

// CheckNamespace says why a flag's value is no namespace.
func CheckNamespace(flag, namespace string) error {
	if problems := validation.IsDNS1123Label(namespace); len(problems) > 0 {
		return usage.Errorf("%s is %q, which is no namespace: %s", flag, namespace, problems[0])
	}
	return nil
}

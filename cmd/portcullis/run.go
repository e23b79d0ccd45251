package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/admission/gate/source"
	"github.com/portcullis-dev/portcullis/cmd/internal/bundlesource"
	"github.com/portcullis-dev/portcullis/cmd/internal/version"
	"github.com/spf13/cobra"
)

// program is what commands share: where they read and write, and how they ended.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// called is how people call it.
	called invocation
	// code is how the command ended when it did not fail.
	code gate.ExitCode
}

// usageError is a mistake in how the program was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run is the program. It returns its exit code, one of those in package gate.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return runAs(ctx, invocation{args: args}, stdin, stdout, stderr)
}

// runAs is run under the name that the program was called by.
func runAs(ctx context.Context, called invocation, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{stdin: stdin, stdout: stdout, stderr: stderr, called: called}
	root := p.command()
	called.rename(root)
	root.SetArgs(called.args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return int(p.code)
	}
	for line := range strings.Lines(called.name() + ": " + called.advice(err.Error())) {
		fmt.Fprintln(stderr, output.Plain(strings.TrimSuffix(line, "\n")))
	}
	if !misused(err) {
		return int(gate.ExitFault)
	}
	fmt.Fprintf(stderr, "See %s --help.\n", command.CommandPath())
	return int(gate.ExitUsage)
}

// misused says that the caller has to call differently.
func misused(err error) bool {
	var usage usageError
	var argument *source.ArgumentError
	var bundle *bundlesource.UsageError
	return errors.As(err, &usage) || errors.As(err, &argument) || errors.As(err, &bundle)
}

// knownCommand refuses commands that do not exist, with those that sound similar.
func knownCommand(parent *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	parent.SuggestionsMinimumDistance = 2 // letters that may differ
	if similar := parent.SuggestionsFor(args[0]); len(similar) > 0 {
		return usagef("there is no command %q: did you mean %s?", args[0], strings.Join(similar, " or "))
	}
	return usagef("there is no command %q: use one of those listed by %s --help", args[0], parent.CommandPath())
}

func (p *program) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "portcullis",
		Short: "Judge Kubernetes manifests by policy, before and as a cluster would",
		Long: `portcullis judges Kubernetes manifests with a bundle of Rego policies. It gives the
verdict that the admission webhook gives in the cluster, with the same bundle.

Without --bundle it uses the built-in library.

` + exitHelp(),
		Version:       version.String(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          knownCommand,
		RunE: func(*cobra.Command, []string) error {
			return usagef("portcullis needs to know what to do: name a command, as portcullis gate")
		},
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(p.gateCommand(), p.auditCommand(), p.reviewCommand(), p.imageCommand(), p.policyCommand(), p.bundleCommand(), p.conftestCommand(), p.explainCommand(), p.replayCommand(), p.journalCommand(), p.quarantineCommand(), p.secretsCommand(), p.breakGlassCommand(), p.doctorCommand(), p.supportBundleCommand(), p.backupCommand(), p.restoreCommand(), p.versionCommand())
	return root
}

// exitHelp lists the exit codes.
func exitHelp() string {
	var b strings.Builder
	b.WriteString("Exit codes, where several apply the first one listed:\n")
	for _, code := range gate.ExitCodes() {
		fmt.Fprintf(&b, "  %-3d %-10s %s\n", int(code), code, code.Meaning())
	}
	b.WriteString("Code 2 is never used: it is what a crash returns.")
	return b.String()
}

// arguments turns cobra's check of the arguments into an error with a next step.
func arguments(check cobra.PositionalArgs, next string) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if err := check(command, args); err != nil {
			return usagef("%w: %s", err, next)
		}
		return nil
	}
}

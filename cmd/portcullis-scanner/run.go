package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/portcullis-dev/portcullis/cmd/internal/version"
	"github.com/spf13/cobra"
)

// Exit codes, the same for all programs of Portcullis. 2 is what a crash of Go returns. What is found decides
// nothing here: policies do.
const (
	exitOK        = 0
	exitUndecided = 3
	exitInternal  = 4
	exitUsage     = 64
)

// usageError is a mistake in how the program was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// program is what commands share: where they read and write, and how they ended.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// code is how the command ended when it did not fail.
	code int
}

// run is the program. It returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{stdin: stdin, stdout: stdout, stderr: stderr}
	root := p.command()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	called, err := root.ExecuteContextC(ctx)
	if err == nil {
		return p.code
	}
	if ctx.Err() != nil {
		fmt.Fprintln(stderr, "portcullis-scanner: interrupted: what was attached until then stays")
		return exitInternal
	}
	fmt.Fprintf(stderr, "portcullis-scanner: %v\n", err)
	if usage := (usageError{}); errors.As(err, &usage) {
		fmt.Fprintf(stderr, "See %s --help.\n", called.CommandPath())
		return exitUsage
	}
	return exitInternal
}

func (p *program) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "portcullis-scanner",
		Short: "Find out what is in images, and sign what was found",
		Long: `portcullis-scanner pulls images and has them analysed by a child process, which has
no network, no key, no environment and no files but its own, under limits of memory,
processor time and time. The program itself signs what the child found.

Before it scans anything, a known-bad image must be flagged with the vulnerability
database at hand; otherwise it ends.

Exit codes: 0 all images were scanned completely, or the worker was ended; 3 of some
image it is not known what is in it; 4 something failed; 64 wrong usage. Whether what
was found is acceptable is for policies to say.`,
		Version:           version.String(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("there is no command %q: use scan, serve or crd", args[0])
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			return usagef("portcullis-scanner needs to know what to do: name a command, as portcullis-scanner scan")
		},
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(p.scanCommand(), p.serveCommand(), p.crdCommand(), p.childCommand())
	return root
}

// childCommand is for this program's own use, and for the command line's.
func (p *program) childCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "child",
		Short:  "Analyse images for a parent process, as it says on standard input",
		Hidden: true,
		Args:   noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			return serveChild(command.Context(), p.stdin, p.stdout)
		},
	}
}

func noArguments(command *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%q is no flag: %s takes flags only", args[0], command.CommandPath())
	}
	return nil
}

package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/portcullis-dev/portcullis/cmd/internal/program"
	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/portcullis-dev/portcullis/cmd/internal/version"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// commands share where they write.
type commands struct{ stdout, stderr io.Writer }

// run is the program. It returns its exit code.
func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	return program.Run(ctx, (&commands{stdout: stdout, stderr: stderr}).command(), args, stdout, stderr)
}

func (c *commands) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "portcullis-responder",
		Short: "Answer what workloads do while they run",
		Long: `portcullis-responder takes events of Falco, finds the pod that each is about, asks the policies of
a bundle what to do about it, and writes that down as a Quarantine. One of its replicas takes each
Quarantine from step to step: it keeps evidence, isolates the pod, proves what that is worth, and
takes everything back when it is released.

Exit codes: 0 ended by SIGTERM, or printed; 4 something failed; 64 wrong usage.`,
		Version:           version.String(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage.Errorf("there is no command %q: use serve, crd or roles", args[0])
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			return usage.Errorf("portcullis-responder needs to know what to do: name a command, as portcullis-responder serve")
		},
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage.New(err) })
	root.AddCommand(
		c.serveCommand(),
		program.Manifest(c.stdout, "crd", "Print the custom resources: Quarantine, QuarantineEvidence and Incident", v1alpha1.Manifest),
		program.Roles(c.stdout, "Print the roles of responder, webhook and those who release quarantines", "responder", v1alpha1.DefaultNamespace, v1alpha1.Roles),
	)
	return root
}

func (c *commands) serveCommand() *cobra.Command {
	var f flags
	command := &cobra.Command{
		Use:   "serve",
		Short: "Take events and answer them",
		Long: `portcullis-responder serve takes events of Falco over TLS until it is sent SIGTERM. An event is written
to the folder of --spool before it is answered, and dealt with again after a crash.

Whoever can post events can have pods isolated and deleted. So a sender shows a certificate that
--client-ca has signed; one for a node (common name system:node:NAME) speaks for the pods of that node
only, and one of --sender for all. Where Falco can show none, --secret-path-file keeps others out.

What a bundle asks for is only written down unless its section "response" says that it is to be done.
With --dry-run that holds whatever bundles say.

The custom resources and the roles are printed by portcullis-responder crd and roles. /livez, /readyz
and /metrics are on --probes.`,
		Example: `  portcullis-responder crd | kubectl apply -f -
  portcullis-responder roles | kubectl apply -f -
  portcullis-responder serve --spool=/var/lib/portcullis/events --bundle=cluster \
    --tls-cert=/tls/tls.crt --tls-key=/tls/tls.key --client-ca=/client-ca/ca.crt --sender=falcosidekick

  # On a workstation, with policies of one's own, and nothing that is done
  portcullis-responder serve --kubeconfig=$HOME/.kube/config --namespace=default --dry-run \
    --spool=/tmp/events --bundle=policies/ --tls-cert=tls.crt --tls-key=tls.key --client-ca=ca.crt`,
		Args: program.NoArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			return f.serve(command.Context(), c.stdout, f.telemetry.Logger(c.stderr, f.logLevel))
		},
	}
	f.register(command.Flags())
	return command
}

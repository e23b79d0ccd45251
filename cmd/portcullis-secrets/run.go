package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/portcullis-dev/portcullis/cmd/internal/program"
	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/portcullis-dev/portcullis/cmd/internal/version"
	"github.com/portcullis-dev/portcullis/secrets/controller"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// commands share where they read and write.
type commands struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// between stands between the controller and what judges, for tests; nil for nothing.
	between func(controller.Judge) controller.Judge
}

// run is the program. It returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return (&commands{stdin: stdin, stdout: stdout, stderr: stderr}).run(ctx, args)
}

func (c *commands) run(ctx context.Context, args []string) int {
	return program.Run(ctx, c.root(), args, c.stdout, c.stderr)
}

func (c *commands) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "portcullis-secrets",
		Short: "Keep secrets of Vault in a cluster, as policies permit",
		Long: `portcullis-secrets keeps secrets of Vault in Secrets of the cluster, each in the namespace of the VaultSecret that asks
for it, and values of VaultPushes in Vault. Policies of the bundle are asked before anything is read, and before anything is
written. One of its replicas acts: it renews leases, restarts workloads whose keys have changed, and revokes what quarantined
pods held. No value is ever logged, counted, or written anywhere but into its Secret.

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
			return usage.Errorf("portcullis-secrets needs to know what to do: name a command, as portcullis-secrets serve")
		},
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage.New(err) })
	crd := program.Manifest(c.stdout, "crd", "Print the custom resources: VaultConnection, VaultAuth, VaultSecret, VaultPush and VaultLease", v1alpha1.Manifest)
	crd.Aliases = []string{"crds"}
	root.AddCommand(c.serveCommand(), crd, c.rolesCommand(), c.versionCommand())
	return root
}

func (c *commands) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: program.NoArguments,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(c.stdout, "portcullis-secrets", version.String())
			return err
		},
	}
}

func (c *commands) serveCommand() *cobra.Command {
	var f flags
	command := &cobra.Command{
		Use:   "serve",
		Short: "Keep secrets until it is told to end",
		Long: `portcullis-secrets serve keeps VaultSecrets and VaultPushes as they say until it is sent SIGTERM. Several replicas elect
one that acts, by a Lease; leases of Vault go on over a restart and with another replica, since the tokens that hold them are
kept, encrypted, in VaultLeases of its namespace. Nothing is revoked when it ends.

It reads no Secret of a namespace unless a Role there names it: portcullis-secrets roles --namespace NAMESPACE prints what the
objects of a namespace need. The custom resources and its own roles are printed by portcullis-secrets crd and roles. /livez,
/readyz and /metrics are on --probes.

Policies say what is synced: without a rule allow_sync that permits it, nothing is.`,
		Example: `  portcullis-secrets crd | kubectl apply -f -
  portcullis-secrets roles | kubectl apply -f -
  portcullis-secrets roles --namespace shop | kubectl apply -f -
  portcullis-secrets serve --bundle=cluster --journal=/var/lib/portcullis/journal

  # On a workstation, with policies of one's own
  portcullis-secrets serve --kubeconfig=$HOME/.kube/config --namespace=default --bundle=policies/`,
		Args: program.NoArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			f.between = c.between
			return f.serve(command.Context(), f.telemetry.Logger(c.stderr, f.logLevel))
		},
	}
	f.register(command.Flags())
	return command
}

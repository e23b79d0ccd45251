package main

import (
	"context"
	"io"
	"slices"

	"github.com/portcullis-dev/portcullis/cmd/internal/program"
	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/portcullis-dev/portcullis/cmd/internal/version"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/spf13/cobra"
)

// commands share where they write.
type commands struct{ stdout, stderr io.Writer }

// run is the program. It returns its exit code.
func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	return program.Run(ctx, (&commands{stdout: stdout, stderr: stderr}).command(), args, stdout, stderr)
}

func (c *commands) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "portcullis-controller",
		Short: "Keep the policy bundles of a cluster",
		Long: `portcullis-controller fetches the bundles that PolicyBundle objects name, from Git, registries,
web servers or folders; verifies who has signed them; loads them and runs their own tests; stores
them in the cluster; and rolls them out as the objects say. Webhooks with --bundle=cluster follow.

Exit codes: 0 ended by SIGTERM, or printed; 4 something failed; 64 wrong usage.`,
		Version:           version.String(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage.Errorf("there is no command %q: use serve, uninstall, crd or roles", args[0])
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			return usage.Errorf("portcullis-controller needs to know what to do: name a command, as portcullis-controller serve")
		},
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage.New(err) })
	root.AddCommand(
		c.serveCommand(),
		c.uninstallCommand(),
		program.Manifest(c.stdout, "crd", "Print the custom resources: PolicyBundle, PolicyRevision, PolicyReplica, PolicyException and BreakGlass with its guard", slices.Concat(v1alpha1.Manifest, []byte("---\n"), v1alpha1.BreakGlassGuard)),
		program.Roles(c.stdout, "Print the roles of controller, webhook and those who grant exceptions", "controller", v1alpha1.DefaultNamespace, v1alpha1.Roles),
	)
	return root
}

func (c *commands) serveCommand() *cobra.Command {
	var f flags
	command := &cobra.Command{
		Use:   "serve",
		Short: "Keep the bundles of a cluster",
		Long: `portcullis-controller serve keeps the bundles of a cluster until it is sent SIGTERM. Several replicas
elect one that acts, by a Lease; the others answer the push endpoint and take over when it is gone.

The custom resources and the roles are printed by portcullis-controller crd and roles. /livez,
/readyz and /metrics are on --probes. With --hook, POST /hooks/BUNDLE has the source of a bundle
looked at now, for whoever knows the secret that the bundle names.

With --webhook-service it keeps the webhook configurations and the webhook's certificates, too: it registers once a replica of the
webhook is ready, follows the policies, puts back what others change, and renews. docs/availability.md has it all.`,
		Example: `  portcullis-controller crd | kubectl apply -f -
  portcullis-controller roles | kubectl apply -f -
  portcullis-controller serve --hook=:8443 --tls-cert=/tls/tls.crt --tls-key=/tls/tls.key

  # With the webhook's configurations and certificates
  portcullis-controller serve --webhook-service=portcullis-system/portcullis-webhook

  # On a workstation
  portcullis-controller serve --kubeconfig=$HOME/.kube/config --namespace=default`,
		Args: program.NoArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := f.registration.check(command.Flags()); err != nil {
				return err
			}
			return f.serve(command.Context(), f.telemetry.Logger(c.stderr, f.logLevel))
		},
	}
	f.register(command.Flags())
	return command
}

package main

import (
	"context"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/portcullis-dev/portcullis/cmd/internal/program"
	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/portcullis-dev/portcullis/cmd/internal/version"
)

// defaultNamespace is where Portcullis runs.
const defaultNamespace = "portcullis-system"

// commands share where they write.
type commands struct{ stdout, stderr io.Writer }

// run is the program. It returns its exit code.
func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	return program.Run(ctx, (&commands{stdout: stdout, stderr: stderr}).command(), args, stdout, stderr)
}

func (c *commands) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "portcullis-console",
		Short: "Show on a web page what Portcullis decides and does",
		Long: `portcullis-console serves a small web page: decisions as they are made, one timeline for each workload, policies, images,
quarantines and exceptions. It has no rights of its own: what somebody sees and does there is what their own token may.

Exit codes: 0 ended by SIGTERM, or printed; 4 something failed; 64 wrong usage.`,
		Version:           version.String(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage.Errorf("there is no command %q: use serve or roles", args[0])
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			return usage.Errorf("portcullis-console needs to know what to do: name a command, as portcullis-console serve")
		},
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage.New(err) })
	root.AddCommand(c.serveCommand(),
		program.Roles(c.stdout, "Print roles for people who use the console, and for the webhook that shows decisions", "webhook", defaultNamespace, roles))
	return root
}

func (c *commands) serveCommand() *cobra.Command {
	var f flags
	command := &cobra.Command{
		Use:   "serve",
		Short: "Serve the page",
		Long: `portcullis-console serve answers browsers until it is sent SIGTERM.

In a cluster it serves TLS, and people log in with a bearer token that they paste, or by an OpenID Connect issuer whose ID tokens the
API server takes. A token is kept in a sealed cookie of the browser, and nowhere else; a restart ends all sessions.

With --kubeconfig it acts as that file says, for one person on this machine: it listens on loopback only, and prints a link that logs in
once.

Decisions of the webhook are shown live where --webhook-ca says how to know the webhook, which must run with --decisions.`,
		Example: `  # On a workstation
  portcullis-console serve --kubeconfig=$HOME/.kube/config

  # In a cluster
  portcullis-console serve --tls-cert=/tls/tls.crt --tls-key=/tls/tls.key --webhook-ca=/webhook/ca.crt \
    --oidc-issuer=https://login.example.com --oidc-client-id=kubernetes --oidc-redirect=https://console.example.com/login/oidc/callback

  portcullis-console roles | kubectl apply -f -`,
		Args: program.NoArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			return f.serve(command.Context(), c.stdout, slog.New(slog.NewJSONHandler(c.stderr, &slog.HandlerOptions{Level: f.logLevel})))
		},
	}
	f.register(command.Flags())
	return command
}

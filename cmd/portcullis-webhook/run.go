package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/portcullis-dev/portcullis/cmd/internal/version"
	"github.com/spf13/cobra"
)

// Exit codes, the same for all programs of Portcullis. 2 is what a crash of Go
// returns, 1 and 3 are verdicts, which this program returns over HTTPS.
const (
	exitOK       = 0
	exitInternal = 4
	exitUsage    = 64
)

// usageError is a mistake in how the program was called.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run is the program. It returns its exit code.
func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	command := newCommand(stdout, stderr)
	command.SetArgs(args)
	command.SetOut(stdout)
	command.SetErr(stderr)
	err := command.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "portcullis-webhook: %v\n", err)
	if usage := (usageError{}); errors.As(err, &usage) {
		fmt.Fprintln(stderr, "See portcullis-webhook --help.")
		return exitUsage
	}
	return exitInternal
}

func newCommand(stdout, stderr io.Writer) *cobra.Command {
	var f flags
	command := &cobra.Command{
		Use:   "portcullis-webhook",
		Short: "Judge requests to a Kubernetes API server by policy",
		Long: `portcullis-webhook answers a Kubernetes API server's AdmissionReviews over HTTPS:
/validate with the verdict of a policy bundle, /mutate with its patches.

It runs until it is sent SIGTERM, then stops being ready, lets the cluster notice,
finishes what is under way and exits. Denials and faults are logged to standard
error as JSON, one line each. /livez, /readyz and /metrics are on a second port.

With --print-config it prints what the API server must be told, and exits.

Exit codes: 0 drained or printed; 4 something failed; 64 wrong usage.`,
		Example: `  # In a cluster, with a certificate from cert-manager and the built-in policies
  portcullis-webhook --tls-cert=/tls/tls.crt --tls-key=/tls/tls.key \
    --client-ca=/client-ca/ca.crt --client-name=kube-apiserver

  # Tell the API server about it
  portcullis-webhook --print-config --service=portcullis-system/portcullis-webhook \
    --ca-file=/tls/ca.crt | kubectl apply -f -

  # Tell it, where the webhook has a certificate authority of its own and has been started
  portcullis-webhook --print-config --service=portcullis-system/portcullis-webhook \
    --certificate-dir=/var/lib/portcullis/certs | kubectl apply -f -

  # By the bundles that portcullis-controller rolls out, with a journal of all decisions
  portcullis-webhook --bundle=cluster --bundle-cache=/var/cache/portcullis --journal=/var/lib/portcullis/journal \
    --tls-cert=/tls/tls.crt --tls-key=/tls/tls.key --client-ca=/client-ca/ca.crt --client-name=kube-apiserver

  # On a workstation, with policies of one's own, for anybody who asks
  portcullis-webhook --listen=127.0.0.1:8443 --probes=127.0.0.1:8081 \
    --certificate-dir=/tmp/certs --caller=open --no-cluster --bundle=policies/`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("%q is no flag: this program takes flags only", args[0])
			}
			return nil
		},
		Version:           version.String(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		RunE: func(command *cobra.Command, _ []string) error {
			if f.printConfig != "" {
				return printConfig(command.Context(), &f, stdout, stderr)
			}
			return serve(command.Context(), &f, stdout, f.telemetry.Logger(stderr, f.logLevel))
		},
	}
	command.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f.register(command.Flags())
	return command
}

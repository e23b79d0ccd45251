package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/admission/registration"
	"github.com/portcullis-dev/portcullis/admission/webhook/configuration"
	"github.com/portcullis-dev/portcullis/cmd/internal/program"
	"github.com/portcullis-dev/portcullis/cmd/internal/replica"
	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// uninstallTimeout is for all of it, so that the hook of an installer ends.
const uninstallTimeout = 2 * time.Minute

func (c *commands) uninstallCommand() *cobra.Command {
	var at replica.Flags
	var service, name string
	var secrets bool
	command := &cobra.Command{
		Use:   "uninstall",
		Short: "Take the webhook configurations away, so that the webhook can go",
		Long: `portcullis-controller uninstall deletes the two webhook configurations and returns when they are gone: without them the API server
asks nobody, and the rest of Portcullis can be deleted in any order. A controller that still runs does not put them back, as long
as the webhook's Service is the same one; after a new installation it does.

What was not made by the controller and calls another Service is left alone, and is an error. The bundles, their revisions and
all custom resources stay.`,
		Example: `  portcullis-controller uninstall
  portcullis-controller uninstall --secrets --kubeconfig=$HOME/.kube/config`,
		Args: program.NoArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			parsed, err := parseService("--webhook-service", service)
			if err != nil {
				return err
			}
			if len(validation.IsDNS1123Subdomain(name)) > 0 {
				return usage.Errorf("--webhook-name is %q, which no object can be called: give lower case letters, digits and dashes", name)
			}
			config, err := at.Cluster()
			if err != nil {
				return err
			}
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				return fmt.Errorf("making a client of the cluster: %w", err)
			}
			ctx, cancel := context.WithTimeout(command.Context(), uninstallTimeout)
			defer cancel()
			return registration.Uninstall(ctx, client, registration.UninstallOptions{Service: parsed, Name: name, Secrets: secrets, Out: c.stdout})
		},
	}
	flags := command.Flags()
	flags.StringVar(&at.Kubeconfig, "kubeconfig", "", "kubeconfig `file`; by default that of the pod's service account")
	flags.StringVar(&service, "webhook-service", v1alpha1.DefaultNamespace+"/portcullis-webhook", "the webhook's Service, as serve has it: `namespace/name[:port]`")
	flags.StringVar(&name, "webhook-name", configuration.DefaultName, "`name` of both webhook configurations")
	flags.BoolVar(&secrets, "secrets", false, "delete the Secrets with the webhook's certificates, too")
	return command
}

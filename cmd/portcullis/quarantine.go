package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

func (p *program) quarantineCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "quarantine",
		Short: "Say what isolates a pod and prove it; list, show, approve and release quarantines",
		Long: `quarantine is about pods that are, or may be, taken off the network because of what they do.

plan says beforehand what a quarantine of a pod would do, and proves what traffic would remain possible: in a
cluster, or offline for a folder of manifests. The others look at the quarantines of a cluster, and decide.`,
		Args: knownCommand,
		RunE: func(*cobra.Command, []string) error {
			return usagef("quarantine needs to know what to do: use quarantine plan, list, show, approve or release")
		},
	}
	command.AddCommand(p.quarantinePlanCommand(), p.quarantineListCommand(), p.quarantineShowCommand(), p.quarantineApproveCommand(), p.quarantineReleaseCommand())
	return command
}

// clusterTimeout is for one question to an API server.
const clusterTimeout = 30 * time.Second

// clusterFlags say which cluster is meant.
type clusterFlags struct{ kubeconfig string }

func (f *clusterFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file` of the cluster (default: that of kubectl)")
}

// config is how the cluster is reached: by --kubeconfig or, as kubectl does, by KUBECONFIG and ~/.kube/config.
func (f *clusterFlags) config() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, usagef("reaching the cluster: %w: give --kubeconfig FILE with a current context", err)
	}
	config.Timeout = clusterTimeout
	config.UserAgent = "portcullis"
	config.QPS, config.Burst = 50, 100
	config.WarningHandler = rest.NoWarnings{} // deprecations of what is there are no part of a report
	return config, nil
}

// namedPod reads NAMESPACE/POD.
func namedPod(argument string) (namespace, name string, err error) {
	namespace, name, _ = strings.Cut(argument, "/")
	if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return "", "", usagef("%q names no pod: write NAMESPACE/POD", argument)
	}
	return namespace, name, nil
}

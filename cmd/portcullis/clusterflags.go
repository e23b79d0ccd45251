package main

import (
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// clusterTimeout is for one question to an API server.
const clusterTimeout = 30 * time.Second

// clusterFlags say which cluster is meant, and as whom it is asked: the flags of kubectl, which its plugins are expected to have.
type clusterFlags struct {
	kubeconfig, context, as string
	groups                  []string
}

// register adds the flags. A command whose --context says something else keeps that, and goes by the current context.
func (f *clusterFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file` of the cluster (default: that of kubectl)")
	if flags.Lookup("context") == nil {
		flags.StringVar(&f.context, "context", "", "`name` of the context in the kubeconfig (default: the current one)")
	}
	flags.StringVar(&f.as, "as", "", "`user` to act as, where you may impersonate: system:serviceaccount:NAMESPACE:NAME for a service account")
	flags.StringArrayVar(&f.groups, "as-group", nil, "`group` to act as, with --as; may be repeated")
}

// given says whether any of the flags was used.
func (f *clusterFlags) given() bool {
	return f.kubeconfig != "" || f.context != "" || f.as != "" || len(f.groups) > 0
}

// loader reads the kubeconfig: --kubeconfig or, as kubectl does, KUBECONFIG and ~/.kube/config.
func (f *clusterFlags) loader() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{
		CurrentContext: f.context, AuthInfo: clientcmdapi.AuthInfo{Impersonate: f.as, ImpersonateGroups: f.groups},
	})
}

// config is how the cluster is reached.
func (f *clusterFlags) config() (*rest.Config, error) {
	if len(f.groups) > 0 && f.as == "" {
		return nil, usagef("--as-group is for those who act as somebody else: give --as, too")
	}
	config, err := f.loader().ClientConfig()
	if err != nil {
		return nil, f.unreached(err)
	}
	config.Timeout = clusterTimeout
	config.UserAgent = "portcullis"
	config.QPS, config.Burst = 50, 100
	config.WarningHandler = rest.NoWarnings{} // deprecations of what is there are no part of a report
	return config, nil
}

// currentNamespace is that of the context, as kubectl takes it.
func (f *clusterFlags) currentNamespace() (string, error) {
	namespace, _, err := f.loader().Namespace()
	if err != nil {
		return "", f.unreached(err)
	}
	return namespace, nil
}

func (f *clusterFlags) unreached(err error) error {
	if f.context != "" {
		return usagef("reaching the cluster: %w: kubectl config get-contexts has the names for --context", err)
	}
	return usagef("reaching the cluster: %w: give --kubeconfig FILE with a current context", err)
}

package bundlesource

import (
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// clusterTimeout is for one question to an API server.
const clusterTimeout = 30 * time.Second

// Kubeconfig is how the cluster is reached: by --bundle-kubeconfig or, as kubectl does, by KUBECONFIG and ~/.kube/config.
func (f *Flags) Kubeconfig() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, wrong("opening the bundles of the cluster: %w: give --bundle-kubeconfig FILE with a current context", err)
	}
	config.Timeout = clusterTimeout
	config.UserAgent = "portcullis"
	config.QPS, config.Burst = 50, 100
	return config, nil
}

// Package replica is one of several processes of a program that share a cluster: how it reaches that, what it is called, and where it is.
package replica

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
)

// namespaceFile is where a pod finds its namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// Flags are the flags. The names are those of a pod where they are empty: see Identify.
type Flags struct{ Kubeconfig, Namespace, Name string }

// Register adds the flags. namespace says what the namespace is for.
func (f *Flags) Register(set *pflag.FlagSet, namespace string) {
	set.StringVar(&f.Kubeconfig, "kubeconfig", "", "kubeconfig `file`; by default that of the pod's service account")
	set.StringVar(&f.Namespace, "namespace", "", "`namespace` "+namespace+"; by default the pod's")
	set.StringVar(&f.Name, "name", "", "`name` of this replica, which no other has; by default the host's")
}

// Cluster is how the API server is reached.
func (f *Flags) Cluster() (*rest.Config, error) {
	if f.Kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if errors.Is(err, rest.ErrNotInCluster) {
			return nil, usage.Errorf("this is no pod of a cluster: give --kubeconfig")
		}
		return config, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", f.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w: correct --kubeconfig", err)
	}
	return config, nil
}

// Identify finds out who this replica is, and where.
func (f *Flags) Identify() error {
	if f.Namespace == "" {
		content, err := os.ReadFile(namespaceFile)
		if err != nil {
			return usage.Errorf("this is no pod, whose namespace would be known: give --namespace")
		}
		f.Namespace = strings.TrimSpace(string(content))
	}
	if f.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("finding a name for this replica: %w: give --name", err)
		}
		f.Name = host
	}
	return nil
}

package containment

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/runtime/isolation"
)

// provider is the one of the cluster's network: as the options say, or as found out. One that was found is not looked for again until the next Setup.
func (c *Cluster) provider(ctx context.Context) isolation.CNI {
	if c.options.CNI != "" {
		return c.options.CNI
	}
	c.mu.Lock()
	known, at := c.cni, c.cniAt
	c.mu.Unlock()
	if !at.IsZero() && (known != "" || c.now().Sub(at) < servedFor) {
		return known
	}
	return c.findProvider(ctx)
}

// findProvider looks for the DaemonSets that providers run on each node.
func (c *Cluster) findProvider(ctx context.Context) isolation.CNI {
	var agents []agent
	for _, namespace := range agentNamespaces {
		list, err := c.client.Resource(daemonSets).Namespace(namespace).List(ctx, metav1.ListOptions{Limit: pageSize})
		if err != nil {
			c.log.WarnContext(ctx, "finding out the provider of the network; name it by a flag", "namespace", namespace, "error", err)
			return ""
		}
		for _, object := range list.Items {
			agents = append(agents, agent{object.GetNamespace(), object.GetName()})
		}
	}
	found := detectCNI(agents)
	c.mu.Lock()
	c.cni, c.cniAt = found, c.now()
	c.mu.Unlock()
	return found
}

// agent is a DaemonSet in a namespace of the system.
type agent struct{ namespace, name string }

// agentNamespaces are where providers are installed. A DaemonSet elsewhere says nothing: anybody could have made it.
var agentNamespaces = []string{"kube-system", "calico-system", "kube-flannel", "cilium", "antrea-system", "ovn-kubernetes", "openshift-ovn-kubernetes"}

// agents are the DaemonSets of providers, by name as their manifests have them.
var agents = map[string]isolation.CNI{
	"cilium":                isolation.Cilium,
	"calico-node":           isolation.Calico,
	"canal":                 isolation.Calico, // flannel's network under Calico's policies
	"antrea-agent":          isolation.Antrea,
	"ovnkube-node":          isolation.OVNKubernetes,
	"ovnkube-db-node":       isolation.OVNKubernetes,
	"kube-network-policies": isolation.KubeNetworkPolicies,
	"kube-flannel-ds":       isolation.None,
	"kube-flannel":          isolation.None,
}

// others are DaemonSets of providers whose policies this program knows nothing of, or that enforce them in some configurations.
var others = map[string]bool{"kindnet": true, "kube-router": true, "weave-net": true, "aws-node": true, "anetd": true, "azure-npm": true, "kube-ovn-cni": true, "romana-agent": true}

// detectCNI says which provider the agents are of. Where several enforce, or one that is not known, the answer is "": then at best nothing is proved.
// One that enforces nothing counts only alone.
func detectCNI(found []agent) isolation.CNI {
	var enforcing, silent isolation.CNI
	for _, one := range found {
		switch cni, known := agents[one.name]; {
		case others[one.name]:
			return ""
		case !known:
		case cni == isolation.None:
			silent = cni
		case enforcing != "" && enforcing != cni:
			return ""
		default:
			enforcing = cni
		}
	}
	if enforcing != "" {
		return enforcing
	}
	return silent
}

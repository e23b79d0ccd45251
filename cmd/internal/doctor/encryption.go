package doctor

import (
	"context"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func encryption() Check {
	return Check{
		Name: "encryption-at-rest", About: "Secrets are encrypted in etcd, as far as that can be seen from here",
		Why:  "Secrets that are synced from Vault lie in etcd, and in each of its backups.",
		look: lookAtEncryption,
	}
}

// howToCheck is for those who may look into etcd, or ask who runs it.
const howToCheck = "on a host of etcd: etcdctl get /registry/secrets/NAMESPACE/NAME | head -c 40 # it begins with k8s:enc: if it is encrypted; on a managed cluster ask its provider for envelope encryption"

// transformations counts what the API server does with what it stores, by the prefix of the transformer
// (k8s.io/apiserver/pkg/storage/value/metrics.go): "k8s:enc:kms:v2:…", or "" where nothing is encrypted.
const transformations = "apiserver_storage_transformation_operations_total"

func lookAtEncryption(ctx context.Context, p *patient, r *Result) {
	if families, err := p.serverMetrics(ctx, transformations); err == nil {
		var used []string
		for _, sample := range families.Samples(transformations) {
			if prefix := sample.Labels["transformer_prefix"]; strings.HasPrefix(prefix, "k8s:enc:") && sample.Labels["transformation_type"] == "to_storage" && sample.Value > 0 {
				used = append(used, strings.TrimSuffix(prefix, ":"))
			}
		}
		if len(used) > 0 {
			slices.Sort(used)
			r.ok("The API server encrypts what it stores: %s. Whether Secrets are among it is said by the file of --encryption-provider-config", several(slices.Compact(used)))
			return
		}
	}
	pods, err := p.Client.CoreV1().Pods(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{LabelSelector: "component=kube-apiserver", Limit: 10})
	switch {
	case err != nil:
		r.unknown(howToCheck, "Whether Secrets are encrypted in etcd cannot be seen: %s", reason(err))
	case len(pods.Items) == 0:
		r.unknown(howToCheck, "Whether Secrets are encrypted in etcd cannot be seen: the API server is no pod of kube-system here")
	default:
		for n := range pods.Items {
			if !encrypts(pods.Items[n].Spec.Containers[0].Command) {
				r.warn("https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/", "The API server %s is started without --encryption-provider-config: Secrets lie in etcd as they are", pods.Items[n].Name)
				return
			}
		}
		r.ok("The API server is started with --encryption-provider-config; what its file says cannot be seen from here")
	}
}

func encrypts(command []string) bool {
	return slices.ContainsFunc(command, func(word string) bool { return strings.HasPrefix(word, "--encryption-provider-config=") })
}

package manifest

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Resource says under which resource the API server serves a kind, and whether
// its objects live in namespaces. Manifests name kinds; policies and webhook rules
// name resources. For kinds outside the table the plural is formed as
// controller-gen forms it by default, and the kind is taken for namespaced, as
// most are.
func Resource(kind schema.GroupVersionKind) (resource schema.GroupVersionResource, namespaced bool) {
	plural, _ := meta.UnsafeGuessKindToResource(kind)
	if irregular, ok := irregularPlurals[kind.Kind]; ok {
		plural.Resource = irregular
	}
	return plural, !clusterScoped[clusterScopedKey{canonicalGroup(kind.Group), kind.Kind}]
}

// irregularPlurals are those that the rules of spelling do not give.
var irregularPlurals = map[string]string{
	"Endpoints":             "endpoints",
	"PodMetrics":            "pods",
	"NodeMetrics":           "nodes",
	"Gateway":               "gateways",
	"Mesh":                  "meshes",
	"ServiceDefaults":       "servicedefaults",
	"ProxyDefaults":         "proxydefaults",
	"PodExecOptions":        "pods/exec",
	"PodAttachOptions":      "pods/attach",
	"PodPortForwardOptions": "pods/portforward",
}

type clusterScopedKey struct{ group, kind string }

// clusterScoped are the kinds that live outside namespaces: those of Kubernetes
// 1.37 and of the custom resources that the library has policies for.
var clusterScoped = func() map[clusterScopedKey]bool {
	kinds := map[string]string{
		"":                             "ComponentStatus Namespace Node PersistentVolume",
		"admissionregistration.k8s.io": "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration",
		"apiextensions.k8s.io":         "CustomResourceDefinition",
		"apiregistration.k8s.io":       "APIService",
		"authentication.k8s.io":        "SelfSubjectReview TokenReview",
		"authorization.k8s.io":         "SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview",
		"certificates.k8s.io":          "CertificateSigningRequest ClusterTrustBundle",
		"flowcontrol.apiserver.k8s.io": "FlowSchema PriorityLevelConfiguration",
		"networking.k8s.io":            "IngressClass IPAddress ServiceCIDR",
		"node.k8s.io":                  "RuntimeClass",
		"rbac.authorization.k8s.io":    "ClusterRole ClusterRoleBinding",
		"resource.k8s.io":              "DeviceClass DeviceTaintRule ResourceSlice",
		"scheduling.k8s.io":            "PriorityClass",
		"storage.k8s.io":               "CSIDriver CSINode StorageClass VolumeAttachment VolumeAttributesClass",
		"internal.apiserver.k8s.io":    "StorageVersion",
		"storagemigration.k8s.io":      "StorageVersionMigration",
		"snapshot.storage.k8s.io":      "VolumeSnapshotClass VolumeSnapshotContent",
		"gateway.networking.k8s.io":    "GatewayClass",
		"policy.networking.k8s.io":     "AdminNetworkPolicy BaselineAdminNetworkPolicy ClusterNetworkPolicy",
		"cilium.io":                    "CiliumClusterwideNetworkPolicy CiliumNode CiliumIdentity CiliumExternalWorkload",
		"projectcalico.org":            "GlobalNetworkPolicy GlobalNetworkSet HostEndpoint IPPool Tier",
		"crd.projectcalico.org":        "GlobalNetworkPolicy GlobalNetworkSet HostEndpoint IPPool Tier",
		"argoproj.io":                  "ClusterWorkflowTemplate ClusterAnalysisTemplate",
		"tekton.dev":                   "ClusterTask",
		"serving.kserve.io":            "ClusterServingRuntime ClusterStorageContainer",
		"trainer.kubeflow.org":         "ClusterTrainingRuntime",
		"policy.portcullis.dev":        "Bundle",
	}
	scoped := map[clusterScopedKey]bool{}
	for group, names := range kinds {
		for _, kind := range strings.Fields(names) {
			scoped[clusterScopedKey{group, kind}] = true
		}
	}
	return scoped
}()

// canonicalGroup maps the group of a kind before it moved to the one it moved to.
func canonicalGroup(group string) string {
	if group == "extensions" {
		return "networking.k8s.io"
	}
	return group
}

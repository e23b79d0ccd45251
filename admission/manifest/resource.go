package manifest

import (
	"slices"
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
	return plural, inNamespaces(kind)
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
	"QuarantineEvidence":    "quarantineevidences",
	"VaultPush":             "vaultpushes",
	"PodExecOptions":        "pods/exec",
	"PodAttachOptions":      "pods/attach",
	"PodPortForwardOptions": "pods/portforward",
}

// clusterScoped are the kinds that live outside namespaces, by group: those of
// Kubernetes 1.37, of the custom resources that the library has policies for, and of
// projects that are often installed beside them. "*" is every kind of a group.
var clusterScoped = map[string]string{
	"":                                  "ComponentStatus Namespace Node PersistentVolume",
	"admissionregistration.k8s.io":      "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration",
	"apiextensions.k8s.io":              "CustomResourceDefinition",
	"apiregistration.k8s.io":            "APIService",
	"argoproj.io":                       "ClusterWorkflowTemplate ClusterAnalysisTemplate",
	"authentication.k8s.io":             "SelfSubjectReview TokenReview",
	"authorization.k8s.io":              "SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview",
	"autoscaling.openshift.io":          "ClusterAutoscaler",
	"capsule.clastix.io":                "CapsuleConfiguration Tenant",
	"cert-manager.io":                   "ClusterIssuer",
	"certificates.k8s.io":               "CertificateSigningRequest ClusterTrustBundle",
	"cilium.io":                         "CiliumClusterwideNetworkPolicy CiliumNode CiliumIdentity CiliumExternalWorkload CiliumBGPAdvertisement CiliumBGPClusterConfig CiliumBGPPeerConfig CiliumCIDRGroup CiliumClusterwideEnvoyConfig CiliumEgressGatewayPolicy CiliumL2AnnouncementPolicy CiliumLoadBalancerIPPool",
	"constraints.gatekeeper.sh":         "*",
	"crd.projectcalico.org":             "GlobalNetworkPolicy GlobalNetworkSet HostEndpoint IPPool Tier BGPConfiguration BGPFilter BGPPeer BlockAffinity CalicoNodeStatus ClusterInformation FelixConfiguration IPAMBlock IPAMConfig IPAMHandle IPReservation KubeControllersConfiguration",
	"external-secrets.io":               "ClusterExternalSecret ClusterPushSecret ClusterSecretStore",
	"flowcontrol.apiserver.k8s.io":      "FlowSchema PriorityLevelConfiguration",
	"gateway.networking.k8s.io":         "GatewayClass",
	"groupsnapshot.storage.k8s.io":      "VolumeGroupSnapshotClass VolumeGroupSnapshotContent",
	"internal.apiserver.k8s.io":         "StorageVersion",
	"karpenter.sh":                      "NodeClaim NodePool",
	"kueue.x-k8s.io":                    "AdmissionCheck Cohort ClusterQueue ResourceFlavor Topology WorkloadPriorityClass",
	"kyverno.io":                        "ClusterCleanupPolicy ClusterPolicy GlobalContextEntry",
	"machineconfiguration.openshift.io": "ContainerRuntimeConfig ControllerConfig KubeletConfig MachineConfig MachineConfigPool",
	"mutations.gatekeeper.sh":           "Assign AssignImage AssignMetadata ModifySet",
	"networking.k8s.io":                 "IngressClass IPAddress ServiceCIDR",
	"node.k8s.io":                       "RuntimeClass",
	"policies.kubewarden.io":            "ClusterAdmissionPolicy ClusterAdmissionPolicyGroup PolicyServer",
	"policy.networking.k8s.io":          "AdminNetworkPolicy BaselineAdminNetworkPolicy ClusterNetworkPolicy",
	"policy.portcullis.dev":             "BreakGlass Bundle PolicyBundle PolicyReplica PolicyRevision",
	"policy.sigstore.dev":               "ClusterImagePolicy TrustRoot",
	"project.openshift.io":              "Project",
	"projectcalico.org":                 "GlobalNetworkPolicy GlobalNetworkSet HostEndpoint IPPool Tier BGPConfiguration BGPFilter BGPPeer ClusterInformation FelixConfiguration IPReservation KubeControllersConfiguration",
	"rbac.authorization.k8s.io":         "ClusterRole ClusterRoleBinding",
	"resource.k8s.io":                   "DeviceClass DeviceTaintRule ResourceSlice",
	"runtime.portcullis.dev":            "Incident Quarantine QuarantineEvidence",
	"scan.portcullis.dev":               "ImageScan",
	"scheduling.k8s.io":                 "PriorityClass",
	"secrets.portcullis.dev":            "VaultConnection",
	"security.openshift.io":             "SecurityContextConstraints",
	"serving.kserve.io":                 "ClusterServingRuntime ClusterStorageContainer",
	"snapshot.storage.k8s.io":           "VolumeSnapshotClass VolumeSnapshotContent",
	"storage.k8s.io":                    "CSIDriver CSINode StorageClass VolumeAttachment VolumeAttributesClass",
	"storagemigration.k8s.io":           "StorageVersionMigration",
	"tekton.dev":                        "ClusterTask",
	"templates.gatekeeper.sh":           "ConstraintTemplate",
	"trainer.kubeflow.org":              "ClusterTrainingRuntime",
	"triggers.tekton.dev":               "ClusterInterceptor ClusterTriggerBinding",
}

// inNamespaces says whether a kind's objects live in namespaces.
func inNamespaces(kind schema.GroupVersionKind) bool {
	kinds := clusterScoped[canonicalGroup(kind.Group)]
	return kinds != "*" && !slices.Contains(strings.Fields(kinds), kind.Kind)
}

// canonicalGroup maps the group of a kind before it moved to the one it moved to.
func canonicalGroup(group string) string {
	if group == "extensions" {
		return "networking.k8s.io"
	}
	return group
}

# METADATA
# title: Deprecated API versions
# description: |
#   A manifest in an API version that the cluster no longer serves cannot be applied: the release fails, or
#   the recovery after a disaster does. Versions that are gone in the Kubernetes version of the parameter
#   are denied, those that are deprecated in it are warned about. The table is that of Kubernetes 1.37
#   (API lifecycle of k8s.io/api). Judged at the gate only: a cluster answers for its own versions,
#   and stores objects in a version of its own choice.
# related_resources:
#   - https://kubernetes.io/docs/reference/using-api/deprecation-guide/
# custom:
#   severity: medium
#   match:
#     resources:
#       - {group: admissionregistration.k8s.io, resources: [mutatingadmissionpolicies, mutatingadmissionpolicybindings, mutatingwebhookconfigurations, validatingadmissionpolicies, validatingadmissionpolicybindings, validatingwebhookconfigurations]}
#       - {group: apiextensions.k8s.io, resources: [customresourcedefinitions]}
#       - {group: apiregistration.k8s.io, resources: [apiservices]}
#       - {group: apps, resources: [daemonsets, deployments, replicasets, statefulsets]}
#       - {group: autoscaling, resources: [horizontalpodautoscalers]}
#       - {group: batch, resources: [cronjobs]}
#       - {group: certificates.k8s.io, resources: [clustertrustbundles]}
#       - {group: extensions, resources: [daemonsets, deployments, ingresses, networkpolicies, podsecuritypolicies, replicasets]}
#       - {group: flowcontrol.apiserver.k8s.io, resources: [flowschemas, prioritylevelconfigurations]}
#       - {group: networking.k8s.io, resources: [ingressclasses, ingresses, ipaddresses, servicecidrs]}
#       - {group: node.k8s.io, resources: [runtimeclasses]}
#       - {group: policy, resources: [poddisruptionbudgets, podsecuritypolicies]}
#       - {group: rbac.authorization.k8s.io, resources: [clusterrolebindings, clusterroles, rolebindings, roles]}
#       - {group: resource.k8s.io, resources: [deviceclasses, resourceclaims, resourceclaimtemplates]}
#       - {group: scheduling.k8s.io, resources: [priorityclasses]}
#       - {group: storage.k8s.io, resources: [csidrivers, csistoragecapacities, storageclasses, volumeattributesclasses]}
#       - {group: storagemigration.k8s.io, resources: [storageversionmigrations]}
#   doors: [gate]
#   remediation: Write the manifest in the version that replaces it, as `kubectl convert` does; fields may have moved.
#   controls:
#     owasp-k8s: [K10]
#   parameters:
#     type: object
#     properties:
#       kubernetesVersion:
#         description: The Kubernetes version that has to accept the manifests.
#         type: string
#         pattern: "^1\\.[0-9]+$"
#         default: "1.37"
#       apis:
#         description: By apiVersion and kind what replaces it and since when it is deprecated and gone.
#         type: object
#         additionalProperties:
#           type: object
#           additionalProperties:
#             type: object
#             required: [deprecated]
#             additionalProperties: false
#             properties:
#               replacement: {type: string}
#               deprecated: {type: string, pattern: "^1\\.[0-9]+$"}
#               removed: {type: string, pattern: "^1\\.[0-9]+$"}
#         default:
#           admissionregistration.k8s.io/v1alpha1:
#             MutatingAdmissionPolicy: {replacement: admissionregistration.k8s.io/v1, deprecated: "1.35", removed: "1.38"}
#             MutatingAdmissionPolicyBinding: {replacement: admissionregistration.k8s.io/v1, deprecated: "1.35", removed: "1.38"}
#             ValidatingAdmissionPolicy: {replacement: admissionregistration.k8s.io/v1, deprecated: "1.29", removed: "1.32"}
#             ValidatingAdmissionPolicyBinding: {replacement: admissionregistration.k8s.io/v1, deprecated: "1.29", removed: "1.32"}
#           admissionregistration.k8s.io/v1beta1:
#             MutatingAdmissionPolicy: {replacement: admissionregistration.k8s.io/v1, deprecated: "1.37", removed: "1.40"}
#             MutatingAdmissionPolicyBinding: {replacement: admissionregistration.k8s.io/v1, deprecated: "1.37", removed: "1.40"}
#             MutatingWebhookConfiguration: {replacement: admissionregistration.k8s.io/v1, deprecated: "1.16", removed: "1.22"}
#             ValidatingAdmissionPolicy: {replacement: admissionregistration.k8s.io/v1, deprecated: "1.31", removed: "1.34"}
#             ValidatingAdmissionPolicyBinding: {replacement: admissionregistration.k8s.io/v1, deprecated: "1.31", removed: "1.34"}
#             ValidatingWebhookConfiguration: {replacement: admissionregistration.k8s.io/v1, deprecated: "1.16", removed: "1.22"}
#           apiextensions.k8s.io/v1beta1:
#             CustomResourceDefinition: {replacement: apiextensions.k8s.io/v1, deprecated: "1.16", removed: "1.22"}
#           apiregistration.k8s.io/v1beta1:
#             APIService: {replacement: apiregistration.k8s.io/v1, deprecated: "1.19", removed: "1.22"}
#           apps/v1beta1:
#             Deployment: {replacement: apps/v1, deprecated: "1.8", removed: "1.16"}
#             StatefulSet: {replacement: apps/v1, deprecated: "1.8", removed: "1.16"}
#           apps/v1beta2:
#             DaemonSet: {replacement: apps/v1, deprecated: "1.9", removed: "1.16"}
#             Deployment: {replacement: apps/v1, deprecated: "1.9", removed: "1.16"}
#             ReplicaSet: {replacement: apps/v1, deprecated: "1.9", removed: "1.16"}
#             StatefulSet: {replacement: apps/v1, deprecated: "1.9", removed: "1.16"}
#           autoscaling/v2beta1:
#             HorizontalPodAutoscaler: {replacement: autoscaling/v2, deprecated: "1.22", removed: "1.25"}
#           autoscaling/v2beta2:
#             HorizontalPodAutoscaler: {replacement: autoscaling/v2, deprecated: "1.23", removed: "1.26"}
#           batch/v1beta1:
#             CronJob: {replacement: batch/v1, deprecated: "1.21", removed: "1.25"}
#           certificates.k8s.io/v1alpha1:
#             ClusterTrustBundle: {replacement: certificates.k8s.io/v1, deprecated: "1.34", removed: "1.37"}
#           certificates.k8s.io/v1beta1:
#             ClusterTrustBundle: {replacement: certificates.k8s.io/v1, deprecated: "1.37", removed: "1.40"}
#           extensions/v1beta1:
#             DaemonSet: {replacement: apps/v1, deprecated: "1.8", removed: "1.16"}
#             Deployment: {replacement: apps/v1, deprecated: "1.8", removed: "1.16"}
#             Ingress: {replacement: networking.k8s.io/v1, deprecated: "1.14", removed: "1.22"}
#             NetworkPolicy: {replacement: networking.k8s.io/v1, deprecated: "1.9", removed: "1.16"}
#             PodSecurityPolicy: {deprecated: "1.10", removed: "1.16"}
#             ReplicaSet: {replacement: apps/v1, deprecated: "1.8", removed: "1.16"}
#           flowcontrol.apiserver.k8s.io/v1beta1:
#             FlowSchema: {replacement: flowcontrol.apiserver.k8s.io/v1, deprecated: "1.23", removed: "1.26"}
#             PriorityLevelConfiguration: {replacement: flowcontrol.apiserver.k8s.io/v1, deprecated: "1.23", removed: "1.26"}
#           flowcontrol.apiserver.k8s.io/v1beta2:
#             FlowSchema: {replacement: flowcontrol.apiserver.k8s.io/v1, deprecated: "1.26", removed: "1.29"}
#             PriorityLevelConfiguration: {replacement: flowcontrol.apiserver.k8s.io/v1, deprecated: "1.26", removed: "1.29"}
#           flowcontrol.apiserver.k8s.io/v1beta3:
#             FlowSchema: {replacement: flowcontrol.apiserver.k8s.io/v1, deprecated: "1.29", removed: "1.32"}
#             PriorityLevelConfiguration: {replacement: flowcontrol.apiserver.k8s.io/v1, deprecated: "1.29", removed: "1.32"}
#           networking.k8s.io/v1beta1:
#             IPAddress: {replacement: networking.k8s.io/v1, deprecated: "1.34", removed: "1.37"}
#             Ingress: {replacement: networking.k8s.io/v1, deprecated: "1.19", removed: "1.22"}
#             IngressClass: {replacement: networking.k8s.io/v1, deprecated: "1.19", removed: "1.22"}
#             ServiceCIDR: {replacement: networking.k8s.io/v1, deprecated: "1.34", removed: "1.37"}
#           node.k8s.io/v1beta1:
#             RuntimeClass: {replacement: node.k8s.io/v1, deprecated: "1.22", removed: "1.25"}
#           policy/v1beta1:
#             PodDisruptionBudget: {replacement: policy/v1, deprecated: "1.21", removed: "1.25"}
#             PodSecurityPolicy: {deprecated: "1.21", removed: "1.25"}
#           rbac.authorization.k8s.io/v1beta1:
#             ClusterRole: {replacement: rbac.authorization.k8s.io/v1, deprecated: "1.17", removed: "1.22"}
#             ClusterRoleBinding: {replacement: rbac.authorization.k8s.io/v1, deprecated: "1.17", removed: "1.22"}
#             Role: {replacement: rbac.authorization.k8s.io/v1, deprecated: "1.17", removed: "1.22"}
#             RoleBinding: {replacement: rbac.authorization.k8s.io/v1, deprecated: "1.17", removed: "1.22"}
#           resource.k8s.io/v1beta1:
#             DeviceClass: {replacement: resource.k8s.io/v1, deprecated: "1.35", removed: "1.38"}
#             ResourceClaim: {replacement: resource.k8s.io/v1, deprecated: "1.35", removed: "1.38"}
#             ResourceClaimTemplate: {replacement: resource.k8s.io/v1, deprecated: "1.35", removed: "1.38"}
#           resource.k8s.io/v1beta2:
#             DeviceClass: {replacement: resource.k8s.io/v1, deprecated: "1.36", removed: "1.39"}
#             ResourceClaim: {replacement: resource.k8s.io/v1, deprecated: "1.36", removed: "1.39"}
#             ResourceClaimTemplate: {replacement: resource.k8s.io/v1, deprecated: "1.36", removed: "1.39"}
#           scheduling.k8s.io/v1beta1:
#             PriorityClass: {replacement: scheduling.k8s.io/v1, deprecated: "1.14", removed: "1.22"}
#           storage.k8s.io/v1alpha1:
#             VolumeAttributesClass: {replacement: storage.k8s.io/v1, deprecated: "1.32", removed: "1.35"}
#           storage.k8s.io/v1beta1:
#             CSIDriver: {replacement: storage.k8s.io/v1, deprecated: "1.19", removed: "1.22"}
#             CSIStorageCapacity: {replacement: storage.k8s.io/v1, deprecated: "1.24", removed: "1.27"}
#             StorageClass: {replacement: storage.k8s.io/v1, deprecated: "1.19", removed: "1.22"}
#             VolumeAttributesClass: {replacement: storage.k8s.io/v1, deprecated: "1.34", removed: "1.37"}
#           storagemigration.k8s.io/v1beta1:
#             StorageVersionMigration: {replacement: storagemigration.k8s.io/v1, deprecated: "1.37", removed: "1.40"}
package portcullis.workloads.deprecated_apis

deny contains finding if {
	gone
	finding := objection("is gone", api.removed)
}

warn contains finding if {
	since(api.deprecated)
	not gone
	finding := objection("is deprecated", api.deprecated)
}

api := input.parameters.apis[input.object.apiVersion][input.object.kind]

gone if since(api.removed)

since(version) if semver.compare(concat("", [version, ".0"]), concat("", [input.parameters.kubernetesVersion, ".0"])) <= 0

objection(state, version) := {
	"msg": sprintf("%s %s %s since Kubernetes %s; it is replaced by %s", [
		input.object.apiVersion, input.object.kind, state, version,
		object.get(api, "replacement", "nothing"),
	]),
	"path": "apiVersion",
	"fix": [{"op": "set", "path": "apiVersion", "value": replacement} | replacement := api.replacement],
}

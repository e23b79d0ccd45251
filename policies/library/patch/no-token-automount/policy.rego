# METADATA
# title: No service account token by default
# description: |
#   Every pod gets a token for the Kubernetes API unless it declines. Whoever runs code in the pod
#   reads it and acts with the rights of the service account, from inside and outside the cluster.
#   Pods that say nothing get automountServiceAccountToken: false, and the token volume that the
#   API server has injected by then is removed with its mounts. A workload that needs the API says
#   automountServiceAccountToken: true, or projects a token of its own.
#   The templates of ReplicaSets are left alone: the Deployment controller takes a ReplicaSet whose
#   template differs from its own for a hash collision, and creates another, without end.
# related_resources:
#   - https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#opt-out-of-api-credential-automounting
# custom:
#   severity: medium
#   match:
#     workload: any
#     operations: [CREATE]
#   parameters:
#     type: object
#     properties:
#       kinds:
#         description: Kinds that are patched; never name one that another controller creates and compares, such as ReplicaSet.
#         type: array
#         items: {type: string, not: {enum: [ReplicaSet]}}
#         default: [Pod, Deployment, StatefulSet, DaemonSet, Job, CronJob]
#   remediation: Set automountServiceAccountToken to false, or to true where the workload calls the Kubernetes API.
#   controls:
#     nsa: [pod-security/service-account-tokens]
#     cis: ["5.1.6"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: [K01]
package portcullis.patch.no_token_automount

import data.portcullis.lib.patching

patch contains {"path": array.concat(root, ["automountServiceAccountToken"]), "set": false} if undecided

patch contains {"path": array.concat(root, ["volumes", i]), "remove": true} if {
	undecided
	some i, volume in spec.volumes
	volume.name in injected
}

patch contains {"path": array.concat(root, [list, i, "volumeMounts", j]), "remove": true} if {
	undecided
	some list in ["initContainers", "containers"]
	some i, container in spec[list]
	some j, mount in container.volumeMounts
	mount.name in injected
}

undecided if {
	not decided
	not input.workload.mirror
	input.workload.kind in input.parameters.kinds
}

decided if is_boolean(input.workload.automountServiceAccountToken)

root := patching.segments(input.workload.path)

spec := object.get(input.object, root, {})

# injected are the names of the volumes as the API server's ServiceAccount plugin adds
# them; in a template they are what somebody copied from a running pod.
injected contains volume.name if {
	some volume in spec.volumes
	startswith(volume.name, "kube-api-access-")
	some source in volume.projected.sources
	source.serviceAccountToken
}

# METADATA
# title: Immutable configuration
# description: |
#   A ConfigMap or Secret that can be changed in place changes running workloads without a
#   rollout and without a way back, on purpose or after a break-in. Immutable ones are
#   replaced under a new name together with the workload, and they take load off the API
#   server, since kubelets stop watching them.
#
#   Kinds and users that keep changing such objects by design, such as controllers, are
#   parameters.
# related_resources:
#   - https://kubernetes.io/docs/concepts/configuration/configmap/#configmap-immutable
# custom:
#   severity: low
#   match:
#     resources:
#       - group: ""
#         resources: [configmaps, secrets]
#   remediation: >-
#     Set immutable to true and give each new version a new name.
#   controls:
#     nsa: ["network-separation/secrets"]
#     nist-800-190: ["4.4.3"]
#   parameters:
#     type: object
#     properties:
#       kinds:
#         description: The kinds that have to be immutable.
#         type: array
#         items: {type: string, enum: [ConfigMap, Secret]}
#         default: [ConfigMap, Secret]
#       exemptTypes:
#         description: Types of Secrets that are written by controllers.
#         type: array
#         items: {type: string}
#         default: [kubernetes.io/service-account-token, bootstrap.kubernetes.io/token, helm.sh/release.v1]
#       exemptUsers:
#         description: Users whose objects may stay mutable; service accounts as system:serviceaccount:NAMESPACE:NAME.
#         type: array
#         items: {type: string}
#         default: ["system:kube-controller-manager"]
#       exemptGroups:
#         description: Groups whose objects may stay mutable.
#         type: array
#         items: {type: string}
#         default: ["system:nodes", "system:serviceaccounts:kube-system"]
package portcullis.configuration.immutable_config

deny contains finding if {
	not input.object.immutable == true
	input.request.kind.kind in input.parameters.kinds
	not exempt_type
	not input.subject.username in input.parameters.exemptUsers
	not exempt_group
	finding := {
		"msg": sprintf("the %s can be changed in place", [input.request.kind.kind]),
		"path": "immutable",
		"fix": [{"op": "set", "path": "immutable", "value": true}],
	}
}

exempt_type if input.object.type in input.parameters.exemptTypes

exempt_group if {
	some group in input.subject.groups
	group in input.parameters.exemptGroups
}

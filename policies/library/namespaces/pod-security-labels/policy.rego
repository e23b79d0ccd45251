# METADATA
# title: Pod Security level of namespaces
# description: |
#   The API server's own Pod Security admission acts on labels of the namespace. Without pod-
#   security.kubernetes.io/enforce it allows privileged pods: whoever may create a pod there
#   owns a node. It is the second line behind these policies and works when no webhook does.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/pod-security-admission/
# custom:
#   severity: high
#   match:
#     resources:
#       - group: ""
#         resources: [namespaces, namespaces/finalize, namespaces/status]
#   remediation: >-
#     Set the label pod-security.kubernetes.io/enforce to the level that is asked for or a
#     stricter one.
#   controls:
#     nsa: ["pod-security/pod-security-admission"]
#     cis: ["5.2.1"]
#     nist-800-190: ["4.4.3"]
#     owasp-k8s: ["K01", "K04"]
#   parameters:
#     type: object
#     properties:
#       level:
#         description: The level that has to be enforced at least.
#         type: string
#         enum: [privileged, baseline, restricted]
#         default: baseline
#       requireVersion:
#         description: Whether the version of the level has to be pinned by a label too.
#         type: boolean
#         default: false
package portcullis.namespaces.pod_security_labels

# strict_enough are the levels that satisfy the one that is asked for.
strict_enough := {
	"privileged": {"privileged", "baseline", "restricted"},
	"baseline": {"baseline", "restricted"},
	"restricted": {"restricted"},
}

enforce := "pod-security.kubernetes.io/enforce"

version := "pod-security.kubernetes.io/enforce-version"

deny contains finding if {
	not input.object.metadata.labels["pod-security.kubernetes.io/enforce"]
	finding := {
		"msg": sprintf("no Pod Security level is enforced; at least %s is asked for", [input.parameters.level]),
		"path": sprintf("metadata.labels[%s]", [enforce]),
		"fix": [{"op": "set", "path": sprintf("metadata.labels[%s]", [enforce]), "value": input.parameters.level}],
	}
}

deny contains finding if {
	level := input.object.metadata.labels["pod-security.kubernetes.io/enforce"]
	not level in strict_enough[input.parameters.level]
	finding := {
		"msg": sprintf("the enforced Pod Security level is %q; at least %s is asked for", [level, input.parameters.level]),
		"path": sprintf("metadata.labels[%s]", [enforce]),
		"fix": [{"op": "set", "path": sprintf("metadata.labels[%s]", [enforce]), "value": input.parameters.level}],
	}
}

deny contains finding if {
	input.parameters.requireVersion
	not input.object.metadata.labels["pod-security.kubernetes.io/enforce-version"]
	finding := {
		"msg": "the version of the enforced Pod Security level is not pinned",
		"path": sprintf("metadata.labels[%s]", [version]),
		"fix": [{"op": "set", "path": sprintf("metadata.labels[%s]", [version]), "value": "latest"}],
	}
}

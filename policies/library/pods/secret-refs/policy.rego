# METADATA
# title: References to secrets
# description: |
#   An environment is inherited by every child process, lands in crash dumps and logs, and never changes
#   when the secret is rotated: secrets belong in files. Some secrets no pod should read at all, such as
#   bootstrap tokens and Helm's stored releases, which hold every value of a chart. All forms
#   of reference count: env, envFrom (which CVE-2024-3177 was about), volumes, projected volumes, pull
#   secrets and CSI.
# related_resources:
#   - https://kubernetes.io/docs/concepts/configuration/secret/
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Mount the secret as a volume and read it from a file, and name no secret that the policy forbids.
#   controls:
#     nsa: [network/secrets]
#     cis: ["5.4.1"]
#     nist-800-190: ["4.1.4"]
#     owasp-k8s: [K08]
#   parameters:
#     type: object
#     properties:
#       forbidEnvironment:
#         description: Object to secrets in environment variables.
#         type: boolean
#         default: true
#       forbiddenNames:
#         description: Secrets that no pod may refer to in any way, as globs.
#         type: array
#         items: {type: string, minLength: 1}
#         default: ["bootstrap-token-*", "sh.helm.release.v1.*"]
package portcullis.pods.secret_refs

deny contains finding if {
	some ref in input.workload.secretRefs
	ref.via in {"env", "envFrom"}
	input.parameters.forbidEnvironment
	finding := {
		"msg": sprintf("container %q has secret %q in its environment", [ref.container, ref.name]),
		"path": ref.path,
		"fix": [remove_item(ref)],
	}
}

deny contains finding if {
	some ref in input.workload.secretRefs
	some pattern in input.parameters.forbiddenNames
	glob.match(pattern, null, ref.name)
	finding := {
		"msg": sprintf("no pod may refer to secret %q", [ref.name]),
		"path": ref.path,
		"fix": [change_name(ref)],
	}
}

# Variables and pull secrets are items of lists and can go; what a volume is made of
# has to name some secret.
change_name(ref) := object.get({"env": gone, "envFrom": gone, "imagePullSecret": gone}, ref.via, renamed) if {
	gone := remove_item(ref)
	field := object.get({"volume": ".secretName", "azureFile": ""}, ref.via, ".name")
	renamed := {
		"op": "set",
		"path": concat("", [split(ref.path, ".items[")[0], field]),
		"value": "replace-with-another-secret",
	}
}

remove_item(ref) := {"op": "remove", "path": trim_suffix(trim_suffix(ref.path, ".valueFrom.secretKeyRef"), ".secretRef")}

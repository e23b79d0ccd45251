# METADATA
# title: Required labels
# description: |
#   A cost report, an alert and an incident all ask the same question: whose pod is this? Labels on the pod,
#   not only on what created it, answer it. Each required label has a pattern that the whole value matches.
# related_resources:
#   - https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
# custom:
#   severity: low
#   match:
#     workload: any
#   remediation: Add the label to the pod, in a template under spec.template.metadata.labels; replace the example by your own value.
#   parameters:
#     type: object
#     properties:
#       labels:
#         description: Labels that each pod carries, the regular expression for the whole value and an example of it.
#         type: array
#         items:
#           type: object
#           required: [key, pattern, example]
#           additionalProperties: false
#           properties:
#             key: {type: string, minLength: 1}
#             pattern: {type: string, format: regex}
#             example: {type: string}
#         default:
#           - {key: team, pattern: "[a-z][a-z0-9-]+", example: name-of-the-team}
#           - {key: cost-center, pattern: "[A-Za-z0-9][A-Za-z0-9._-]*", example: cc-0000}
package portcullis.workloads.cost_labels

deny contains finding if {
	some required in input.parameters.labels
	pattern := concat("", ["^(?:", required.pattern, ")$"])
	fitting := {label.value |
		some label in input.workload.labels
		label.key == required.key
		regex.match(pattern, label.value)
	}
	count(fitting) == 0
	path := concat("", [input.workload.metadataPath, ".labels[", required.key, "]"])
	finding := {
		"msg": sprintf("the pod has no label %s that matches %s", [required.key, required.pattern]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": required.example}],
	}
}

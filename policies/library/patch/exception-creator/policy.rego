# METADATA
# title: The creator of an exception
# description: |
#   Writes into a PolicyException who created it, or who last changed what it says: the annotation
#   policy.portcullis.dev/created-by. A bundle with notForCreator reads it, and exceptions/creator refuses any other
#   value.
# custom:
#   severity: medium
#   match:
#     resources:
#       - group: policy.portcullis.dev
#         resources: [policyexceptions]
#     operations: [CREATE, UPDATE]
#   doors: [admission]
#   remediation: Leave the annotation policy.portcullis.dev/created-by to this policy.
#   controls:
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: [K03]
package portcullis.patch.exception_creator

patch contains {"path": ["metadata", "annotations", "policy.portcullis.dev/created-by"], "set": input.subject.username} if {
	says_something_new
}

says_something_new if input.request.operation == "CREATE"

says_something_new if input.object.spec != input.oldObject.spec

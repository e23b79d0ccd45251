# METADATA
# title: Who created an exception
# description: |
#   A PolicyException waives what a bundle enforces. Where the bundle says notForCreator, whoever asked for it must not
#   be the one who uses it, and that takes knowing who did. So the annotation policy.portcullis.dev/created-by names
#   the user who created the exception or last changed what it says, and no other. patch/exception-creator writes it;
#   this policy refuses every other value (CVE-2024-48921 was an exception that anybody could make for themselves).
# custom:
#   severity: high
#   match:
#     resources:
#       - group: policy.portcullis.dev
#         resources: [policyexceptions]
#     operations: [CREATE, UPDATE]
#   doors: [admission]
#   remediation: >-
#     Leave the annotation policy.portcullis.dev/created-by out and configure patch/exception-creator, which writes it.
#   controls:
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: [K03]
#   fix: none
#   fixReason: The right value depends on who asks.
package portcullis.exceptions.creator

annotation := "policy.portcullis.dev/created-by"

deny contains finding if {
	says_something_new
	named != input.subject.username
	finding := {
		"msg": sprintf("the exception is said to be of %q, but %q asks for it", [named, input.subject.username]),
		"path": path,
	}
}

deny contains finding if {
	not says_something_new
	before := object.get(input.oldObject, ["metadata", "annotations", annotation], "")
	named != before
	finding := {
		"msg": sprintf("the exception is of %q, and its creator cannot be changed to %q", [before, named]),
		"path": path,
	}
}

named := object.get(input.object, ["metadata", "annotations", annotation], "")

path := sprintf("metadata.annotations[%s]", [annotation])

says_something_new if input.request.operation == "CREATE"

says_something_new if input.object.spec != input.oldObject.spec

# METADATA
# title: Getting into a quarantined pod
# description: |
#   A quarantined pod is evidence, and somebody who should not be may still be in it. Nobody but those who handle it execs into it,
#   attaches to it, forwards its ports, talks to it through the API server, adds a container or changes its resources.
#
#   What does not pass the API server is not seen here: the kubelet's own port, and GET requests such as logs (rbac/nodes-proxy and the RBAC of
#   pods/log are for that).
# related_resources:
#   - https://attack.mitre.org/techniques/T1609/
#   - https://kubernetes.io/docs/tasks/debug/debug-application/debug-running-pod/
# custom:
#   severity: critical
#   match:
#     resources:
#       - group: ""
#         resources: [pods/exec, pods/attach, pods/portforward, pods/proxy, pods/ephemeralcontainers, pods/resize]
#     operations: [CONNECT, UPDATE]
#   doors: [admission]
#   remediation: >-
#     Ask those who handle the incident: they may, and they release it (portcullis quarantine release).
#   fix: none
#   fixReason: It is the user who may not; there is no manifest.
#   controls:
#     mitre: [T1609]
#     nist-800-190: ["4.3.2"]
#     owasp-k8s: [K03]
#   parameters:
#     type: object
#     properties:
#       users:
#         description: Users that may, by name.
#         type: array
#         items: {type: string, minLength: 1}
#         default: []
#       groups:
#         description: Groups that may.
#         type: array
#         items: {type: string, minLength: 1}
#         default: ["portcullis:responders"]
#       serviceAccounts:
#         description: Service accounts that may, as namespace/name.
#         type: array
#         items: {type: string, minLength: 1}
#         default: []
package portcullis.runtime.quarantined_exec

import data.portcullis.lib.callers
import data.portcullis.lib.quarantine

deny contains finding if {
	count(quarantine.about) > 0
	not callers.permitted(input.parameters.users, input.parameters.groups, input.parameters.serviceAccounts)
	finding := {"msg": sprintf("the pod is quarantined (%s): %q may not use pods/%s", [quarantine.why, input.subject.username, input.request.subresource])}
}

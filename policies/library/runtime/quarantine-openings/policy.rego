# METADATA
# title: Network policies that open a quarantined pod
# description: |
#   Network policies only add to what is allowed: one that selects all pods of a namespace also selects the quarantined one, and what it allows is open again, unless the
#   cluster has a tier of denies. So while a pod of the namespace is quarantined, a policy that allows something selects around it. Pods that keep their own
#   labels (those of a StatefulSet) are known by the quarantine's label only; the proof finds the rest.
# related_resources:
#   - https://kubernetes.io/docs/concepts/services-networking/network-policies/#the-two-sorts-of-pod-isolation
# custom:
#   severity: high
#   match:
#     resources:
#       - group: networking.k8s.io
#         resources: [networkpolicies]
#   doors: [admission]
#   remediation: >-
#     Leave out quarantined pods by {key: runtime.portcullis.dev/quarantine, operator: DoesNotExist} in podSelector.matchExpressions.
#   controls:
#     mitre: [T1562]
#     nsa: [network-separation/network-policies]
#     nist-800-190: ["4.3.3"]
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
#         default: [portcullis-system/portcullis-responder]
package portcullis.runtime.quarantine_openings

import data.portcullis.lib.callers
import data.portcullis.lib.quarantine
import data.portcullis.lib.selectors

deny contains finding if {
	allows
	some incident in input.incidents
	incident.scope == "pod"
	incident.pod.namespace == input.request.namespace
	selects(incident)
	not callers.permitted(input.parameters.users, input.parameters.groups, input.parameters.serviceAccounts)
	finding := {
		"msg": sprintf("the policy also opens the pod %s, which is quarantined (%s: %s)", [incident.pod.name, incident.name, incident.reason]),
		"path": "spec.podSelector",
		"fix": [{"op": "set", "path": "spec.podSelector.matchExpressions", "value": array.concat(expressions, [{"key": quarantine.label, "operator": "DoesNotExist"}])}],
	}
}

# A policy without rules allows nothing.
allows if input.object.spec.ingress[0]

allows if input.object.spec.egress[0]

selects(incident) if selectors.selects(object.get(input.object, ["spec", "podSelector"], {}), {quarantine.label: incident.quarantine})

expressions := object.get(input.object, ["spec", "podSelector", "matchExpressions"], [])

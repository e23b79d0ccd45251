# METADATA
# title: Istio without strict mutual TLS
# description: |
#   PERMISSIVE accepts plaintext beside mutual TLS, so everybody who reaches the pod may skip the
#   identity that all authorisation is built on; DISABLE accepts nothing else. The mode of a port
#   overrides that of the workload. A DestinationRule that disables TLS sends plaintext whatever the
#   server asks, for all clients that it applies to.
# related_resources:
#   - https://istio.io/latest/docs/reference/config/security/peer_authentication/
#   - https://istio.io/latest/docs/reference/config/networking/destination-rule/#ClientTLSSettings
# custom:
#   severity: high
#   match:
#     resources:
#       - {group: security.istio.io, resources: [peerauthentications]}
#       - {group: networking.istio.io, resources: [destinationrules]}
#   remediation: Set the mode to STRICT, in a DestinationRule to ISTIO_MUTUAL.
#   controls:
#     nsa: [network-separation/tls]
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K07]
#   parameters:
#     type: object
#     properties:
#       modes:
#         description: Modes that a PeerAuthentication may have. PERMISSIVE belongs here while a mesh is being introduced. The first is that of the fix.
#         type: array
#         minItems: 1
#         items: {enum: [STRICT, PERMISSIVE, UNSET, DISABLE]}
#         default: [STRICT]
#       clientModes:
#         description: TLS modes that no DestinationRule may have.
#         type: array
#         items: {enum: [DISABLE, SIMPLE, MUTUAL]}
#         default: [DISABLE]
package portcullis.network.istio_mtls

deny contains finding if {
	not input.object.spec.mtls.mode in input.parameters.modes
	finding := objection("spec.mtls.mode", input.object.spec.mtls.mode, input.parameters.modes[0])
}

deny contains finding if {
	input.request.kind.kind == "PeerAuthentication"
	not input.object.spec.mtls.mode
	not "UNSET" in input.parameters.modes
	finding := objection("spec.mtls.mode", "UNSET", input.parameters.modes[0])
}

deny contains finding if {
	some port, mtls in input.object.spec.portLevelMtls
	not mtls.mode in input.parameters.modes
	finding := objection(sprintf("spec.portLevelMtls[%s].mode", [port]), mtls.mode, input.parameters.modes[0])
}

deny contains finding if {
	some path, policy in traffic_policies
	policy.tls.mode in input.parameters.clientModes
	finding := objection(concat("", [path, ".tls.mode"]), policy.tls.mode, "ISTIO_MUTUAL")
}

# traffic_policies are those of a DestinationRule, its subsets and their ports, by path.
traffic_policies["spec.trafficPolicy"] := input.object.spec.trafficPolicy

traffic_policies[path] := policy if {
	some i, policy in input.object.spec.trafficPolicy.portLevelSettings
	path := sprintf("spec.trafficPolicy.portLevelSettings[%d]", [i])
}

traffic_policies[path] := subset.trafficPolicy if {
	some i, subset in input.object.spec.subsets
	path := sprintf("spec.subsets[%d].trafficPolicy", [i])
}

traffic_policies[path] := policy if {
	some i, subset in input.object.spec.subsets
	some j, policy in subset.trafficPolicy.portLevelSettings
	path := sprintf("spec.subsets[%d].trafficPolicy.portLevelSettings[%d]", [i, j])
}

objection(path, mode, right) := {
	"msg": sprintf("mutual TLS has mode %s", [mode]),
	"path": path,
	"fix": [{"op": "set", "path": path, "value": right}],
}

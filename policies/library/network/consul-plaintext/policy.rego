# METADATA
# title: Consul services that accept plaintext
# description: |
#   A service in permissive mode accepts connections without mutual TLS, and those pass no intention:
#   whoever reaches the port is let in. ProxyDefaults make that the mode of all services, and Mesh is
#   the switch without which neither is possible. The mode is meant for moving into the mesh and
#   easily forgotten there.
# related_resources:
#   - https://developer.hashicorp.com/consul/docs/reference/config-entry/mesh
# custom:
#   severity: high
#   match:
#     resources: [{group: consul.hashicorp.com, resources: [servicedefaults, proxydefaults, meshes]}]
#   remediation: Set mutualTLSMode to strict and allowEnablingPermissiveMutualTLS to false.
#   controls:
#     nsa: [network-separation/tls]
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K07]
package portcullis.network.consul_plaintext

deny contains finding if {
	input.object.spec.mutualTLSMode == "permissive"
	finding := {
		"msg": "mutual TLS is permissive",
		"path": "spec.mutualTLSMode",
		"fix": [{"op": "set", "path": "spec.mutualTLSMode", "value": "strict"}],
	}
}

deny contains finding if {
	input.object.spec.allowEnablingPermissiveMutualTLS
	finding := {
		"msg": "services may make mutual TLS permissive",
		"path": "spec.allowEnablingPermissiveMutualTLS",
		"fix": [{"op": "set", "path": "spec.allowEnablingPermissiveMutualTLS", "value": false}],
	}
}

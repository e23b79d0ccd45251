# METADATA
# title: Egress to the cloud's metadata service
# description: |
#   At 169.254.169.254 each cloud hands the node's credentials to whoever asks. A request forged in
#   some web application (SSRF) suffices, and the answer is a role that reads registries, buckets
#   and often more. An ipBlock that includes the address without an except lets the selected pods
#   ask.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/security-checklist/#network-security
# custom:
#   severity: high
#   match:
#     resources: [{group: networking.k8s.io, resources: [networkpolicies]}]
#   remediation: List the metadata addresses under except of the ipBlock, or name the blocks that are needed.
#   controls:
#     nsa: [network-separation/network-policies]
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K07]
#   parameters:
#     type: object
#     properties:
#       addresses:
#         description: |
#           The addresses of metadata services, each as a block of one. The default is that of AWS, Azure, Google
#           Cloud and most others; Alibaba Cloud has 100.100.100.200/32, Google Cloud fd20:ce::254/128 too.
#         type: array
#         items: {type: string, pattern: "^([0-9.]+/32|[0-9a-fA-F:]+/128)$"}
#         default: [169.254.169.254/32, "fd00:ec2::254/128"]
package portcullis.network.ip_block_metadata

import data.portcullis.lib.cidr

deny contains finding if {
	some i, rule in input.object.spec.egress
	some j, peer in rule.to
	some address in input.parameters.addresses
	cidr.holds(cidr.valid([peer.ipBlock.cidr]), address)
	not cidr.holds(excepted(peer.ipBlock), address)
	path := sprintf("spec.egress[%d].to[%d]", [i, j])
	finding := {
		"msg": sprintf("egress to %s includes the metadata service at %s", [peer.ipBlock.cidr, address]),
		"path": concat("", [path, ".ipBlock"]),
		"fix": fix(path, peer.ipBlock, address),
	}
}

excepted(block) := cidr.valid(object.get(block, "except", []))

fix(path, block, address) := [{"op": "add", "path": concat("", [path, ".ipBlock.except"]), "value": address}] if {
	whole := block.cidr
	not cidr.holds([address], whole)
}

# An except has to be smaller than its block: where the block is the address, the peer goes,
# and pods of the own namespace take its place, since an empty list would allow everything.
fix(path, block, address) := [{"op": "set", "path": path, "value": {"podSelector": {}}}] if cidr.holds([address], block.cidr)

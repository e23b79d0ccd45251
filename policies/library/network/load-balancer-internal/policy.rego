# METADATA
# title: Load balancers that are not internal
# description: |
#   Where only one edge may face the internet, every other load balancer has to be internal. Clouds
#   take that from an annotation, and an annotation forgotten or with a value the cloud does not know
#   makes a public address. Set the parameter to the annotation of your cloud alone: another cloud's
#   annotation is as good as none.
# related_resources:
#   - https://kubernetes.io/docs/concepts/services-networking/service/#internal-load-balancer
# custom:
#   severity: medium
#   match:
#     resources: [{group: "", resources: [services]}]
#   remediation: Add the annotation that makes the load balancer internal, or use type ClusterIP.
#   controls:
#     nsa: [network-separation/network-policies]
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K07]
#   parameters:
#     type: object
#     properties:
#       annotations:
#         description: Annotations of which a load balancer must have one, each with the values that make it internal. The first is that of the fix.
#         type: array
#         minItems: 1
#         items:
#           type: object
#           required: [key, values]
#           additionalProperties: false
#           properties:
#             key: {type: string}
#             values: {type: array, minItems: 1, items: {type: string}}
#         default:
#           - {key: networking.gke.io/load-balancer-type, values: [Internal]}
#           - {key: service.beta.kubernetes.io/azure-load-balancer-internal, values: ["true"]}
#           - {key: service.beta.kubernetes.io/aws-load-balancer-scheme, values: [internal]}
#           - {key: service.beta.kubernetes.io/aws-load-balancer-internal, values: ["true"]}
#           - {key: service.beta.kubernetes.io/oci-load-balancer-internal, values: ["true"]}
#           - {key: service.beta.kubernetes.io/openstack-internal-load-balancer, values: ["true"]}
#           - {key: service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type, values: [intranet]}
#           - {key: service.kubernetes.io/ibm-load-balancer-cloud-provider-ip-type, values: [private]}
package portcullis.network.load_balancer_internal

deny contains finding if {
	input.object.spec.type == "LoadBalancer"
	not made_internal
	wanted := input.parameters.annotations[0]
	path := sprintf("metadata.annotations[%s]", [wanted.key])
	finding := {
		"msg": sprintf("no annotation makes the load balancer internal, such as %s: %s", [wanted.key, wanted.values[0]]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": wanted.values[0]}],
	}
}

made_internal if {
	some annotation in input.parameters.annotations
	input.object.metadata.annotations[annotation.key] in annotation.values
}

# METADATA
# title: Encrypted storage classes
# description: |
#   Volumes outlive pods: on a lost disk, in a snapshot, in a cloud account with too many readers. Each
#   provisioner has its own parameter that turns encryption on, and most leave it off. A class whose
#   provisioner is neither known to need a parameter nor known to encrypt always is objected to.
# related_resources:
#   - https://kubernetes.io/docs/concepts/storage/storage-classes/
# custom:
#   severity: medium
#   match:
#     resources: [{group: storage.k8s.io, resources: [storageclasses]}]
#   remediation: Set the provisioner's encryption parameter, or have the provisioner added to the policy's parameters.
#   controls:
#     nist-800-190: ["4.5.5"]
#     owasp-k8s: [K08]
#   parameters:
#     type: object
#     properties:
#       provisioners:
#         description: Which parameter of which provisioner turns encryption on, with the values that do.
#         type: array
#         minItems: 1
#         items:
#           type: object
#           required: [provisioner, parameter, values]
#           additionalProperties: false
#           properties:
#             provisioner: {type: string}
#             parameter: {type: string}
#             values: {type: array, minItems: 1, items: {type: string}}
#         default:
#           - {provisioner: ebs.csi.aws.com, parameter: encrypted, values: ["true"]}
#           - {provisioner: kubernetes.io/aws-ebs, parameter: encrypted, values: ["true"]}
#           - {provisioner: rbd.csi.ceph.com, parameter: encrypted, values: ["true"]}
#           - {provisioner: cephfs.csi.ceph.com, parameter: encrypted, values: ["true"]}
#           - {provisioner: driver.longhorn.io, parameter: encrypted, values: ["true"]}
#           - {provisioner: diskplugin.csi.alibabacloud.com, parameter: encrypted, values: ["true"]}
#           - {provisioner: pxd.portworx.com, parameter: secure, values: ["true"]}
#       alwaysEncrypted:
#         description: Provisioners whose volumes are encrypted at rest whatever the class says.
#         type: array
#         items: {type: string}
#         default:
#           - pd.csi.storage.gke.io
#           - filestore.csi.storage.gke.io
#           - kubernetes.io/gce-pd
#           - disk.csi.azure.com
#           - file.csi.azure.com
#           - blob.csi.azure.com
#           - kubernetes.io/azure-disk
#           - kubernetes.io/azure-file
package portcullis.storage.encrypted_classes

deny contains finding if {
	some entry in input.parameters.provisioners
	entry.provisioner == input.object.provisioner
	not encrypted(entry)
	finding := {
		"msg": sprintf("volumes of %q are not encrypted without parameter %s: %q", [entry.provisioner, entry.parameter, entry.values[0]]),
		"path": parameter_path(entry),
		"fix": [{"op": "set", "path": parameter_path(entry), "value": entry.values[0]}],
	}
}

deny contains finding if {
	not known
	entry := input.parameters.provisioners[0]
	finding := {
		"msg": sprintf("provisioner %q is not known to encrypt", [input.object.provisioner]),
		"path": "provisioner",
		"fix": [
			{"op": "set", "path": "provisioner", "value": entry.provisioner},
			{"op": "set", "path": parameter_path(entry), "value": entry.values[0]},
		],
	}
}

encrypted(entry) if input.object.parameters[entry.parameter] in entry.values

known if input.object.provisioner in input.parameters.alwaysEncrypted

known if {
	some entry in input.parameters.provisioners
	entry.provisioner == input.object.provisioner
}

parameter_path(entry) := concat("", ["parameters[", entry.parameter, "]"])

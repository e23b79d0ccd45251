# METADATA
# title: Runtime classes
# description: |
#   A runtime class chooses what runs a pod: a sandbox such as gVisor or Kata Containers, a Wasm shim, or
#   whatever handler a node offers, isolated or not. Only the listed classes may be named, and where the
#   parameter says so, one must be: then no pod shares the node's kernel with its neighbours.
# related_resources:
#   - https://kubernetes.io/docs/concepts/containers/runtime-class/
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Set runtimeClassName to one of the classes of the policy's parameter allowed.
#   controls:
#     nsa: [pod-security/hardening-container-environments]
#     nist-800-190: ["4.5.2"]
#   parameters:
#     type: object
#     properties:
#       allowed:
#         description: Runtime classes that may be named. With an empty list none may.
#         type: array
#         items: {type: string, minLength: 1}
#         default: [gvisor, kata, kata-qemu, kata-clh, kata-fc, wasmtime, wasmedge, wasmtime-spin-v2]
#       required:
#         description: Whether each pod must name one.
#         type: boolean
#         default: false
package portcullis.pods.runtime_class

deny contains finding if {
	input.workload.runtimeClass != ""
	not input.workload.runtimeClass in input.parameters.allowed
	finding := objection(sprintf("runtime class %q is not allowed", [input.workload.runtimeClass]))
}

deny contains finding if {
	input.workload.runtimeClass == ""
	input.parameters.required
	finding := objection("the pod names no runtime class")
}

objection(msg) := {
	"msg": msg,
	"path": path,
	"fix": [{"op": "set", "path": path, "value": class} | class := input.parameters.allowed[0]],
} if {
	path := concat("", [input.workload.path, ".runtimeClassName"])
}

# METADATA
# title: What a patch may touch
# description: |
#   Patch policies change what a request brings into the cluster and nothing that is
#   there already, since the API server refuses to change a pod that exists.
package portcullis.lib.patching

# brings says whether a request brings in the container of that name, or the image
# or volume, at that path of a Pod: everything of a new pod. A mirror pod only shows
# what a kubelet runs already; the kubelet replaces one that differs.
brings(_, _) if {
	input.request.operation == "CREATE"
	not input.workload.mirror
}

# Of a pod that exists, only ephemeral containers that were not there before.
brings(path, name) if {
	input.request.subresource == "ephemeralcontainers"
	startswith(path, "spec.ephemeralContainers[")
	not name in {container.name | some container in input.oldObject.spec.ephemeralContainers}
}

# segments turns a path as Kubernetes writes it into the one a patch takes:
# spec.containers[0].image into ["spec", "containers", 0, "image"].
segments(path) := [segment(part) | some part in regex.find_n(`\[[^\]]*\]|[^.\[\]]+`, path, -1)]

segment(part) := to_number(trim(part, "[]")) if regex.match(`^\[[0-9]+\]$`, part)

else := trim(part, "[]")

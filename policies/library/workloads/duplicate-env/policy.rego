# METADATA
# title: Environment variables set twice
# description: |
#   Of two variables of one name the last wins, and a review of the first sees a value that is not in
#   effect. Server-side apply refuses such a list outright, so the next `kubectl apply --server-side` of
#   it fails.
# related_resources:
#   - https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/
# custom:
#   severity: low
#   match:
#     workload: any
#   remediation: Keep one entry of each name; the last is the one in effect.
package portcullis.workloads.duplicate_env

# Sorting puts equal names side by side: comparing each with each other would be slow.
deny contains finding if {
	some container in input.workload.containers
	names := sort([variable.name | some variable in container.env])
	some i, name in names
	name == names[i + 1]
	positions := [position | some position, variable in container.env; variable.name == name]
	hidden := array.slice(positions, 0, count(positions) - 1)
	finding := {
		"msg": sprintf("container %q sets %s more than once", [container.name, name]),
		"path": container.env[positions[0]].path,
		"fix": [{"op": "remove", "path": container.env[position].path} | some position in hidden],
	}
}

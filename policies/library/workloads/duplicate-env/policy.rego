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

deny contains finding if {
	some container in input.workload.containers
	container.env[1].name # fewer than two variables need no look
	names := {variable.name | some variable in container.env}
	count(names) < count(container.env)
	some name in names
	positions := [position | some position, variable in container.env; variable.name == name]
	count(positions) > 1
	hidden := array.slice(positions, 0, count(positions) - 1)
	finding := {
		"msg": sprintf("container %q sets %s more than once", [container.name, name]),
		"path": field(container, positions[0]),
		"fix": [{"op": "remove", "path": field(container, position)} | some position in hidden],
	}
}

field(container, position) := sprintf("%s.env[%d]", [container.path, position])

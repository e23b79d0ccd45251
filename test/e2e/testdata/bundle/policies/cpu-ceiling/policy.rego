# METADATA
# title: A ceiling for cpu limits
# description: No container may use more than two cpus.
# custom:
#   severity: low
#   match:
#     workload: any
#   remediation: Lower resources.limits.cpu to 2.
package portcullis.e2e.cpu_ceiling

deny contains finding if {
	some container in input.workload.containers
	container.resources.limits.cpu.milli > 2000
	path := concat("", [container.path, ".resources.limits.cpu"])
	finding := {
		"msg": sprintf("container %q may use %d thousandths of a cpu", [container.name, container.resources.limits.cpu.milli]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": "2"}],
	}
}

# METADATA
# title: Host aliases
# description: |
#   hostAliases are lines in /etc/hosts: they send a name to another address without any trace in DNS,
#   past network policies that allow by name and past whoever watches lookups. They also keep pointing
#   at an address long after it belongs to someone else.
# related_resources:
#   - https://kubernetes.io/docs/tasks/network/customize-hosts-file-for-pods/
# custom:
#   severity: low
#   match:
#     workload: any
#   remediation: Remove hostAliases; give the name a Service of type ExternalName or an entry in the cluster's DNS.
package portcullis.pods.host_aliases

deny contains finding if {
	input.workload.hostAliases[0]
	path := concat("", [input.workload.path, ".hostAliases"])
	finding := {
		"msg": sprintf("the pod overrides the addresses of %s", [concat(", ", {hostname |
			some alias in input.workload.hostAliases
			some hostname in alias.hostnames
		})]),
		"path": path,
		"fix": [{"op": "remove", "path": path}],
	}
}

# METADATA
# title: Unsafe sysctls
# description: |
#   Kernel parameters outside the safe list are not confined to the pod: they change the kernel for
#   the whole node, take memory that other pods need, or switch off protections. An attacker
#   uses them to disturb or to prepare an attack on every workload of the node.
# related_resources:
#   - https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline
#   - https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/
# custom:
#   severity: medium
#   match:
#     workload: any
#   parameters:
#     type: object
#     properties:
#       allowed:
#         description: Sysctls that are confined to the pod and may be set.
#         type: array
#         items: {type: string}
#         default:
#           - kernel.shm_rmid_forced
#           - net.ipv4.ip_local_port_range
#           - net.ipv4.tcp_syncookies
#           - net.ipv4.ping_group_range
#           - net.ipv4.ip_unprivileged_port_start
#           - net.ipv4.ip_local_reserved_ports
#           - net.ipv4.tcp_keepalive_time
#           - net.ipv4.tcp_fin_timeout
#           - net.ipv4.tcp_keepalive_intvl
#           - net.ipv4.tcp_keepalive_probes
#           - net.ipv4.tcp_rmem
#           - net.ipv4.tcp_wmem
#           - net.ipv4.tcp_slow_start_after_idle
#           - net.ipv4.tcp_notsent_lowat
#   remediation: Remove the sysctl from securityContext.sysctls, or set it on dedicated nodes.
#   controls:
#     pss: [baseline/sysctls]
#     cis: ["5.6.3"]
#     nist-800-190: ["4.4.3"]
#     owasp-k8s: [K01]
package portcullis.pods.sysctls

deny contains finding if {
	some sysctl in input.workload.securityContext.sysctls
	not sysctl.name in input.parameters.allowed
	finding := {
		"msg": sprintf("sysctl %q is not confined to the pod", [sysctl.name]),
		"path": concat("", [sysctl.path, ".name"]),
		"fix": [{"op": "remove", "path": sysctl.path}],
	}
}

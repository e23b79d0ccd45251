package portcullis.pods.sysctls_test

import data.portcullis.pods.sysctls

pod(names) := {"parameters": {"allowed": ["net.ipv4.tcp_syncookies"]}, "workload": {"securityContext": {"sysctls": [sysctl |
	some i, name in names
	sysctl := {"name": name, "value": "1", "path": sprintf("spec.securityContext.sysctls[%d]", [i])}
]}}}

test_an_unsafe_sysctl_is_named_with_its_place if {
	sysctls.deny == {{
		"msg": `sysctl "kernel.msgmax" is not confined to the pod`,
		"path": "spec.securityContext.sysctls[1].name",
		"fix": [{"op": "remove", "path": "spec.securityContext.sysctls[1]"}],
	}} with input as pod(["net.ipv4.tcp_syncookies", "kernel.msgmax"])
}

test_names_are_compared_exactly if {
	count(sysctls.deny) == 1 with input as pod(["net/ipv4/tcp_syncookies"])
}

test_safe_sysctls_pass if {
	count(sysctls.deny) == 0 with input as pod(["net.ipv4.tcp_syncookies"])
}

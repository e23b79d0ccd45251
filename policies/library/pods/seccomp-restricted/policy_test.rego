package portcullis.pods.seccomp_restricted_test

import data.portcullis.pods.seccomp_restricted

pod(os, security_context, containers) := {
	"parameters": {"types": ["RuntimeDefault", "Localhost"]},
	"workload": {"os": os, "securityContext": security_context, "containers": containers},
}

profile(type, path) := {"seccompProfile": {"type": type, "path": path}}

inherited(type) := profile(type, "spec.securityContext.seccompProfile")

own(type) := [{"name": "app", "path": "spec.containers[0]", "securityContext": profile(type, "spec.containers[0].securityContext.seccompProfile")}]

unset := [{"name": "app", "path": "spec.containers[0]", "securityContext": {}}]

test_a_container_that_switches_it_off_is_refused if {
	seccomp_restricted.deny == {{
		"msg": `seccomp profile type "Unconfined" is not allowed`,
		"path": "spec.containers[0].securityContext.seccompProfile.type",
		"fix": [{"op": "set", "path": "spec.containers[0].securityContext.seccompProfile", "value": {"type": "RuntimeDefault"}}],
	}} with input as pod("", {}, own("Unconfined"))
}

test_a_profile_that_containers_inherit_is_one_finding if {
	bad := inherited("Unconfined")
	count(seccomp_restricted.deny) == 1 with input as pod("", bad, [{"name": "a", "securityContext": bad}, {"name": "b", "securityContext": bad}])
}

test_the_profile_of_the_pod_counts_even_if_overridden if {
	count(seccomp_restricted.deny) == 1 with input as pod("", inherited("Unconfined"), own("Localhost"))
}

test_profiles_that_confine_pass if {
	count(seccomp_restricted.deny) == 0 with input as pod("", inherited("Localhost"), own("RuntimeDefault"))
}

test_no_profile_is_refused if {
	seccomp_restricted.deny == {{
		"msg": `container "app" has no seccomp profile, nor has the pod`,
		"path": "spec.containers[0].securityContext.seccompProfile",
		"fix": [{"op": "set", "path": "spec.containers[0].securityContext.seccompProfile", "value": {"type": "RuntimeDefault"}}],
	}} with input as pod("linux", {}, unset)
}

test_windows_is_exempt if {
	count(seccomp_restricted.deny) == 0 with input as pod("windows", inherited("Unconfined"), own("Unconfined"))
	count(seccomp_restricted.deny) == 0 with input as pod("windows", {}, unset)
}

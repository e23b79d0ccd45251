package portcullis.pods.probes_test

import data.portcullis.pods.probes

pod(kind, restart, role, types, ports) := {
	"parameters": {"required": ["readiness", "liveness"], "batchKinds": ["Job", "Workflow"]},
	"workload": {"kind": kind, "restartPolicy": restart, "containers": [{
		"name": "app",
		"path": "spec.containers[0]",
		"role": role,
		"ports": ports,
		"probes": [{"type": type} | some type in types],
	}]},
}

test_the_fix_probes_the_declared_port if {
	probes.deny == {{
		"msg": `container "app" has no readiness probe`,
		"path": "spec.containers[0].readinessProbe",
		"fix": [{"op": "set", "path": "spec.containers[0].readinessProbe", "value": {"tcpSocket": {"port": 9000}}}],
	}} with input as pod("Deployment", "Always", "app", ["liveness", "startup"], [{"containerPort": 9000}])
}

test_without_probes_there_are_two_findings if count(probes.deny) == 2 with input as pod("Pod", "Always", "app", [], [])

test_both_probes_pass if count(probes.deny) == 0 with input as pod("Pod", "Always", "app", ["liveness", "readiness"], [])

test_only_app_containers_of_long_running_pods_are_asked if {
	every role in ["init", "sidecar", "ephemeral"] { count(probes.deny) == 0 with input as pod("Pod", "Always", role, [], []) }
	count(probes.deny) == 0 with input as pod("Pod", "OnFailure", "app", [], [])
	count(probes.deny) == 0 with input as pod("Workflow", "Always", "app", [], [])
}

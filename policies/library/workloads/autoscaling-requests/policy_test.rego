package portcullis.workloads.autoscaling_requests_test

import data.portcullis.workloads.autoscaling_requests

scaler(spec, resources) := {
	"request": {"namespace": "shop"},
	"object": {"spec": object.union({"scaleTargetRef": {"kind": "Deployment", "name": "app"}}, spec)},
	"cluster": [{
		"kind": "Deployment", "name": "app", "namespace": "shop",
		"object": {"spec": {"template": {"spec": {"containers": [{"name": "app", "resources": resources}]}}}},
	}],
}

utilization(resource) := {"metrics": [{"type": "Resource", "resource": {"name": resource, "target": {"type": "Utilization"}}}]}

found(spec, resources) if count(autoscaling_requests.deny) == 1 with input as scaler(spec, resources)

test_the_measured_resource_has_to_be_requested if {
	found(utilization("memory"), {"requests": {"cpu": "1"}})
	not found(utilization("cpu"), {"requests": {"cpu": "1"}})
	not found(utilization("cpu"), {"limits": {"cpu": "1"}})
}

test_without_metrics_it_is_cpu if {
	found({}, {})
	not found({}, {"requests": {"cpu": "1"}})
}

test_the_message_names_container_and_target if {
	some finding in autoscaling_requests.deny with input as scaler({}, {})
	finding.msg == `container "app" of Deployment "app" requests no cpu, so its utilization cannot be computed`
}

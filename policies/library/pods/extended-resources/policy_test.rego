package portcullis.pods.extended_resources_test

import data.portcullis.pods.extended_resources

pod(namespace, resource) := {
	"parameters": {"allowed": [{"resource": "nvidia.com/*", "namespaces": ["ml-*"]}]},
	"request": {"namespace": namespace},
	"workload": {"containers": [{
		"name": "app",
		"path": "spec.containers[0]",
		"resources": {"requests": {"extended": [{"name": resource, "text": "1", "path": "spec.containers[0].resources.limits[x]"}]}},
	}]},
}

test_resource_and_namespace_both_have_to_fit if {
	count(extended_resources.deny) == 0 with input as pod("ml-training", "nvidia.com/gpu")
	count(extended_resources.deny) == 1 with input as pod("shop", "nvidia.com/gpu")
	count(extended_resources.deny) == 1 with input as pod("ml-training", "amd.com/gpu")
}

test_the_message_names_amount_resource_and_namespace if {
	some finding in extended_resources.deny with input as pod("shop", "nvidia.com/gpu")
	finding.msg == `container "app" asks for 1 nvidia.com/gpu, which namespace "shop" may not use`
	{change.path | some change in finding.fix} == {
		"spec.containers[0].resources.requests[nvidia.com/gpu]",
		"spec.containers[0].resources.limits[nvidia.com/gpu]",
	}
}

test_an_empty_list_allows_nothing if {
	request := object.union(pod("ml-training", "nvidia.com/gpu"), {"parameters": {"allowed": []}})
	count(extended_resources.deny) == 1 with input as request
}

package portcullis.network.load_balancer_status_test

import data.portcullis.network.load_balancer_status

service(addresses) := {"status": {"loadBalancer": {"ingress": [{"ip": address} | some address in addresses]}}}

update(username, groups, old, new) := {
	"parameters": {"allowedUsers": ["system:cloud-controller-manager"], "allowedGroups": ["system:masters"]},
	"subject": {"username": username, "groups": groups},
	"object": service(new),
	"oldObject": service(old),
}

test_the_controller_may if {
	count(load_balancer_status.deny) == 0 with input as update("system:cloud-controller-manager", [], [], ["8.8.8.8"])
}

test_members_may if count(load_balancer_status.deny) == 0 with input as update("root", ["system:masters"], [], ["8.8.8.8"])

test_each_new_address_is_named if {
	load_balancer_status.deny == {{
		"msg": "\"jane\" may not have the Service take the traffic to 8.8.8.8",
		"path": "status.loadBalancer.ingress[1].ip",
	}} with input as update("jane", ["developers"], ["203.0.113.7"], ["203.0.113.7", "8.8.8.8"])
}

test_a_service_without_a_status_has_no_address if {
	count(load_balancer_status.deny) == 1 with input as object.union(update("jane", [], [], ["8.8.8.8"]), {"oldObject": {"status": {}}})
}

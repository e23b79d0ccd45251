package portcullis.pods.binding_test

import data.portcullis.pods.binding

request(username, groups) := {
	"parameters": {"allowedUsers": ["system:kube-scheduler"], "allowedGroups": ["system:masters"]},
	"subject": {"username": username, "groups": groups},
}

test_the_scheduler_may if count(binding.deny) == 0 with input as request("system:kube-scheduler", ["system:authenticated"])

test_members_may if count(binding.deny) == 0 with input as request("root", ["system:authenticated", "system:masters"])

test_the_message_names_the_user if {
	binding.deny == {{"msg": "\"jane\" may not bind pods to nodes"}} with input as request("jane", ["developers"])
}

package portcullis.pods.ephemeral_containers_test

import data.portcullis.pods.ephemeral_containers

request(groups, member_of) := {"parameters": {"groups": groups}, "subject": {"username": "jane", "groups": member_of}}

test_members_may if count(ephemeral_containers.deny) == 0 with input as request(["admins"], ["developers", "admins"])

test_others_are_named if {
	some finding in ephemeral_containers.deny with input as request(["admins"], ["developers"])
	finding.msg == `"jane" is in no group that may add ephemeral containers`
}

test_an_empty_list_allows_nobody if count(ephemeral_containers.deny) == 1 with input as request([], ["admins"])

test_somebody_without_groups_may_not if count(ephemeral_containers.deny) == 1 with input as request(["admins"], [])

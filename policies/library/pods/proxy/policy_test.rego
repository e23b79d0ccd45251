package portcullis.pods.proxy_test

import data.portcullis.pods.proxy

request(groups, member_of) := {
	"parameters": {"groups": groups},
	"subject": {"username": "jane", "groups": member_of},
	"request": {"resource": {"resource": "nodes"}},
}

test_members_may if count(proxy.deny) == 0 with input as request(["admins"], ["admins"])

test_the_message_says_what_was_tried if {
	some finding in proxy.deny with input as request(["admins"], ["developers"])
	finding.msg == `"jane" is in no group that may use nodes/proxy`
}

test_an_empty_list_allows_nobody if count(proxy.deny) == 1 with input as request([], ["admins"])

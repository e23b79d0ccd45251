package portcullis.pods.exec_test

import data.portcullis.pods.exec

request(groups, member_of, subresource) := {
	"parameters": {"groups": groups},
	"subject": {"username": "jane", "groups": member_of},
	"request": {"subresource": subresource},
}

test_members_may if count(exec.deny) == 0 with input as request(["admins"], ["developers", "admins"], "exec")

test_the_message_says_what_was_tried if {
	some finding in exec.deny with input as request(["admins"], ["developers"], "attach")
	finding.msg == `"jane" is in no group that may use pods/attach`
}

test_an_empty_list_allows_nobody if count(exec.deny) == 1 with input as request([], ["admins"], "exec")

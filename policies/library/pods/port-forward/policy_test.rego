package portcullis.pods.port_forward_test

import data.portcullis.pods.port_forward

request(groups, member_of) := {"parameters": {"groups": groups}, "subject": {"username": "jane", "groups": member_of}}

test_members_may if count(port_forward.deny) == 0 with input as request(["admins"], ["admins"])

test_others_may_not if count(port_forward.deny) == 1 with input as request(["admins"], ["developers"])

test_an_empty_list_allows_nobody if count(port_forward.deny) == 1 with input as request([], ["admins"])

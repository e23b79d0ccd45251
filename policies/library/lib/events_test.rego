package portcullis.lib.events_test

import data.portcullis.lib.events

with_fields(fields) := {"event": {"rule": "r", "source": "syscall", "fields": fields, "container": {"image": ""}}}

test_a_field_that_is_no_text_is_none if {
	events.text("a") == "x" with input as with_fields({"a": "x"})
	events.text("a") == "" with input as with_fields({"a": 7})
	events.text("a") == "" with input as with_fields({"a": null})
	events.text("a") == "" with input as with_fields({"a": ["x"]})
	events.text("a") == "" with input as with_fields({})
	events.text("a") == "" with input as {"event": {"rule": "r"}}
}

test_truth_comes_as_json_and_in_words if {
	events.truth("a") with input as with_fields({"a": true})
	events.truth("a") with input as with_fields({"a": "True"})
	not events.truth("a") with input as with_fields({"a": false})
	not events.truth("a") with input as with_fields({"a": 1})
	not events.truth("a") with input as with_fields({})
}

test_a_process_is_known_by_each_of_its_names if {
	events.names == {"kworker", "xmrig"} with input as with_fields({"proc.name": "kworker", "proc.exepath": "/tmp/xmrig", "proc.exe": "./xmrig"})
	events.names == {"python3.12", "python"} with input as with_fields({"proc.exepath": "/usr/bin/python3.12"})
	events.names == {"7"} with input as with_fields({"proc.name": "7", "proc.exepath": "/tmp/"})
	events.runs(["a", "xmrig"]) with input as with_fields({"proc.name": "kworker", "proc.exepath": "/tmp/xmrig-6.21"})
	not events.runs(["xmrig", "tmp", "x*"]) with input as with_fields({"proc.name": "kworker", "proc.exepath": "/tmp/xmrig/a"})
	not events.runs([""]) with input as with_fields({})
}

test_a_message_names_the_executable_first if {
	events.process == "/tmp/x" with input as with_fields({"proc.name": "nginx", "proc.exepath": "/tmp/x"})
	events.process == "nginx" with input as with_fields({"proc.name": "nginx"})
	events.process == "a process" with input as with_fields({})
}

test_a_command_line_is_that_of_the_parent_too if {
	events.command("secret") with input as with_fields({"proc.cmdline": "cat", "proc.pcmdline": "sh -c secret"})
	not events.command("secret") with input as with_fields({"proc.name": "secret"})
}

test_files_are_named_by_several_fields if {
	events.touches(["/etc/shadow*"]) with input as with_fields({"fs.path.name": "/etc/shadow-"})
	events.touches(["*/token"]) with input as with_fields({"evt.arg.target": "/a/b/token"})
	not events.touches(["*"]) with input as with_fields({"fd.name": ""})
	events.file == "/etc/shadow" with input as with_fields({"fd.name": "10.0.0.1:1->10.0.0.2:2", "evt.arg.target": "/etc/shadow"})
	events.file == "" with input as with_fields({"fd.name": "10.0.0.1:1->10.0.0.2:2"})
}

test_a_destination_is_the_servers_the_remote_one_or_the_end_of_the_tuple if {
	events.destination == "192.0.2.1" with input as with_fields({"fd.sip": "192.0.2.1", "fd.rip": "192.0.2.2"})
	events.destination == "192.0.2.2" with input as with_fields({"fd.sip": "<NA>", "fd.rip": "192.0.2.2"})
	events.destination == "192.0.2.3" with input as with_fields({"fd.name": "10.0.0.1:40000->192.0.2.3:443"})
	events.destination == "2001:db8::3" with input as with_fields({"fd.name": "2001:db8::1:40000->2001:db8::3:443"})
	events.destination == "2001:db8::3" with input as with_fields({"fd.name": "[2001:db8::1]:40000->[2001:db8::3]:443"})
	events.destination == "192.0.2.4" with input as with_fields({"fd.sip": "::FFFF:192.0.2.4"})
	events.destination == "" with input as with_fields({"fd.sip": "192.0.2.1/0", "fd.name": "/run/a.sock"})
	events.whereto == "somewhere" with input as with_fields({})
	events.whereto == "192.0.2.1" with input as with_fields({"fd.sip": "192.0.2.1"})
}

test_networks_that_are_none_hold_nothing if {
	events.in_networks(["x", "192.0.2.0/24"]) with input as with_fields({"fd.sip": "192.0.2.1"})
	not events.in_networks(["x", "::/0"]) with input as with_fields({"fd.sip": "192.0.2.1"})
	not events.in_networks(["0.0.0.0/0"]) with input as with_fields({"fd.sip": "no address"})
}

test_a_domain_is_its_name_and_all_below if {
	events.in_domains(["example.com"]) with input as with_fields({"fd.sip.name": "A.Example.com."})
	events.in_domains(["example.com"]) with input as with_fields({"fd.rip.name": "example.com"})
	not events.in_domains(["example.com"]) with input as with_fields({"fd.sip.name": "badexample.com"})
	not events.in_domains(["example.com"]) with input as with_fields({"fd.sip.name": "example.com.evil.org"})
	not events.in_domains([""]) with input as with_fields({})
}

test_a_repository_has_neither_tag_nor_digest if {
	events.repository == "localhost:5000/a/b" with input as {"event": {"container": {"image": "localhost:5000/a/b:1@sha256:aa"}}}
	events.repository == "localhost:5000/a/b" with input as {"event": {"container": {"image": "localhost:5000/a/b"}}}
	events.repository == "docker.io/library/nginx" with input as {"event": {"container": {"image": "docker.io/library/nginx:1.27"}}}
}

in_shop(fields, image) := {"event": {"pod": {"namespace": "shop"}, "container": {"image": image}, "fields": fields}}

test_exceptions_are_by_namespace_image_and_process if {
	events.excepted({"namespaces": ["sh*"]}) with input as in_shop({}, "")
	not events.excepted({"namespaces": ["other"]}) with input as in_shop({}, "")
	not events.excepted({"namespaces": ["*"]}) with input as {"event": {"container": {"image": ""}, "fields": {}}}
	events.excepted({"images": ["ghcr.io/acme/*"]}) with input as in_shop({}, "ghcr.io/acme/tool:1")
	not events.excepted({"images": ["ghcr.io/acme/*"]}) with input as in_shop({}, "ghcr.io/acme-evil/tool:1")
	not events.excepted({"images": ["ghcr.io/acme/*"]}) with input as in_shop({"container.image.repository": "ghcr.io/acme/tool"}, "evil.example/x")
	events.excepted({"processes": ["agent"]}) with input as in_shop({"proc.name": "agent", "proc.exepath": "/tmp/x"}, "")
	events.excepted({"processes": ["/opt/agent/*"]}) with input as in_shop({"proc.name": "x", "proc.exepath": "/opt/agent/bin"}, "")
	not events.excepted({"processes": ["/opt/agent/*"]}) with input as in_shop({"proc.name": "/opt/agent/bin", "proc.exepath": "/tmp/x"}, "")
	not events.excepted({"processes": ["agent"]}) with input as in_shop({"proc.name": "x", "proc.exepath": "agent"}, "")
	not events.excepted({}) with input as in_shop({"proc.name": "x"}, "ghcr.io/acme/tool:1")
}

test_asks_say_why if {
	asks := events.asks([{"action": "isolate", "parameters": {"ttl": "1h"}}, {"action": "notify"}], {"b", "a"})
	asks == {
		{"action": "isolate", "msg": "a; b", "parameters": {"ttl": "1h"}},
		{"action": "notify", "msg": "a; b", "parameters": {}},
	}
}

counted := {"event": {"window": 600, "recent": [
	{"rule": "a", "level": 4, "count": 2},
	{"rule": "b", "level": 1, "count": 1},
	{"rule": "c", "level": 5, "count": 90},
]}}

escalation(count) := {"level": "warning", "count": count, "actions": [{"action": "isolate"}]}

test_an_escalation_counts_what_is_grave_enough if {
	events.grave("warning") == 3 with input as counted
	events.grave("debug") == 93 with input as counted
	events.grave("emergency") == 0 with input as counted
	events.escalated(escalation(4), {"a"}) == set() with input as counted
	events.escalated(escalation(0), {"a"}) == set() with input as counted
	events.escalated(escalation(3), {"a"}) == {{
		"action": "isolate",
		"msg": "3 events of the priority warning or a graver one within 600 s; a",
		"parameters": {},
	}} with input as counted
}

test_without_recent_events_nothing_escalates if {
	events.escalated(escalation(1), {"a"}) == set() with input as {"event": {}}
}

package portcullis.lib.vault_test

import data.portcullis.lib.vault

places := [
	{"engines": ["kv-v2"], "mounts": ["secret"], "position": 0},
	{"engines": ["kv-v2"], "mounts": ["apps"], "position": 1},
	{"engines": ["kv-v2"], "mounts": ["kv-{namespace}"], "position": 0},
	{"engines": ["dynamic"], "mounts": ["database"], "position": 1},
]

asked(engine, mount, path) := {"sync": {
	"object": {"namespace": "team-a"},
	"vault": {"engine": engine, "mount": mount, "path": path, "segments": split(path, "/")},
}}

own(engine, mount, path) if vault.own(places) with input as asked(engine, mount, path)

test_the_segment_at_the_position_is_the_namespace if {
	own("kv-v2", "secret", "team-a/db")
	own("kv-v2", "secret", "team-a")
	own("kv-v2", "apps", "prod/team-a/db")
	every path in ["team-b/team-a", "team-a-evil/db", "evil-team-a/db", "team/a", "team-a.db/x", "Team-a/db"] {
		not own("kv-v2", "secret", path)
	}
	not own("kv-v2", "apps", "team-a/prod")
	not own("kv-v2", "apps", "prod")
}

test_mount_and_engine_are_those_of_the_entry if {
	not own("kv-v1", "secret", "team-a/db")
	not own("kv-v2", "secrets", "team-a/db")
	not own("kv-v2", "database", "creds/team-a")
}

test_a_mount_can_be_the_namespaces if {
	own("kv-v2", "kv-team-a", "whatever/it/is")
	not own("kv-v2", "kv-team-b", "whatever/it/is")
	not own("kv-v2", "kv-{namespace}", "whatever/it/is")
}

# Roles have no slashes in their names.
test_a_role_may_go_on_after_what_no_namespace_has_in_its_name if {
	every role in ["team-a", "team-a.web", "team-a_web"] {
		own("dynamic", "database", concat("/", ["creds", role]))
	}
	every role in ["team-a-web", "team-aweb", "web.team-a"] {
		not own("dynamic", "database", concat("/", ["creds", role]))
	}
}

test_what_is_shared_is_a_pattern_by_segments if {
	vault.shared(["secret/shared/*"]) with input as asked("kv-v2", "secret", "shared/ca")
	vault.shared(["secret/shared/**"]) with input as asked("kv-v2", "secret", "shared/a/b")
	not vault.shared(["secret/shared/*"]) with input as asked("kv-v2", "secret", "shared/a/b")
	not vault.shared(["secret/shared/**"]) with input as asked("kv-v2", "secret", "shared-not/a")
	not vault.shared([]) with input as asked("kv-v2", "secret", "shared/ca")
}

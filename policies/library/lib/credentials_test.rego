package portcullis.lib.credentials_test

import data.portcullis.lib.credentials

close_to(a, b) if abs(a - b) < 0.00001

test_logarithms if {
	credentials.log2(1) == 0
	credentials.log2(8) == 3
	close_to(credentials.log2(3), 1.5849625)
	close_to(credentials.log2(10), 3.3219281)
	close_to(credentials.log2(255), 7.9943534)
	close_to(credentials.log2(1023), 9.9985904)
}

test_entropy_is_shannons if {
	close_to(credentials.entropy("aaaaaaaa"), 0)
	close_to(credentials.entropy("abababab"), 1)
	close_to(credentials.entropy("0123456789abcdef"), 4)
	close_to(credentials.entropy("hello"), 1.9219281)
}

test_a_long_text_is_looked_at_from_both_ends if {
	credentials.part("abcdef", 6) == "abcdef"
	credentials.part("abcdefg", 6) == "abc\nefg"
	credentials.part("äbcdefü", 4) == "äb\nfü"
}

test_texts_share_what_may_be_looked_through if {
	credentials.shares([500, 524], 1024) == 1024
	credentials.shares([500, 525], 1024) == 512
	not credentials.shares([500, 500, 25], 1024)
	credentials.shares([], 1024) == 1024
}

test_an_empty_list_matches_nothing if {
	not regex.match(credentials.any_of([]), "")
	not regex.match(credentials.any_of([]), "anything\nat all")
}

test_a_flag_of_one_pattern_does_not_reach_the_next if {
	not regex.match(credentials.any_of(["(?i)a", "b"]), "B")
	regex.match(credentials.any_of(["(?i)a", "b"]), "A")
}

settings := credentials.settings(
	[{"name": "a key", "pattern": `AK[0-9]{4}`}, {"name": "a longer key", "pattern": `AK[0-9]{6}`}],
	["password", "token"],
	[`^\$\(.*\)$`, "^true$"],
	20,
	4.0,
)

random := "q7Rt2ZpL9xVb4KmW8cNd"

test_the_first_known_format_is_named if {
	credentials.known_format("x AK123456 y", settings) == "a key"
	not credentials.known_format("AK12", settings)
}

test_a_telling_name_is_enough if {
	credentials.reason("DB_PASSWORD", "hunter2", settings) == "holds a literal value, though its name says that it is a credential"
	not credentials.reason("PASSWORD_FILE", "hunter2", settings)
	not credentials.reason("DB_PASSWORD", "$(OTHER)", settings)
	not credentials.reason("USE_TOKEN", "true", settings)
}

test_a_random_value_is_enough if {
	startswith(credentials.reason("X", random, settings), "holds what looks like a credential: 4.3 bits")
	not credentials.reason("X", lower(random), settings)
	not credentials.reason("X", upper(random), settings)
	not credentials.reason("X", regex.replace(random, "[0-9]", "x"), settings)
	not credentials.reason("X", substring(random, 0, 19), settings)
	not credentials.reason("X", "aB1aB1aB1aB1aB1aB1aB1", settings)
	not credentials.reason("X", concat(" ", [random, random]), settings)
}

test_a_random_value_may_be_harmless if {
	s := credentials.settings([], [], ["^q7"], 20, 4.0)
	not credentials.reason("X", random, s)
}

test_no_reason_holds_the_value if {
	every name, value in {"X": "AK123456", "DB_PASSWORD": "hunter2", "Y": random} {
		not contains(credentials.reason(name, value, settings), value)
	}
}

names(text) := {assignment.name | some assignment in credentials.assignments(text, settings)}

test_assignments_are_found_in_texts if {
	names("db.password=hunter2\nuser=x") == {"db.password"}
	names("spring:\n  password: hunter2 # old") == {"password"}
	names(`{"user":"x","apiToken":"abcdef"}`) == {"apiToken"}
	names("--db-password=hunter2") == {"--db-password"}
	names("PGPASSWORD=hunter2 psql -h db") == {"PGPASSWORD"}
}

test_what_assigns_nothing_is_left_alone if {
	names("password: $PASSWORD") == set()
	names("password=${PASSWORD}") == set()
	names("password = getPassword()") == set()
	names("token: true") == set()
	names("passwordFile: /run/x") == set()
	names("password:\n") == set()
}

test_groups_in_the_patterns_of_names_do_no_harm if {
	s := credentials.settings([], ["pass(word|phrase)", "(t)(o)ken"], [], 20, 4.0)
	some assignment in credentials.assignments("db.passphrase=hunter2", s)
	assignment == {"name": "db.passphrase", "text": "db.passphrase=hunter2", "masked": "db.passphrase=$(CREDENTIAL)"}
}

test_masking_leaves_nothing if {
	text := "id=AK123456 password=hunter2 --api-token=hunter2hunter2; AK999999 token=ab$(X) db.token: 'cde$f'"
	credentials.masked(text, settings) == "id=$(CREDENTIAL) password=$(CREDENTIAL) --api-token=$(CREDENTIAL); $(CREDENTIAL) token=ab$(X) db.token: '$(CREDENTIAL)'"
}

test_masking_leaves_other_text_alone if credentials.masked("serve --verbose", settings) == "serve --verbose"

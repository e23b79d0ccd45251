package portcullis.lib.secrets_test

import data.portcullis.lib.secrets

secret(severity, path) := {"rule": "private-key", "severity": severity, "path": path}

image := {"ref": "ghcr.io/acme/app:1", "resolved": "sha256:aa", "path": "p"}

counted(list, threshold, harmless) := [entry.path | some entry in secrets.counted({"secrets": list}, threshold, harmless)]

test_at_or_above_the_threshold if {
	counted([secret("low", "a"), secret("medium", "b"), secret("high", "c")], "medium", []) == ["b", "c"]
}

test_unknown_severities_count if counted([secret("unknown", "a"), secret("", "b")], "critical", []) == ["a", "b"]

test_harmless_by_rule_and_path if {
	harmless := [{"rule": "private-key", "path": "/test/**/*.pem"}]
	counted([secret("high", "test/a/b.pem"), secret("high", "/test/a/b.pem"), secret("high", "etc/a.pem")], "low", harmless) == ["etc/a.pem"]
	counted([secret("high", "test/a/b.pem")], "low", [{"rule": "other", "path": "**"}]) == ["test/a/b.pem"]
}

test_the_rest_is_counted if {
	list := [secret("high", sprintf("f%d", [n])) | some n in [1, 2, 3]]
	count(secrets.findings(image, list, 3)) == 3
	`image "ghcr.io/acme/app:1" holds 2 more secrets` in {finding.msg | some finding in secrets.findings(image, list, 1)}
}

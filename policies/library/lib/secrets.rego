# Secrets that a scan found in an image.
package portcullis.lib.secrets

import data.portcullis.lib.evidence
import data.portcullis.lib.vulnerabilities
import data.portcullis.lib.wording

# counted are the secrets at or above a severity that are not known to be harmless. One of
# unknown severity counts.
counted(scan, threshold, harmless) := [secret |
	some secret in scan.secrets
	object.get(vulnerabilities.ranks, secret.severity, 4) >= vulnerabilities.ranks[threshold]
	not innocent(secret, harmless)
]

innocent(secret, harmless) if {
	some entry in harmless
	entry.rule == secret.rule
	glob.match(trim_prefix(entry.path, "/"), ["/"], trim_prefix(secret.path, "/"))
}

# findings reports the first of some secrets one by one and counts the rest.
findings(image, list, most) := {finding(image, secret) | some secret in array.slice(list, 0, most)} | {rest(image, count(list) - most) | count(list) > most}

finding(image, secret) := {
	"msg": sprintf("image %q holds a secret (%s) in %s", [image.ref, wording.short(secret.rule), wording.short(secret.path)]),
	"path": image.path,
	"details": object.union(evidence.about(image), {"rule": secret.rule, "file": secret.path, "severity": secret.severity}),
}

rest(image, n) := {
	"msg": sprintf("image %q holds %d more secrets", [image.ref, n]),
	"path": image.path,
	"details": evidence.about(image),
}

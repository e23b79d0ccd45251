# What a scan of an image amounts to where it is not complete.
package portcullis.lib.scans

import data.portcullis.lib.ages
import data.portcullis.lib.evidence
import data.portcullis.lib.wording

# finding says that a scan is not complete, why, and what to do about it; undefined for a
# complete one.
finding(image) := {
	"msg": trouble(image),
	"path": image.path,
	"remediation": step(image),
	"details": object.union(evidence.about(image), {"state": image.scan.state}),
} if {
	image.scan.state != "complete"
}

# kind is missing, unscannable or error. A state that is none of the known ones is an error.
kind(scan) := scan.state if {
	scan.state in {"missing", "unscannable"}
} else := "error"

# queued says whether waiting helps.
queued(scan) if {
	scan.state == "missing"
	scan.queued
}

trouble(image) := sprintf("image %q is being scanned: retry in %d s", [image.ref, image.scan.retryAfter]) if {
	queued(image.scan)
} else := sprintf("image %q has no scan that is believed: %s", [image.ref, reasons(image.scan)]) if {
	image.scan.state == "missing"
} else := sprintf("image %q cannot be scanned: %s", [image.ref, reasons(image.scan)]) if {
	image.scan.state == "unscannable"
} else := sprintf("the scan of image %q failed: %s", [image.ref, reasons(image.scan)])

reasons(scan) := wording.few(scan.reasons) if {
	count(scan.reasons) > 0
} else := "no reason is given"

step(image) := sprintf("Try again in %d s: the scan is queued. Controllers try again by themselves.", [image.scan.retryAfter]) if {
	queued(image.scan)
} else := sprintf("Scan the image and attach the signed result, with a key of the bundle's trust.scanners: portcullis-scanner scan --attach --key KEY %s", [evidence.name(image)]) if {
	image.scan.state == "missing"
} else := "Build the image upon a distribution whose packages the scanner knows, with its package database left in place, and scan the new image." if {
	image.scan.state == "unscannable"
} else := sprintf("See why with portcullis image scan %s, mend it and scan again.", [evidence.name(image)])

# spared says whether an image's ageing evidence only warns: the pod replaces one of a template that was
# admitted with it, and a scanner that is down must not stop a failover.
spared(image, replacements) if {
	replacements == "warn"
	image.replacement
}

# denied says whether a scan that is not complete denies, by the parameters of images/scanned.
denied(image, parameters) if {
	not spared(image, parameters.replacements)
	settled(parameters[kind(image.scan)], image.scan)
}

settled("deny", _)

settled("retry", scan) if queued(scan)

# A queue that takes no more is no reason to let an unknown image in.
settled("retry", _) if {
	input.request.door == "admission"
	not input.request.dryRun
}

# unlooked says how many packages of an image nobody could look up, since they are another vendor's than the
# distribution's own.
unlooked(image) := {
	"msg": sprintf("image %q has %d %s of other vendors than %s: the vulnerability database says nothing about them", [image.ref, number, wording.plural("package", number), maker(image.scan.os)]),
	"path": image.path,
	"remediation": "Install the distribution's own packages where it has them. For others follow the advisories of their vendors, and set the parameter thirdParty to allow where somebody does.",
	"details": object.union(evidence.about(image), {"packages": number}),
} if {
	number := image.scan.packages.thirdParty
	number > 0
}

maker(os) := wording.short(os.family) if {
	os.family != ""
} else := "its distribution"

# unlooked_denied says whether such packages deny, by the parameters of images/scanned.
unlooked_denied(image, parameters) if {
	parameters.thirdParty == "deny"
	not spared(image, parameters.replacements)
}

# unscanned objects to a scan that is not complete, for policies about what a scan found, unless another
# policy does.
unscanned(image, chosen) := {finding(image) | chosen == "deny"}

# stale objects to a scan that is older than a limit, or whose vulnerability database was; limits in seconds.
# What is missing or failed has no age.
stale(image, scan_limit, database_limit) := old_scan(image, scan_limit) | old_database(image, database_limit) if {
	image.scan.state in {"complete", "unscannable"}
} else := set()

old_scan(image, limit) := {{
	"msg": sprintf("the scan of image %q %s: at most %d hours are allowed", [image.ref, ages.told(image.scan.finishedAt), floor(limit / 3600)]),
	"path": image.path,
	"remediation": sprintf("Scan the image again: portcullis-scanner scan --attach --key KEY %s", [evidence.name(image)]),
	"details": evidence.about(image),
} |
	moment := image.scan.finishedAt
	not ages.within(moment, limit)
}

old_database(image, limit) := {{
	"msg": sprintf("the vulnerability database that image %q was scanned with %s: at most %d hours are allowed", [image.ref, ages.told(image.scan.database.updatedAt), floor(limit / 3600)]),
	"path": image.path,
	"remediation": "Let the scanner fetch a current vulnerability database, then scan the image again.",
	"details": evidence.about(image),
} |
	moment := image.scan.database.updatedAt
	not ages.within(moment, limit)
}

# Which vulnerabilities of a scan count, and how they are reported.
package portcullis.lib.vulnerabilities

import data.portcullis.lib.evidence
import data.portcullis.lib.wording

ranks := {"critical": 4, "high": 3, "medium": 2, "low": 1}

# worst are the vulnerabilities of a scan at or above a severity, worst first, without those that a
# VEX statement or an ignore takes away. unknown is the severity that those without one are given, "none" to
# leave them out. A scan can have tens of thousands: no function is called for each.
worst(scan, threshold, unknown) := ordered(scan, array.concat(known, unrated)) if {
	counting := {severity: key | some severity, rank in ranks; rank >= ranks[threshold]; key := 0 - rank}
	excused := exempt(scan)
	known := [[counting[vulnerability.severity], 0 - vulnerability.score, n] |
		some n, vulnerability in scan.vulnerabilities
		counting[vulnerability.severity]
		not excused[n]
	]
	unrated := [[counting[unknown], 0 - vulnerability.score, n] |
		counting[unknown]
		some n, vulnerability in scan.vulnerabilities
		severity := vulnerability.severity
		not ranks[severity]
		not excused[n]
	]
}

# ordered are the vulnerabilities of a scan that some keys stand for, [0 - rank, 0 - score, place in the
# list], worst first.
ordered(scan, keys) := [scan.vulnerabilities[key[2]] | some key in sort(keys)]

# at are the keys of the vulnerabilities at some places.
at(scan, places) := [[0 - object.get(ranks, scan.vulnerabilities[n].severity, 0), 0 - scan.vulnerabilities[n].score, n] | some n in places]

# mendable are those of some vulnerabilities that deny: those with a fix, and all where unfixed is deny.
mendable(list, unfixed) := [vulnerability | some vulnerability in list; denies(vulnerability, unfixed)]

denies(_, "deny")

denies(vulnerability, unfixed) if {
	unfixed != "deny"
	vulnerability.fixed != ""
}

# hopeless are those of some vulnerabilities that only warn: those without a fix, where unfixed is warn.
hopeless(list, unfixed) := [vulnerability |
	unfixed == "warn"
	some vulnerability in list
	vulnerability.fixed == ""
]

# exempt are the places of the vulnerabilities of which a believed VEX statement says that the image is not affected, or
# with which somebody decided to live for a while that is not over. Which statements are believed the bundle's
# trust says.
exempt(scan) := {n | scan.vulnerabilities[n].vex.status in {"not_affected", "fixed"}} | {n | unexpired(scan.vulnerabilities[n].ignore.expires)}

# unexpired: expires is the first day on which an ignore no longer counts.
unexpired(expires) if {
	regex.match(`^\d{4}-\d\d-\d\d$`, expires)
	expires > substring(input.now, 0, 10)
}

# share is how many findings each of the images of a pod may have of a number in all, so that no image's
# findings push out those of another.
share(reported, images) := max([1, floor(reported / count(images))])

# findings reports the first of some vulnerabilities one by one and sums up the rest.
findings(image, list, most) := each | rest if {
	each := {finding(image, vulnerability) | some vulnerability in array.slice(list, 0, most)}
	rest := {more(image, count(list) - most, list[most]) | count(list) > most}
}

more(image, n, next) := {
	"msg": sprintf("image %q has %d more such vulnerabilities, none worse than %s (%s)", [image.ref, n, next.id, next.severity]),
	"path": image.path,
	"remediation": sprintf("Mend the others too: portcullis image scan %s lists them all.", [evidence.name(image)]),
	"details": evidence.about(image),
}

finding(image, vulnerability) := {
	"msg": sprintf("image %q has %s (%s) in %s %s: %s%s", [image.ref, vulnerability.id, vulnerability.severity, vulnerability.package, vulnerability.version, mend(vulnerability), expired(vulnerability)]),
	"path": image.path,
	"remediation": step(vulnerability),
	"details": details(image, vulnerability),
}

mend(vulnerability) := sprintf("fixed in %s", [vulnerability.fixed]) if {
	vulnerability.fixed != ""
} else := sprintf("no fix (%s)", [vulnerability.status])

step(vulnerability) := sprintf("Rebuild the image with %s %s or later, often by updating the base image, and scan it again.", [vulnerability.package, vulnerability.fixed]) if {
	vulnerability.fixed != ""
} else := sprintf("There is no fix of %s yet: remove the package, change the base image, or state in a VEX document why the image is not affected.", [vulnerability.package])

expired(vulnerability) := sprintf(" (ignored by %s until %s, which is over)", [wording.short(vulnerability.ignore.owner), vulnerability.ignore.expires]) if {
	vulnerability.ignore
} else := ""

# details are what reports tell vulnerabilities apart by, with the VEX statement that is beside
# one and does not take it away.
details(image, vulnerability) := object.union_n([evidence.about(image), {
	"vulnerability": vulnerability.id,
	"package": vulnerability.package,
	"purl": vulnerability.purl,
	"version": vulnerability.version,
	"fixed": vulnerability.fixed,
	"severity": vulnerability.severity,
	"score": vulnerability.score,
}, {"file": vulnerability.path | vulnerability.path != ""}, {"vex": statement(vulnerability.vex) | vulnerability.vex}])

statement(vex) := object.union(vex, {"impact": wording.short(vex.impact)})

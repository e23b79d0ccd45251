# METADATA
# title: Images from the mirror
# description: |
#   Images from public registries can vanish, be rate limited or be replaced by those who own the
#   account. Where a mirror holds vetted copies, pods are sent there whatever their manifest names.
#   Names are compared in canonical form and by whole segments, so that nginx is
#   docker.io/library/nginx and ghcr.io/acme does not cover ghcr.io/acme-evil. Image volumes are
#   rewritten as well; tag and digest stay.
# related_resources:
#   - https://kubernetes.io/docs/concepts/containers/images/#image-names
# custom:
#   severity: low
#   match:
#     workload: pods
#   parameters:
#     type: object
#     properties:
#       rewrites:
#         description: Registries, or paths in them, and what takes their place; the first that covers an image counts.
#         type: array
#         items:
#           type: object
#           required: [from, to]
#           additionalProperties: false
#           properties:
#             from:
#               description: Canonical, with docker.io and library spelled out.
#               type: string
#               pattern: ^[^/]+(/[^/]+)*$
#             to:
#               type: string
#               pattern: ^[^/]+(/[^/]+)*$
#         default: []
#   remediation: Name the image in the mirror.
#   controls:
#     nist-800-190: ["4.1.5"]
#     owasp-k8s: [K02]
package portcullis.patch.registry_rewrite

import data.portcullis.lib.patching

patch contains {"path": patching.segments(image.path), "set": reference} if {
	some image in input.workload.images
	name := rewritten(split(concat("/", [image.registry, image.repository]), "/"))
	patching.brings(image.path, image.container)
	reference := concat("", [name, marked(":", image.tag), marked("@", image.digest)])
}

# rewritten is the new name of an image by the first rule that covers it. One that lies
# in a mirror already stays there, so that patching twice is patching once.
rewritten(segments) := name if {
	rules := [rule | some rule in input.parameters.rewrites; covers(rule.from, segments)]
	not mirrored(segments)
	rest := array.slice(segments, count(split(rules[0].from, "/")), count(segments))
	name := concat("/", array.concat([rules[0].to], rest))
}

mirrored(segments) if {
	some rule in input.parameters.rewrites
	covers(rule.to, segments)
}

covers(place, segments) if {
	wanted := split(place, "/")
	array.slice(segments, 0, count(wanted)) == wanted
}

marked(_, "") := ""

marked(mark, text) := concat("", [mark, text]) if text != ""

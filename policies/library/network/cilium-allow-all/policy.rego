# METADATA
# title: Cilium policies that allow everything
# description: |
#   Cilium has its own ways to say "everybody": the entities all and world, an empty selector in a
#   cluster-wide policy (in a namespaced one it means the own namespace), a namespace label that only
#   has to exist, 0.0.0.0/0, a rule that names ports and no peers, and the DNS pattern "*", which lets
#   a pod reach whatever it resolves. Allowing rules add up: one of these undoes all others for the
#   endpoints it selects, and a stolen pod talks to everything again. Both spec and specs are read.
# related_resources:
#   - https://docs.cilium.io/en/stable/security/policy/language/
# custom:
#   severity: high
#   match:
#     resources: [{group: cilium.io, resources: [ciliumnetworkpolicies, ciliumclusterwidenetworkpolicies]}]
#   remediation: Name the endpoints, entities, blocks or domains that are meant, in place of the placeholder of the fix.
#   controls:
#     nsa: [network-separation/network-policies]
#     nist-800-190: ["4.3.3"]
#     owasp-k8s: [K07]
#   parameters:
#     type: object
#     properties:
#       entities:
#         description: Entities that no rule may allow.
#         type: array
#         items: {type: string}
#         default: [all, world, world-ipv4, world-ipv6]
#       patterns:
#         description: Values of toFQDNs.matchPattern that match every domain, or every one of some length.
#         type: array
#         items: {type: string}
#         default: ["*", "**", "**.*", "*.*", "*.*.*"]
#       allowedPorts:
#         description: Ports, as text, that may be open to everybody. A rule that names only such ports may do without peers.
#         type: array
#         items: {type: string}
#         default: []
#       widestIPv4:
#         description: The shortest prefix that an IPv4 block may have, alone or together with others; 0 allows every block.
#         type: integer
#         minimum: 0
#         maximum: 32
#         default: 8
#       widestIPv6:
#         description: The same for IPv6. The private addresses are fc00::/7, the public ones 2000::/3.
#         type: integer
#         minimum: 0
#         maximum: 128
#         default: 7
package portcullis.network.cilium_allow_all

import data.portcullis.lib.cidr

# Placeholders of fixes, which the author replaces: one application, the addresses for
# documentation (RFC 5737), and the entity that may do the least: the
# agents' own health checks. An empty list would mean different things to different versions of Cilium.
some_endpoint := {"matchLabels": {"app.kubernetes.io/name": "replace-me"}}

some_block := "192.0.2.0/24"

some_domain := "replace-me.example.com"

some_entity := "health"

deny contains finding if {
	some at in rules
	field := concat("", [at.side, "Entities"])
	some i, entity in at.rule[field]
	entity in input.parameters.entities
	path := sprintf("%s.%s[%d]", [at.path, field, i])
	finding := {
		"msg": sprintf("%s allows the entity %q", [field, entity]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": some_entity}],
	}
}

deny contains finding if {
	some at in rules
	field := concat("", [at.side, "Endpoints"])
	some i, selector in at.rule[field]
	not chooses(selector)
	leaves_the_namespace(selector)
	path := sprintf("%s.%s[%d]", [at.path, field, i])
	finding := {
		"msg": sprintf("%s allows every endpoint of every namespace", [field]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": some_endpoint}],
	}
}

# The entities are labels too.
deny contains finding if {
	some at in rules
	field := concat("", [at.side, "Endpoints"])
	some i, selector in at.rule[field]
	some label in labels(selector)
	regex.replace(label, "^reserved[.:]", "reserved:") in reserved
	path := sprintf("%s.%s[%d]", [at.path, field, i])
	finding := {
		"msg": sprintf("%s allows an entity by its label %q", [field, label]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": some_endpoint}],
	}
}

deny contains finding if {
	some block in blocks
	whole := too_wide[block.side][block.cidr]
	finding := {
		"msg": sprintf("the rule allows %s", [cidr.extent(block.cidr, whole)]),
		"path": block.path,
		"fix": [{"op": "set", "path": block.path, "value": some_block}],
	}
}

deny contains finding if {
	some at in rules
	some i, domain in at.rule.toFQDNs
	domain.matchPattern in input.parameters.patterns
	path := sprintf("%s.toFQDNs[%d].matchPattern", [at.path, i])
	finding := {
		"msg": sprintf("the pattern %q allows every domain", [domain.matchPattern]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": some_domain}],
	}
}

deny contains finding if {
	some at in rules
	at.rule.toPorts[0]
	not names_peers(at)
	not limited(at.rule)
	path := sprintf("%s.%sEndpoints", [at.path, at.side])
	finding := {
		"msg": "the rule names ports but no peers, which allows everybody",
		"path": path,
		"fix": [{"op": "set", "path": path, "value": [some_endpoint]}],
	}
}

# rules are the allowing rules, with their path and the side of the peers that their
# fields begin with.
rules contains {"path": path, "side": "from", "rule": rule} if {
	some section, spec in sections
	some i, rule in spec.ingress
	path := sprintf("%s.ingress[%d]", [section, i])
}

rules contains {"path": path, "side": "to", "rule": rule} if {
	some section, spec in sections
	some i, rule in spec.egress
	path := sprintf("%s.egress[%d]", [section, i])
}

sections["spec"] := input.object.spec

sections[path] := spec if {
	some i, spec in input.object.specs
	path := sprintf("specs[%d]", [i])
}

chooses(selector) if some _ in selector.matchLabels

chooses(selector) if {
	some term in selector.matchExpressions
	not any_namespace(term)
}

# any_namespace says that a term only asks for a label that every pod's namespace gives it.
any_namespace(term) if {
	term.operator == "Exists"
	regex.match(`^((any|k8s):)?io\.(kubernetes\.pod\.namespace|cilium\.k8s\.namespace\.labels\.kubernetes\.io/metadata\.name)$`, term.key)
}

# A namespaced policy means the own namespace unless the selector speaks of namespaces.
leaves_the_namespace(_) if input.request.resource.resource == "ciliumclusterwidenetworkpolicies"

leaves_the_namespace(selector) if some _ in selector.matchExpressions

labels(selector) := {key | some key, _ in selector.matchLabels} | {term.key | some term in selector.matchExpressions}

reserved := {concat(":", ["reserved", entity]) | some entity in input.parameters.entities}

blocks contains {"path": path, "side": at.side, "cidr": block} if {
	some at in rules
	field := concat("", [at.side, "CIDR"])
	some i, block in at.rule[field]
	path := sprintf("%s.%s[%d]", [at.path, field, i])
}

blocks contains {"path": path, "side": at.side, "cidr": entry.cidr} if {
	some at in rules
	field := concat("", [at.side, "CIDRSet"])
	some i, entry in at.rule[field]
	path := sprintf("%s.%s[%d].cidr", [at.path, field, i])
}

too_wide[side] := cidr.too_wide(
	{block.cidr | some block in blocks; block.side == side},
	{"IPv4": input.parameters.widestIPv4, "IPv6": input.parameters.widestIPv6},
) if {
	some side in ["from", "to"]
}

names_peers(at) if {
	some kind in ["Endpoints", "Requires", "CIDR", "CIDRSet", "Entities", "Groups", "Nodes", "Services", "FQDNs"]
	at.rule[concat("", [at.side, kind])]
}

limited(rule) if {
	every group in rule.toPorts {
		group.ports[0]
		every entry in group.ports {
			entry.port in input.parameters.allowedPorts
			not entry.endPort
		}
	}
}

# METADATA
# title: Granting more than one has
# description: |
#   Kubernetes lets nobody grant rights that the author lacks, except to those who hold the
#   verbs bind or escalate. Automation often holds them without limit, and whoever takes it
#   over makes themselves cluster-admin with one binding. This policy compares as Kubernetes
#   does, wildcards, subresources, names and paths included, and makes no such exception: what
#   a binding's role or a role's rules grant, its author must hold by the bindings of its
#   user, groups and service account.
#
#   A bind right that names the very role (resourceNames) is a decision to delegate just this
#   role; it counts unless allowNamedBind is false. Rights that come from another authorizer
#   than RBAC are not seen: list those users or groups.
# related_resources:
#   - https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
# custom:
#   severity: critical
#   match:
#     resources:
#       - group: rbac.authorization.k8s.io
#         resources: [roles, clusterroles, rolebindings, clusterrolebindings]
#   remediation: >-
#     Let somebody who holds these rights make the change, or grant less.
#   controls:
#     nsa: ["authorization/rbac"]
#     cis: ["5.1.8"]
#     nist-800-190: ["4.3.1"]
#     owasp-k8s: ["K03"]
#   doors: [admission]
#   reads:
#     - {group: rbac.authorization.k8s.io, resource: roles, scope: namespace}
#     - {group: rbac.authorization.k8s.io, resource: clusterroles, scope: cluster}
#     - {group: rbac.authorization.k8s.io, resource: rolebindings, scope: namespace}
#     - {group: rbac.authorization.k8s.io, resource: clusterrolebindings, scope: cluster}
#   fix: none
#   fixReason: >-
#     The grant is wrong because of who asks: what would be enough depends on the rights of
#     the author, which the manifest does not hold.
#   parameters:
#     type: object
#     properties:
#       allowNamedBind:
#         description: Whether the verb bind on a role that is named in resourceNames lets its holder bind that role without holding its rights.
#         type: boolean
#         default: true
#       allowedUsers:
#         description: Users that may grant what they do not hold; service accounts as system:serviceaccount:NAMESPACE:NAME.
#         type: array
#         items: {type: string}
#         default: ["system:serviceaccount:kube-system:clusterrole-aggregation-controller"]
#       allowedGroups:
#         description: Groups that may grant what they do not hold, such as those whose rights come from another authorizer.
#         type: array
#         items: {type: string}
#         default: []
#       maxRights:
#         description: How many rights, each of one group, resource, verb and name, a role may stand for. Comparing more takes too long, so they are refused.
#         type: integer
#         minimum: 1
#         default: 10000
package portcullis.rbac.grant_escalation

import data.portcullis.lib.rbac

everything := [
	{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
	{"nonResourceURLs": ["*"], "verbs": ["*"]},
]

deny contains finding if {
	input.object.subjects[0] # a binding without subjects grants nothing
	comparable(granted)
	missing := lacking(granted)
	count(missing) > 0
	not excused
	not delegated
	finding := {
		"msg": sprintf("binds %s %s, %s", [input.object.roleRef.kind, input.object.roleRef.name, complaint(missing)]),
		"path": "roleRef",
		"details": {"missing": missing},
	}
}

deny contains finding if {
	comparable(input.object.rules)
	some i, rule in input.object.rules
	missing := lacking([rule])
	count(missing) > 0
	not excused
	finding := {
		"msg": sprintf("grants rule %d, %s", [i, complaint(missing)]),
		"path": sprintf("rules[%d]", [i]),
		"details": {"missing": missing},
	}
}

# An aggregated role takes up whatever is labelled for it later, so that Kubernetes
# wants its author to hold everything.
deny contains finding if {
	input.object.aggregationRule
	missing := lacking(everything)
	count(missing) > 0
	not excused
	finding := {
		"msg": sprintf("aggregates roles without limit, %s", [complaint(missing)]),
		"path": "aggregationRule",
		"details": {"missing": missing},
	}
}

# A rule of some hundred groups, resources and verbs stands for millions of rights:
# whoever may create roles could keep the webhook busy with a few of them.
deny contains finding if {
	rules := input.object.rules
	not comparable(rules)
	not excused
	finding := {"msg": sprintf("grants %s", [too_many]), "path": "rules"}
}

deny contains finding if {
	input.object.subjects[0]
	not comparable(granted)
	not excused
	not delegated
	finding := {
		"msg": sprintf("binds %s %s, which stands for %s", [input.object.roleRef.kind, input.object.roleRef.name, too_many]),
		"path": "roleRef",
	}
}

too_many := sprintf("more than %d rights, too many to compare with those of %q", [input.parameters.maxRights, input.subject.username])

comparable(rules) if {
	on_resources := sum([n |
		some rule in rules
		n := ((count(rule.apiGroups) * count(rule.resources)) * count(rule.verbs)) * count(names(rule))
	])
	on_paths := sum([n |
		some rule in rules
		n := count(rule.nonResourceURLs) * count(rule.verbs)
	])
	on_resources + on_paths <= input.parameters.maxRights
}

excused if input.subject.username in input.parameters.allowedUsers

excused if {
	some group in input.subject.groups
	group in input.parameters.allowedGroups
}

delegated if {
	input.parameters.allowNamedBind
	[
		"rbac.authorization.k8s.io",
		{"Role": "roles", "ClusterRole": "clusterroles"}[input.object.roleRef.kind],
		"bind",
		input.object.roleRef.name,
	] in held
}

# A role that does not exist yet may grant anything by the time it does.
granted := rules if {
	rules := rules_of(input.object.roleRef, input.request.namespace)
} else := everything

rules_of(reference, namespace) := roles[[reference.kind, reference.name, {"Role": namespace, "ClusterRole": ""}[reference.kind]]]

# roles are the rules of everything there is by kind, name and namespace. It is one value,
# made once: looking through all roles for each binding would take the product of both.
roles := {[role.kind, role.name, role.namespace]: rules |
	some role in input.cluster
	rules := object.get(role.object, "rules", [])
}

# held are the author's rights, one by one: group, resource, verb and name, or null for
# a right that is not limited to names.
held contains right if {
	some rule in held_rules
	some right in rights(rule)
}

held_paths contains [path, verb] if {
	some rule in held_rules
	some path in rule.nonResourceURLs
	some verb in rule.verbs
}

held_rules contains rule if {
	some binding in input.cluster
	binding.resource in {"clusterrolebindings", "rolebindings"}
	binding.namespace in {"", input.request.namespace}
	some subject in binding.object.subjects
	is_author(subject, binding.namespace)
	some rule in rules_of(binding.object.roleRef, binding.namespace)
}

is_author(subject, namespace) if rbac.username(subject, namespace) == input.subject.username

is_author(subject, _) if {
	subject.name in input.subject.groups
	subject.kind == "Group"
}

rights(rule) := {[group, resource, verb, name] |
	some group in rule.apiGroups
	some resource in rule.resources
	some verb in rule.verbs
	some name in names(rule)
}

names(rule) := rule.resourceNames if {
	rule.resourceNames[0]
} else := [null]

# lacking are the rights in rules that the author does not hold, as text.
lacking(rules) := sort({described(right) |
	some rule in rules
	some right in rights(rule)
	not covered(right)
} | {sprintf("%s %s", [verb, path]) |
	some rule in rules
	some path in rule.nonResourceURLs
	some verb in rule.verbs
	not path_covered(path, verb)
})

# covered does what Kubernetes' ruleCovers does
# (k8s.io/component-helpers/auth/rbac/validation): a wildcard is covered by a wildcard only.
covered([group, resource, verb, name]) if {
	some g in {"*", group}
	some r in {"*", resource, regex.replace(resource, "^[^/]*/", "*/")}
	some v in {"*", verb}
	some n in {null, name}
	[g, r, v, n] in held
}

path_covered(path, verb) if {
	some [prefix, v] in held_paths
	v in {"*", verb}
	endswith(prefix, "*")
	startswith(path, trim_right(prefix, "*"))
}

path_covered(path, verb) if {
	some v in {"*", verb}
	[path, v] in held_paths
}

described([group, resource, verb, name]) := sprintf("%s %s%s%s", [verb, resource, in_group(group), of_name(name)])

in_group("") := ""

in_group(group) := concat("", [".", group]) if group != ""

of_name(null) := ""

of_name(name) := sprintf(" %q", [name]) if is_string(name)

complaint(missing) := sprintf("of whose rights %q lacks %d: %s", [
	input.subject.username,
	count(missing),
	concat(", ", array.slice(missing, 0, 3)),
])

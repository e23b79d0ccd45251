# What the policies about rights share. A rule of a Role says apiGroups x resources x
# verbs; "*" stands for any, and so a right granted by a wildcard counts as granted
# (k8s.io/kubernetes/pkg/apis/rbac/v1/evaluation_helpers.go).
package portcullis.lib.rbac

# read_verbs and write_verbs are the verbs of the API server's own requests.
read_verbs := ["get", "list", "watch"]

write_verbs := {"*", "create", "update", "patch", "delete", "deletecollection"}

# placeholders stand in fixes where only the author knows the right value. They grant
# nothing until they are replaced.
some_resource := ["replace-with-a-resource"]

some_api_group := ["replace-with-an-api-group"]

some_name := ["replace-with-a-name"]

# those are the entries of a list that are in a set, as text.
those(list, set) := concat(", ", [entry | some entry in list; entry in set])

# wildcards are the entries of a list that hold a wildcard.
wildcards(list) := {entry | some entry in list; contains(entry, "*")}

# without is the fix that takes a set of entries out of one list of the rule at an
# index: the rule goes where nothing else is left of the list, but a wildcard leaves
# the replacement.
without(index, field, list, set, _) := [{"op": "set", "path": sprintf("rules[%d].%s", [index, field]), "value": rest}] if {
	rest := [entry | some entry in list; not entry in set]
	count(rest) > 0
}

without(index, field, list, set, replacement) := [{"op": "set", "path": sprintf("rules[%d].%s", [index, field]), "value": replacement}] if {
	every entry in list { entry in set }
	"*" in list
}

without(index, _, list, set, _) := [{"op": "remove", "path": sprintf("rules[%d]", [index])}] if {
	every entry in list { entry in set }
	not "*" in list
}

# unnamed says that a rule is not limited to objects by name. An empty name is no
# limit: requests for a whole collection carry no name, and RBAC compares just that
# (ResourceNameMatches), so resourceNames: [""] grants list and watch of everything.
unnamed(rule) if not rule.resourceNames[0]

unnamed(rule) if "" in rule.resourceNames

# shipped says that the role in hand is one of those that Portcullis has by its own
# manifests: a ClusterRole of one of the names, or a Role of one in one of the namespaces.
shipped(names, _) if {
	input.request.resource.resource == "clusterroles"
	input.object.metadata.name in names
}

shipped(names, namespaces) if {
	input.request.resource.resource == "roles"
	input.object.metadata.name in names
	input.request.namespace in namespaces
}

# username is the user name that a subject of a binding stands for, given the
# namespace of the binding; undefined for groups.
username(subject, _) := subject.name if subject.kind == "User"

username(subject, namespace) := sprintf("system:serviceaccount:%s:%s", [object.get(subject, "namespace", namespace), subject.name]) if {
	subject.kind == "ServiceAccount"
}

# described names a subject in a message.
described(subject) := sprintf("service account %q", [subject.name]) if {
	subject.kind == "ServiceAccount"
} else := sprintf("%s %q", [lower(subject.kind), subject.name])

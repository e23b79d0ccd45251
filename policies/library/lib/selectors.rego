# METADATA
# title: Label selectors
# description: |
#   A LabelSelector as Kubernetes evaluates it (apimachinery's metav1.LabelSelectorAsSelector):
#   all of matchLabels and matchExpressions have to hold, an empty selector selects
#   everything and an absent one nothing.
package portcullis.lib.selectors

# selects says whether a LabelSelector selects an object with these labels.
selects(selector, labels) if {
	every key, value in object.get(selector, "matchLabels", {}) { labels[key] == value }
	every requirement in object.get(selector, "matchExpressions", []) { holds(requirement, labels) }
}

holds(requirement, labels) if {
	requirement.operator == "In"
	one_of(requirement, labels)
}

holds(requirement, labels) if {
	requirement.operator == "NotIn"
	not one_of(requirement, labels)
}

holds(requirement, labels) if {
	requirement.operator == "Exists"
	labels[requirement.key]
}

holds(requirement, labels) if {
	requirement.operator == "DoesNotExist"
	not labels[requirement.key]
}

one_of(requirement, labels) if labels[requirement.key] in requirement.values

# METADATA
# title: Zone labels of nodes
# description: The zone of a node is fixed once it is set, whoever asks.
# custom:
#   severity: high
#   match:
#     resources: [{group: "", resources: [nodes]}]
#     operations: [UPDATE]
#   remediation: Set metadata.labels[example.com/zone] back to what it was.
package portcullis.e2e.node_labels

deny contains finding if {
	before := input.oldObject.metadata.labels["example.com/zone"]
	now := object.get(input.object.metadata, ["labels", "example.com/zone"], "")
	before != now
	path := "metadata.labels[example.com/zone]"
	finding := {
		"msg": sprintf("the zone changes from %q to %q", [before, now]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": before}],
	}
}

# The bundle's list of digests under incident, data/incidents.yaml.
package portcullis.lib.incidents

# reasons say why a digest is under incident, by the parameter of a policy or by the list of the bundle, which gives
# a reason for each digest or only the digests.
reasons(digest, parameter, list) := ({entry.reason | some entry in parameter; entry.digest == digest} |
	{sprintf("%v", [reason]) | reason := list[digest]}) |
	{"it is on the bundle's list" | some entry in list; entry == digest}

# readable says whether the bundle's list is one. What cannot be read would be taken for an empty one.
readable(list) if is_object(list.digests)

readable(list) if is_array(list.digests)

readable(list) if is_null(list.digests)

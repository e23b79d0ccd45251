package portcullis.storage.storage_class_allow_list_test

import data.portcullis.storage.storage_class_allow_list

claim(open, annotations, spec) := {
	"parameters": {"allowed": ["encrypted"], "allowDefault": open},
	"object": {"kind": "PersistentVolumeClaim", "metadata": {"annotations": annotations}, "spec": spec},
}

old := {"volume.beta.kubernetes.io/storage-class": "local-path"}

passes(open, annotations, spec) if count(storage_class_allow_list.deny) == 0 with input as claim(open, annotations, spec)

test_only_listed_classes_pass if {
	passes(false, {}, {"storageClassName": "encrypted"})
	not passes(false, {}, {"storageClassName": "local-path"})
	not passes(true, {}, {"storageClassName": ""})
}

test_the_old_annotation_wins_over_the_field if not passes(false, old, {"storageClassName": "encrypted"})

test_leaving_it_open_is_up_to_the_parameter if {
	not passes(false, {}, {})
	passes(true, {}, {})
}

test_the_fix_removes_the_annotation_and_names_a_class if {
	some finding in storage_class_allow_list.deny with input as claim(true, old, {})
	finding.fix == [
		{"op": "remove", "path": "metadata.annotations[volume.beta.kubernetes.io/storage-class]"},
		{"op": "set", "path": "spec.storageClassName", "value": "encrypted"},
	]
}

package portcullis.storage.snapshot_retention_test

import data.portcullis.storage.snapshot_retention

paths contains finding.path if some finding in snapshot_retention.deny

test_classes_and_contents_are_seen if {
	paths == {"deletionPolicy"} with input as {"parameters": {"allowed": ["Retain"]}, "object": {"deletionPolicy": "Delete"}}
	paths == {"spec.deletionPolicy"} with input as {"parameters": {"allowed": ["Retain"]}, "object": {"spec": {"deletionPolicy": "Delete"}}}
}

test_retained_snapshots_pass if count(paths) == 0 with input as {"parameters": {"allowed": ["Retain"]}, "object": {"deletionPolicy": "Retain"}}
